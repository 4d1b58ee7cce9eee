// The cue lane: every cue at its time, as high as its level, in the colour of its confidence.

import type { Change, Cue } from "../api/contract";
import { USUAL_LEVEL_DB } from "../edit/changes";
import { certaintyOf, described, levelOf, withChanges } from "../edit/cues";
import { curveOf } from "../edit/level_curves";
import { el, oncePerFrame } from "../page/dom";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";
import { endOf, timeToX } from "../time/axis";
import { CueDragging } from "./cue_dragging";

/** With more cues in view than this, those that are off are left out until one zooms in. */
const MOST_WITH_DISABLED = 500;
/** Handles become dots where cues are closer than this on average. */
const HANDLE_ROOM_PX = 12;
/** Labels are left out where the next cue is closer than this, in heights of the text. */
const LABEL_ROOM = 5.2;
/** Beyond both ends of the visible stretch, so that labels and rolls do not vanish early. */
const MARGIN_S = 1;

/** The element of a cue, and what it shows at present. */
interface DrawnCue {
  readonly element: HTMLElement;
  readonly handle: HTMLElement;
  readonly name: HTMLElement;
  cue: Cue | null;
  look: string;
}

export const LEVEL_LINES_DB = [0, -20, -40] as const;

export class CueLane {
  readonly element: HTMLElement;
  readonly close: () => void;
  private readonly box = el("div", { class: "cue-box" });
  private readonly empty = el("p", { class: "lane-empty", role: "status" });
  private readonly note = el("div", { class: "drag-note", hidden: true, "aria-hidden": "true" });
  private readonly band = el("div", { class: "band", hidden: true, "aria-hidden": "true" });
  private readonly drawn = new Map<string, DrawnCue>();
  private textHeight = 14;
  private preview: readonly Change[] = [];
  private readonly redraw = oncePerFrame(() => this.draw());

  constructor(private readonly session: Session) {
    const levels = LEVEL_LINES_DB.map((level_db) => {
      const line = el("div", { class: "level-line", "aria-hidden": "true" });
      line.style.top = `${(1 - this.fractionOf(level_db)) * 100}%`;
      return line;
    });
    this.element = el(
      "div",
      {
        class: "cue-lane",
        role: "listbox",
        tabindex: "0",
        "aria-label": "Cues",
        "aria-multiselectable": "true",
        "aria-orientation": "horizontal",
        "aria-describedby": "cue-lane-help",
      },
      ...levels,
      this.box,
      this.band,
      this.note,
      this.empty,
    );
    this.box.setAttribute("role", "presentation");
    new CueDragging(session, this);
    this.close = allOf(
      session.cues.watch(this.redraw),
      session.selection.watch(this.redraw),
      session.axis.watch(this.redraw),
      session.project.watch(this.redraw),
    );
  }

  /** The height of a level in the lane: 0 at the bottom, 1 at the top. */
  fractionOf(level_db: number): number {
    const [low, high] = this.session.limits.levels_db;
    return (level_db - low) / (high - low);
  }

  levelAt(y_px: number): number {
    const [low, high] = this.session.limits.levels_db;
    const fraction = 1 - y_px / this.element.clientHeight;
    return Math.min(high, Math.max(low, low + fraction * (high - low)));
  }

  /** Shows changes that are not decided yet, with a note at a place in the lane. */
  showPreview(changes: readonly Change[], note = "", x = 0, y = 0): void {
    this.preview = changes;
    this.note.hidden = note === "";
    this.note.textContent = note;
    this.note.style.left = `${Math.min(x + 14, this.element.clientWidth - 150)}px`;
    this.note.style.top = `${Math.max(4, y - 30)}px`;
    this.redraw();
  }

  /** Shows the frame that selects cues, or hides it. */
  showBand(range: { left: number; width: number } | null): void {
    this.band.hidden = range === null;
    if (!range) return;
    this.band.style.left = `${range.left}px`;
    this.band.style.width = `${range.width}px`;
  }

  private draw(): void {
    const { session } = this;
    const axis = session.axis.value;
    const cues = withChanges(session.cues.value, this.preview);
    const first_s = axis.start_s - MARGIN_S;
    const last_s = endOf(axis) + MARGIN_S;
    const inView = cues.filter(
      (cue) => (cue.end_s ?? cue.time_s) >= first_s && cue.time_s <= last_s,
    );
    this.textHeight = Number.parseFloat(getComputedStyle(this.element).fontSize);
    const { ids } = session.selection.value;
    const visible =
      inView.length > MOST_WITH_DISABLED
        ? inView.filter((cue) => cue.enabled || ids.has(cue.id))
        : inView;
    this.element.classList.toggle("dense", visible.length * HANDLE_ROOM_PX > axis.width_px);
    const shown = new Set(visible.map((cue) => cue.id));
    for (const [id, drawn] of this.drawn) {
      if (shown.has(id)) continue;
      drawn.element.remove();
      this.drawn.delete(id);
    }
    // Elements stay in the order of time, so that screen readers read them in this order.
    let following = this.box.firstElementChild;
    visible.forEach((cue, index) => {
      let drawn = this.drawn.get(cue.id);
      if (!drawn) {
        drawn = createCue(cue);
        this.drawn.set(cue.id, drawn);
      }
      if (drawn.element === following) following = following.nextElementSibling;
      else this.box.insertBefore(drawn.element, following);
      this.place(drawn, cue, visible[index + 1]);
    });
    this.element.setAttribute("aria-activedescendant", this.activeElementId());
    this.showEmptyState(cues.length);
  }

