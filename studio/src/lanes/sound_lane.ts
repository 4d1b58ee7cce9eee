// A sound along the time axis: as waveform or as spectrogram.

import { api } from "../api/client";
import { el, fitCanvas, oncePerFrame, styleValue, whenQuiet } from "../page/dom";
import type { Session } from "../page/session";
import { coarserPeaks, type Peaks, peaksOf } from "../sound/peaks";
import type { SoundStore } from "../sound/sound_store";
import { endOf, type TimeAxis } from "../time/axis";
import { SpectrogramPicture } from "./spectrogram";

/** Longer visible stretches are drawn from peaks that the server computes. */
const LONGEST_FROM_SAMPLES_S = 60;

interface ServerPeaks {
  readonly source: string;
  readonly start_s: number;
  readonly end_s: number;
  /** Of each channel. */
  readonly peaks: readonly Peaks[];
}

/** `store` gives the sound that the lane shows now, or null while there is none. */
export function soundLane(
  session: Session,
  store: () => SoundStore | null,
  options: { emptyText: () => string; canShowSpectrogram: boolean },
): { element: HTMLElement; refresh: () => void; close: () => void } {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const empty = el("p", { class: "lane-empty" });
  const element = el("div", { class: "sound-lane" }, canvas, empty);
  let serverPeaks: ServerPeaks | null = null;
  let watched: SoundStore | null = null;
  let stopWatching = () => {};
  const draw = oncePerFrame(() => drawNow());
  let stopping = new AbortController();
  const spectrogram = new SpectrogramPicture(draw);

  const drawNow = () => {
    const sound = store();
    watchStore(sound);
    const { context, width, height } = fitCanvas(canvas);
    const isLong = session.axis.value.span_s > LONGEST_FROM_SAMPLES_S;
    const wantsSpectrogram =
      options.canShowSpectrogram && session.soundView.value === "spectrogram";
    empty.textContent = sound
      ? wantsSpectrogram && isLong
        ? "Zoom in to one minute or less to see the spectrogram."
        : ""
      : options.emptyText();
    empty.hidden = empty.textContent === "";
    if (!sound) return;
    const axis = session.axis.value;
    if (wantsSpectrogram && !isLong) {
      spectrogram.draw(context, sound, axis, width, height);
      return;
    }
    const channels = isLong ? peaksFromServer(axis, width) : peaksFromSamples(sound, axis, width);
    canvas.dataset.channels = String(channels.length);
    channels.forEach((peaks, index) => {
      const high = height / channels.length;
      drawWave(context, peaks, index * high, high);
    });
  };

  const peaksFromSamples = (sound: SoundStore, axis: TimeAxis, width: number): Peaks[] => {
    const first = axis.start_s * sound.rate_hz;
    const last = endOf(axis) * sound.rate_hz;
    const begin = Math.max(0, Math.floor(first));
    const channels = sound.read(begin, Math.min(Math.ceil(last), sound.sampleCount));
    return channels.map((samples) =>
      peaksOf(samples, first - begin, last - begin, Math.round(width)),
    );
  };

  const peaksFromServer = (axis: TimeAxis, width: number): Peaks[] => {
    if (!serverPeaks) return [new Float32Array(2 * Math.round(width))];
    const { start_s, end_s, peaks } = serverPeaks;
    return peaks.map((channel) => {
      const scale = channel.length / 2 / (end_s - start_s);
      const first = (axis.start_s - start_s) * scale;
      return coarserPeaks(channel, first, (endOf(axis) - start_s) * scale, Math.round(width));
    });
  };

  const load = whenQuiet(async () => {
    const sound = store();
    const axis = session.axis.value;
    if (!sound) return;
    // The peaks of what was in view before would hold the connections of edits
    stopping.abort();
    stopping = new AbortController();
    try {
      if (axis.span_s <= LONGEST_FROM_SAMPLES_S) {
        await sound.ensure(
          Math.floor(axis.start_s * sound.rate_hz),
          Math.ceil(endOf(axis) * sound.rate_hz),
          "lane",
        );
      } else {
        const columns = Math.min(8192, Math.round(canvas.clientWidth));
        const range = { source: sound.source, start_s: axis.start_s, end_s: endOf(axis) };
        const peaks = await api.peaks(
          session.id,
          sound.source,
          range.start_s,
          range.end_s,
          Math.max(1, columns),
          stopping.signal,
        );
        serverPeaks = { ...range, peaks };
      }
      draw();
    } catch {
      // There is no sound of this stretch yet; a project event asks again.
    }
  }, 60);

  const watchStore = (sound: SoundStore | null) => {
    if (sound === watched) return;
    stopWatching();
    watched = sound;
    serverPeaks = null;
    spectrogram.clear();
    stopWatching =
      sound?.watch((start, end, isChange) => {
        spectrogram.clear(start, end);
        draw();
        if (isChange) load();
      }) ?? (() => {});
    load();
  };

  const refresh = () => {
    draw();
    load();
  };
  const stops = [session.axis.watch(refresh), session.soundView.watch(draw)];
  return {
    element,
    refresh,
    close: () => {
      for (const stop of stops) stop();
      stopWatching();
      stopping.abort();
    },
  };
}

/** Draws a channel in a part of the lane. */
function drawWave(
  context: CanvasRenderingContext2D,
  peaks: Peaks,
  top_px: number,
  height: number,
): void {
  const middle = top_px + height / 2;
  context.fillStyle = styleValue("--line");
  context.fillRect(0, middle, peaks.length / 2, 1);
  context.fillStyle = styleValue("--wave");
  context.beginPath();
  for (let column = 0; column < peaks.length / 2; column += 1) {
    const low = shown(peaks[2 * column]!);
    const high = shown(peaks[2 * column + 1]!);
    const top = middle - (high * height) / 2;
    context.rect(column, top, 1, Math.max(1, ((high - low) * height) / 2));
  }
  context.fill();
}

/** Quiet sounds are drawn larger than in proportion, so that they can be seen. */
function shown(value: number): number {
  return Math.sign(value) * Math.abs(value) ** 0.6;
}
