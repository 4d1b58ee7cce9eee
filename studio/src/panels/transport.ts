// The row between picture and timeline: play, step, time, loop, zoom, view.

import { isUncertain } from "../edit/cues";
import { fit, toggleLoop } from "../page/commands";
import { button, el, oncePerFrame } from "../page/dom";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";
import { clockText, zoomed } from "../time/axis";
import { frameAt, stepped } from "../time/frames";

export function transport(session: Session): { element: HTMLElement; close: () => void } {
  const step = (count: number) => () => {
    session.player.pause();
    session.seek(stepped(session.frames.value, session.playhead_s.value, count));
  };
  const play = button("Play", () => session.togglePlaying(), { key: "Space", class: "play" });
  const loop = button("Loop", () => toggleLoop(session), { key: "L" });
  const edits = button("Play edits", () => session.playsEdits.set(!session.playsEdits.value), {
    key: "H",
    title: "Play the new sound of each edit at once",
  });
  const view = button("Spectrogram", () => toggleView(session), { key: "S" });
  const time = el("output", { class: "clock", "aria-label": "Time at the playhead" });
  const frame = el("output", { class: "frame-number", "aria-label": "Frame at the playhead" });
  const counts = el("span", { class: "counts" });
  const speed = el("span", {
    class: "speed",
    title: "Time from the end of the last edit to its new sound",
  });
  const zoom = (factor: number) => () => {
    const axis = session.axis.value;
    session.axis.set(zoomed(axis, factor, axis.width_px / 2));
  };
  const element = el(
    "div",
    { class: "transport", role: "toolbar", "aria-label": "Playing and view" },
    button("|◂", () => session.seek(0), { key: "Home", "aria-label": "To the start" }),
    button("◂", step(-1), { key: ",", "aria-label": "One frame back" }),
    play,
    button("▸", step(1), { key: ".", "aria-label": "One frame forward" }),
    time,
    frame,
    loop,
    edits,
    el("span", { class: "space" }),
    counts,
    speed,
    el("span", { class: "space" }),
    view,
    button("−", zoom(0.5), { key: "-", "aria-label": "Zoom out", title: "Zoom out" }),
    button("+", zoom(2), { key: "+", "aria-label": "Zoom in", title: "Zoom in" }),
    button("Fit", () => fit(session), { key: "F", title: "Show everything" }),
  );

  const updateTime = () => {
    const now_s = session.playhead_s.value;
    const frames = session.frames.value;
    time.textContent = clockText(now_s);
    frame.textContent = frames.length ? `frame ${frameAt(frames, now_s + 1e-6)}` : "";
  };
  const update = oncePerFrame(() => {
    const isPlaying = session.isPlaying.value;
    play.textContent = isPlaying ? "Pause" : "Play";
    loop.setAttribute("aria-pressed", String(session.isLooping.value));
    edits.setAttribute("aria-pressed", String(session.playsEdits.value));
    view.setAttribute("aria-pressed", String(session.soundView.value === "spectrogram"));
    const cues = session.cues.value;
    const uncertain = cues.filter(isUncertain).length;
    const chosen = session.selection.value.ids.size;
    counts.textContent =
      `${cues.length} ${cues.length === 1 ? "cue" : "cues"}` +
      (uncertain ? `, ${uncertain} uncertain (U)` : "") +
      (chosen > 1 ? `, ${chosen} selected` : "");
  });
  const showSpeed = (last: { readonly ms: number } | null) => {
    speed.textContent = last ? `edit to sound ${Math.round(last.ms)} ms` : "";
    if (last) document.body.dataset.editToSoundMs = last.ms.toFixed(1);
  };
  return {
    element,
    close: allOf(
      session.playhead_s.watch(updateTime),
      session.frames.watch(updateTime),
      session.isPlaying.watch(update),
      session.isLooping.watch(update),
      session.soundView.watch(update),
      session.playsEdits.watch(update),
      session.cues.watch(update),
      session.selection.watch(update),
      session.editToSound.watch(showSpeed),
    ),
  };
}

function toggleView(session: Session): void {
  session.soundView.set(session.soundView.value === "waveform" ? "spectrogram" : "waveform");
}