  private place(drawn: DrawnCue, cue: Cue, next: Cue | undefined): void {
    const { session } = this;
    const { element } = drawn;
    const axis = session.axis.value;
    const x = timeToX(axis, cue.time_s);
    const end = cue.end_s === undefined ? x : timeToX(axis, cue.end_s);
    const room = next ? timeToX(axis, next.time_s) - end : Number.POSITIVE_INFINITY;
    element.style.left = `${x.toFixed(2)}px`;
    element.style.width = cue.kind === "hit" ? "" : `${Math.max(6, end - x)}px`;
    const label = room > LABEL_ROOM * this.textHeight ? (cue.material ?? "auto") : "";
    if (drawn.name.textContent !== label) drawn.name.textContent = label;
    const { ids, active } = session.selection.value;
    const look = `${ids.has(cue.id)} ${active === cue.id}`;
    if (drawn.cue !== cue || drawn.look !== look) this.dress(drawn, cue, look);
  }

  /** Takes over everything but the place in time. */
  private dress(drawn: DrawnCue, cue: Cue, look: string): void {
    const { element, handle } = drawn;
    const { status, selection } = this.session;
    drawn.cue = cue;
    drawn.look = look;
    const level_db = levelOf(cue);
    element.style.top = `${(1 - this.fractionOf(level_db ?? USUAL_LEVEL_DB)) * 100}%`;
    const digit = status.materials.indexOf(cue.material ?? "") + 1;
    handle.textContent = cue.material ? (digit > 0 && digit < 10 ? String(digit) : "•") : "?";
    element.className = `cue ${cue.kind} ${certaintyOf(cue)}`;
    element.classList.toggle("off", !cue.enabled);
    element.classList.toggle("pending", cue.id.startsWith("new-"));
    element.classList.toggle("auto-level", level_db === null);
    element.classList.toggle("active", selection.value.active === cue.id);
    element.setAttribute("aria-selected", String(selection.value.ids.has(cue.id)));
    element.setAttribute("aria-label", described(cue));
    element.dataset.time = String(cue.time_s);
    for (const grip of element.querySelectorAll(".grip")) grip.remove();
    if (cue.kind !== "hit") {
      element.append(el("span", { class: "grip start" }), el("span", { class: "grip end" }));
    }
    this.drawCurve(element, cue);
  }

  /** The level curve of a roll or scrape; its points are shown while the cue is selected. */
  private drawCurve(element: HTMLElement, cue: Cue): void {
    for (const part of element.querySelectorAll(".curve-line, .curve-point")) part.remove();
    const curve = curveOf(cue);
    element.classList.toggle("curved", curve !== null);
    if (!curve) return;
    // The element is as high as the highest level.
    const highest = this.fractionOf(Math.max(...curve));
    const heights = curve.map((level_db) => this.fractionOf(level_db) / Math.max(highest, 1e-6));
    const last = curve.length - 1;
    element.append(curveLine(heights));
    if (!this.session.selection.value.ids.has(cue.id)) return;
    heights.forEach((height, index) => {
      const point = el("span", { class: "curve-point", "data-index": index });
      point.style.left = `${(100 * index) / last}%`;
      point.style.bottom = `${100 * height}%`;
      element.append(point);
    });
  }

  private activeElementId(): string {
    const { active } = this.session.selection.value;
    return active && this.drawn.has(active) ? elementId(active) : "";
  }

  private showEmptyState(count: number): void {
    const { state } = this.session.project.value;
    this.empty.hidden = count > 0;
    this.empty.textContent =
      state === "analysing"
        ? "The hits are being found …"
        : "No cues. Double click here to add one, or play and press A at each hit.";
  }
}

export function elementId(cue: string): string {
  return `cue-${cue}`;
}

function createCue(cue: Cue): DrawnCue {
  const handle = el("span", { class: "handle", "aria-hidden": "true" });
  const name = el("span", { class: "name", "aria-hidden": "true" });
  const element = el(
    "div",
    { role: "option", id: elementId(cue.id), "data-id": cue.id },
    el("span", { class: "stem", "aria-hidden": "true" }),
    handle,
    name,
  );
  return { element, handle, name, cue: null, look: "" };
}

const SVG = "http://www.w3.org/2000/svg";

/** The area below heights from 0 to 1 at equal steps. */
function curveLine(heights: readonly number[]): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "curve-line");
  svg.setAttribute("viewBox", "0 0 1 1");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "polygon");
  const points = heights.map((height, index) => `${index / (heights.length - 1)},${1 - height}`);
  line.setAttribute("points", ["0,1", ...points, "1,1"].join(" "));
  svg.append(line);
  return svg;
}
