// The ruler: times, a click or drag that moves the playhead, and the strip of the loop region.

import { el, fitCanvas, oncePerFrame, styleValue } from "../page/dom";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";
import { clamp, ticksOf, timeToX, xToTime } from "../time/axis";
import { drag, placeIn } from "./dragging";

/** The shortest loop. */
const SHORTEST_LOOP_S = 0.05;

export function ruler(session: Session): { element: HTMLElement; close: () => void } {
  const canvas = el("canvas", { class: "ruler", "aria-hidden": "true" });
  const draw = oncePerFrame(() => drawTicks(canvas, session));
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const seek = (moved: PointerEvent) => {
      const time_s = xToTime(session.axis.value, placeIn(canvas, moved).x);
      session.seek(moved.shiftKey ? session.snap(time_s) : time_s);
    };
    seek(event);
    drag(event, { move: seek, drop: seek, cancel: () => {}, click: seek });
  });
  const strip = loopStrip(session);
  const stop = session.axis.watch(draw);
  return {
    element: el("div", { class: "ruler-lane" }, strip.element, canvas),
    close: allOf(stop, strip.close),
  };
}

function drawTicks(canvas: HTMLCanvasElement, session: Session): void {
  const { context, height } = fitCanvas(canvas);
  const axis = session.axis.value;
  const size = Number.parseFloat(getComputedStyle(canvas).fontSize);
  context.font = `${size}px ${getComputedStyle(canvas).fontFamily}`;
  context.textBaseline = "middle";
  const text = styleValue("--quiet");
  const line = styleValue("--line-strong");
  for (const tick of ticksOf(axis, size * 7)) {
    const x = Math.round(timeToX(axis, tick.time_s)) + 0.5;
    context.fillStyle = line;
    context.fillRect(x, height - (tick.isMajor ? height * 0.45 : height * 0.2), 1, height);
    if (tick.isMajor) {
      context.fillStyle = text;
      context.fillText(tick.label, x + 4, height * 0.42);
    }
  }
}

/** Dragging in the strip marks the loop; its ends can be dragged; a double click removes it. */
function loopStrip(session: Session): { element: HTMLElement; close: () => void } {
  const region = el(
    "div",
    { class: "loop-region" },
    el("span", { class: "grip start" }),
    el("span", { class: "grip end" }),
  );
  const strip = el(
    "div",
    { class: "loop-strip", title: "Drag to mark a region to loop; double click removes it" },
    region,
  );
  const timeAt = (event: PointerEvent) => {
    const time_s = xToTime(session.axis.value, placeIn(strip, event).x);
    const inside_s = clamp(time_s, 0, session.limits.duration_s);
    return event.shiftKey ? session.snap(inside_s) : inside_s;
  };
  const mark = (first_s: number, second_s: number) => {
    const [start_s, end_s] = [Math.min(first_s, second_s), Math.max(first_s, second_s)];
    if (end_s - start_s >= SHORTEST_LOOP_S) session.loop.set({ start_s, end_s });
  };
  strip.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const before = session.loop.value;
    const grip = (event.target as HTMLElement).closest(".grip");
    let anchor_s = timeAt(event);
    if (before && grip) anchor_s = grip.classList.contains("start") ? before.end_s : before.start_s;
    drag(event, {
      move: (moved) => mark(anchor_s, timeAt(moved)),
      drop: () => session.isLooping.set(true),
      cancel: () => session.loop.set(before),
    });
  });
  strip.addEventListener("dblclick", () => {
    session.loop.set(null);
    session.isLooping.set(false);
  });
  const place = () => {
    const loop = session.loop.value;
    region.hidden = loop === null;
    region.classList.toggle("active", session.isLooping.value);
    if (!loop) return;
    const axis = session.axis.value;
    const left = timeToX(axis, loop.start_s);
    region.style.left = `${left}px`;
    region.style.width = `${Math.max(3, timeToX(axis, loop.end_s) - left)}px`;
  };
  const close = allOf(
    session.axis.watch(place),
    session.loop.watch(place),
    session.isLooping.watch(place),
  );
  return { element: strip, close };
}
