// The cue lane: every cue at its time, as high as its level, in the colour of its confidence.

import type { Change, Cue } from "../api/contract";
import { USUAL_LEVEL_DB } from "../edit/changes";
import { certaintyOf, described, levelOf, withChanges } from "../edit/cues";
import { el, oncePerFrame } from "../page/dom";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";
import { endOf, timeToX } from "../time/axis";
import { CueDragging } from "./cue_dragging";

/** Labels are left out where the next cue is closer than this. */
const LABEL_ROOM_PX = 64;
/** Beyond both ends of the visible stretch, so that labels and rolls do not vanish early. */
const MARGIN_S = 1;

export const LEVEL_LINES_DB = [0, -20, -40] as const;

export class CueLane {
  readonly element: HTMLElement;
  readonly close: () => void;
  private readonly box = el("div", { class: "cue-box" });
  private readonly empty = el("p", { class: "lane-empty", role: "status" });
  private readonly note = el("div", { class: "drag-note", hidden: true, "aria-hidden": "true" });
  private readonly band = el("div", { class: "band", hidden: true, "aria-hidden": "true" });
  private readonly drawn = new Map<string, HTMLElement>();
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
    const visible = cues.filter(
      (cue) => (cue.end_s ?? cue.time_s) >= first_s && cue.time_s <= last_s,
    );
    const shown = new Set(visible.map((cue) => cue.id));
    for (const [id, element] of this.drawn) {
      if (shown.has(id)) continue;
      element.remove();
      this.drawn.delete(id);
    }
    visible.forEach((cue, index) => {
      let element = this.drawn.get(cue.id);
      if (!element) {
        element = createCue(cue);
        this.drawn.set(cue.id, element);
      }
      this.place(element, cue, visible[index + 1]);
      // Elements stay in the order of time, so that screen readers read them in this order.
      if (this.box.children[index] !== element) {
        this.box.insertBefore(element, this.box.children[index] ?? null);
      }
    });
    this.element.setAttribute("aria-activedescendant", this.activeElementId());
    this.showEmptyState(cues.length);
  }

  private place(element: HTMLElement, cue: Cue, next: Cue | undefined): void {
    const { session } = this;
    const axis = session.axis.value;
    const x = timeToX(axis, cue.time_s);
    const end = cue.end_s === undefined ? x : timeToX(axis, cue.end_s);
    const room = next ? timeToX(axis, next.time_s) - end : Number.POSITIVE_INFINITY;
    const level_db = levelOf(cue) ?? USUAL_LEVEL_DB;
    element.style.left = `${x}px`;
    element.style.width = cue.kind === "hit" ? "" : `${Math.max(6, end - x)}px`;
    element.style.top = `${(1 - this.fractionOf(level_db)) * 100}%`;
    const digit = session.status.materials.indexOf(cue.material ?? "") + 1;
    const handle = element.querySelector(".handle")!;
    handle.textContent = cue.material ? (digit > 0 && digit < 10 ? String(digit) : "•") : "?";
    const label = element.querySelector<HTMLElement>(".name")!;
    label.textContent = room > LABEL_ROOM_PX ? (cue.material ?? "auto") : "";
    element.className = `cue ${cue.kind} ${certaintyOf(cue)}`;
    element.classList.toggle("off", !cue.enabled);
    element.classList.toggle("pending", cue.id.startsWith("new-"));
    element.classList.toggle("auto-level", levelOf(cue) === null);
    element.classList.toggle("active", session.selection.value.active === cue.id);
    element.setAttribute("aria-selected", String(session.selection.value.ids.has(cue.id)));
    element.setAttribute("aria-label", described(cue));
    element.dataset.time = String(cue.time_s);
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

function createCue(cue: Cue): HTMLElement {
  const element = el(
    "div",
    { role: "option", id: elementId(cue.id), "data-id": cue.id },
    el("span", { class: "stem", "aria-hidden": "true" }),
    el("span", { class: "handle", "aria-hidden": "true" }),
    el("span", { class: "name", "aria-hidden": "true" }),
  );
  if (cue.kind !== "hit") {
    element.append(el("span", { class: "grip start" }), el("span", { class: "grip end" }));
  }
  return element;
}
