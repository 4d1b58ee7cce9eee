// The view of a project (zoom, playhead, mixer, loop), kept on the server for the next opening.

import { api } from "../api/client";
import { resized } from "../time/axis";
import { whenQuiet } from "./dom";
import type { Session, SoundView } from "./session";
import type { MixerState } from "./session_sounds";

/** Restores the kept view, and keeps every later one. */
export function keepView(session: Session): () => void {
  restore(session, session.project.value.view);
  let isFirst = true;
  let kept = JSON.stringify(viewOf(session));
  const save = whenQuiet(() => {
    const text = JSON.stringify(viewOf(session));
    if (text === kept) return;
    kept = text;
    // A view that could not be kept is not worth a message.
    api.changeProject(session.id, { view: viewOf(session) }).catch(() => {});
  }, 800);
  const changed = () => {
    if (!isFirst && !session.isPlaying.value) save();
  };
  const stops = [
    session.axis.watch(changed),
    session.playhead_s.watch(changed),
    session.sounds.mixer.watch(changed),
    session.loop.watch(changed),
    session.isLooping.watch(changed),
    session.soundView.watch(changed),
    session.playsEdits.watch(changed),
  ];
  isFirst = false;
  return () => {
    for (const stop of stops) stop();
  };
}

function viewOf(session: Session): object {
  const { start_s, span_s } = session.axis.value;
  return {
    start_s,
    span_s,
    playhead_s: session.playhead_s.value,
    mixer: session.sounds.mixer.value,
    loop: session.loop.value,
    is_looping: session.isLooping.value,
    sound_view: session.soundView.value,
    plays_edits: session.playsEdits.value,
  };
}

/** Takes over what is valid; a view may come from another version of the page. */
function restore(session: Session, view: Readonly<Record<string, unknown>>): void {
  const { duration_s } = session.limits;
  const axis = session.axis.value;
  if (isTime(view.start_s, duration_s) && isTime(view.span_s, duration_s) && view.span_s > 0) {
    session.axis.set(
      resized({ ...axis, start_s: view.start_s, span_s: view.span_s }, axis.width_px),
    );
  }
  if (isTime(view.playhead_s, duration_s)) session.seek(view.playhead_s);
  const mixer = view.mixer as Partial<MixerState> | undefined;
  if (mixer && typeof mixer === "object") {
    const merged = { ...session.sounds.mixer.value, ...mixer };
    if (Number.isFinite(merged.generated_db) && Number.isFinite(merged.original_db)) {
      session.sounds.mixer.set(merged);
    }
  }
  const loop = view.loop as { start_s?: unknown; end_s?: unknown } | null | undefined;
  if (loop && isTime(loop.start_s, duration_s) && isTime(loop.end_s, duration_s)) {
    session.loop.set({ start_s: loop.start_s, end_s: loop.end_s });
    session.isLooping.set(view.is_looping === true);
  }
  session.playsEdits.set(view.plays_edits !== false);
  if (view.sound_view === "waveform" || view.sound_view === "spectrogram") {
    session.soundView.set(view.sound_view as SoundView);
  }
}

function isTime(value: unknown, duration_s: number): value is number {
  return typeof value === "number" && value >= 0 && value <= duration_s + 1e-6;
}
