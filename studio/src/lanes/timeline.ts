// All lanes along one time axis, with the playhead over them.

import { el } from "../page/dom";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";
import { endOf, resized, scrolled, timeToX, zoomed } from "../time/axis";
import { CueLane, LEVEL_LINES_DB } from "./cue_lane";
import { drag, placeIn } from "./dragging";
import { ruler } from "./ruler";
import { soundLane } from "./sound_lane";
import { thumbnailLane } from "./thumbnails";

/** A notch of the wheel scrolls a tenth of the visible stretch. */
const NOTCH_PX = 100;

export function timeline(session: Session): { element: HTMLElement; close: () => void } {
  const rulerLane = ruler(session);
  const pictures = thumbnailLane(session);
  const cues = new CueLane(session);
  const generated = soundLane(session, () => session.sounds.shown, {
    canShowSpectrogram: true,
    emptyText: () => {
      return session.project.value.state === "failed"
        ? "There is no sound, because the analysis failed."
        : "The sound is being generated …";
    },
  });
  const original = soundLane(session, () => session.sounds.original, {
    canShowSpectrogram: true,
    emptyText: () => "The video has no sound of its own.",
  });

  const playhead = el("div", { class: "playhead", "aria-hidden": "true" });
  const lanes = el(
    "div",
    { class: "lanes" },
    rulerLane.element,
    pictures.element,
    cues.element,
    generated.element,
    original.element,
    playhead,
  );
  const soundName = el("span");
  const names = el(
    "div",
    { class: "lane-names" },
    el("div", { class: "for-ruler" }, el("span", {}, "Loop"), el("span", {}, "Time")),
    el("div", {}, "Picture"),
    el(
      "div",
      { class: "for-cues" },
      "Cues",
      el(
        "span",
        { id: "cue-lane-help", class: "only-read" },
        "Arrow keys choose a cue, up and down change its level, the question mark lists all keys.",
      ),
      legend(),
      levelScale(session),
    ),
    el("div", {}, soundName),
    el("div", {}, "Original sound"),
  );
  const scrollBar = overview(session);
  const element = el(
    "section",
    { class: "timeline", "aria-label": "Timeline" },
    names,
    lanes,
    scrollBar.element,
  );

  // Width
  const observer = new ResizeObserver(() => {
    session.axis.set(resized(session.axis.value, lanes.clientWidth));
  });
  observer.observe(lanes);
  lanes.addEventListener("wheel", (event) => turnWheel(session, lanes, event), { passive: false });

  // Playhead
  const place = () => {
    const x = timeToX(session.axis.value, session.playhead_s.value);
    playhead.hidden = x < -1 || x > session.axis.value.width_px + 1;
    playhead.style.transform = `translateX(${x}px)`;
  };
  const refreshSound = () => {
    const source = session.sounds.audible.value;
    const take = session.project.value.takes.find((one) => `take:${one.id}` === source);
    soundName.textContent = take ? take.name : "Generated sound";
    generated.refresh();
    original.refresh();
  };
  // Canvases are drawn again in the colours of the new scheme.
  const scheme = window.matchMedia("(prefers-color-scheme: light)");
  const redraw = () => session.axis.set({ ...session.axis.value });
  scheme.addEventListener("change", redraw);
  const stops = allOf(
    () => scheme.removeEventListener("change", redraw),
    session.axis.watch(place),
    session.playhead_s.watch(place),
    session.sounds.audible.watch(refreshSound),
    session.sounds.generated.watch(refreshSound),
    session.project.watch(refreshSound),
    () => observer.disconnect(),
    rulerLane.close,
    pictures.close,
    cues.close,
    generated.close,
    original.close,
    scrollBar.close,
  );
  return { element, close: stops };
}

/** With Ctrl or Cmd the wheel zooms at the pointer, else it scrolls. */
function turnWheel(session: Session, lanes: HTMLElement, event: WheelEvent): void {
  event.preventDefault();
  const axis = session.axis.value;
  const scale = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
  if (event.ctrlKey || event.metaKey) {
    const factor = 2 ** ((-event.deltaY * scale) / 240);
    session.axis.set(zoomed(axis, factor, placeIn(lanes, event).x));
    return;
  }
  const delta = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
  session.axis.set(scrolled(axis, ((delta * scale) / NOTCH_PX) * axis.span_s * 0.1));
}

function legend(): HTMLElement {
  const entries = [
    ["certain", "certain"],
    ["uncertain", "uncertain"],
    ["improbable", "improbable"],
    ["own", "yours"],
  ] as const;
  return el(
    "ul",
    { class: "legend", "aria-label": "Colours of confidence" },
    ...entries.map(([name, label]) => el("li", { class: name }, label)),
  );
}

/** Levels at the heights at which the cue lane shows them. */
function levelScale(session: Session): HTMLElement {
  const [low, high] = session.limits.levels_db;
  const marks = LEVEL_LINES_DB.map((level_db) => {
    const mark = el("span", {}, `${level_db} dB`.replace("-", "−"));
    mark.style.top = `${((high - level_db) / (high - low)) * 100}%`;
    return mark;
  });
  return el("div", { class: "level-scale", "aria-hidden": "true" }, ...marks);
}

/** The complete clip as a bar in which the visible stretch can be moved. */
function overview(session: Session): { element: HTMLElement; close: () => void } {
  const thumb = el("div", { class: "overview-thumb" });
  const bar = el(
    "div",
    {
      class: "overview",
      role: "scrollbar",
      "aria-label": "Visible part of the video",
      "aria-orientation": "horizontal",
      "aria-controls": "page",
      tabindex: "0",
      title: "Drag to scroll; PageUp and PageDown work too",
    },
    thumb,
  );
  const secondsPerPixel = () => session.limits.duration_s / Math.max(1, bar.clientWidth);
  bar.addEventListener("pointerdown", (event) => {
    const axis = session.axis.value;
    const at_s = placeIn(bar, event).x * secondsPerPixel();
    const isOnThumb = at_s >= axis.start_s && at_s <= endOf(axis);
    const from = isOnThumb ? axis : scrolled(axis, at_s - axis.start_s - axis.span_s / 2);
    session.axis.set(from);
    const move = (_: PointerEvent, dx: number) => {
      const current = session.axis.value;
      session.axis.set(scrolled(current, from.start_s + dx * secondsPerPixel() - current.start_s));
    };
    drag(event, { move, drop: move, cancel: () => session.axis.set(axis) });
  });
  const close = session.axis.watch((axis) => {
    thumb.style.left = `${(axis.start_s / axis.duration_s) * 100}%`;
    thumb.style.width = `${(axis.span_s / axis.duration_s) * 100}%`;
    const rest_s = axis.duration_s - axis.span_s;
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    bar.setAttribute(
      "aria-valuenow",
      String(rest_s > 0 ? Math.round((axis.start_s / rest_s) * 100) : 0),
    );
  });
  return { element: bar, close };
}
