// Draws spectrograms column by column, a few milliseconds in each animation frame.

import type { SoundStore } from "../sound/sound_store";
import { spectrumAt } from "../sound/spectrum";
import { type TimeAxis, timeToX, xToTime } from "../time/axis";

const LOWEST_DB = -90;
/** Time for new columns in each frame. */
const SLICE_MS = 8;
const CONTEXT_SAMPLES = 1024;

export class SpectrogramPicture {
  private readonly canvas = document.createElement("canvas");
  private missing = new Set<number>();
  private axis: TimeAxis | null = null;
  private rate_hz = 48_000;

  /** `again` is called while columns are missing. */
  constructor(private readonly again: () => void) {}

  /** Forgets the columns of a range of samples, or all. */
  clear(startSample = 0, endSample = Number.POSITIVE_INFINITY): void {
    if (!this.axis) return;
    const first = timeToX(this.axis, (startSample - CONTEXT_SAMPLES) / this.rate_hz);
    const last = timeToX(this.axis, (endSample + CONTEXT_SAMPLES) / this.rate_hz);
    const end = Math.min(this.canvas.width, last + 1);
    for (let column = Math.max(0, Math.floor(first)); column < end; column += 1) {
      this.missing.add(column);
    }
  }

  draw(
    target: CanvasRenderingContext2D,
    sound: SoundStore,
    axis: TimeAxis,
    width: number,
    height: number,
  ): void {
    this.fit(axis, Math.max(1, Math.round(width)), Math.max(1, Math.round(height)));
    this.rate_hz = sound.rate_hz;
    const context = this.canvas.getContext("2d", { willReadFrequently: true })!;
    const until_ms = performance.now() + SLICE_MS;
    for (const column of [...this.missing]) {
      if (performance.now() > until_ms) break;
      this.missing.delete(column);
      const centre = Math.round(xToTime(axis, column + 0.5) * sound.rate_hz);
      const samples = mixedDown(sound.read(centre - CONTEXT_SAMPLES, centre + CONTEXT_SAMPLES));
      const levels = spectrumAt(samples, CONTEXT_SAMPLES, sound.rate_hz, this.canvas.height);
      context.putImageData(pixelsOf(levels), column, 0);
    }
    target.drawImage(this.canvas, 0, 0, width, height);
    if (this.missing.size > 0) this.again();
  }

  /** Takes over another view; what was drawn is shown stretched until the new columns are there. */
  private fit(axis: TimeAxis, width: number, height: number): void {
    const before = this.axis;
    if (before === axis && this.canvas.width === width && this.canvas.height === height) return;
    const old = document.createElement("canvas");
    old.width = Math.max(1, this.canvas.width);
    old.height = Math.max(1, this.canvas.height);
    old.getContext("2d")!.drawImage(this.canvas, 0, 0);
    this.canvas.width = width;
    this.canvas.height = height;
    this.axis = axis;
    if (before) {
      const left = timeToX(axis, before.start_s);
      const right = timeToX(axis, before.start_s + before.span_s);
      this.canvas.getContext("2d")!.drawImage(old, left, 0, right - left, height);
    }
    this.missing = new Set(Array.from({ length: width }, (_, column) => column));
  }
}

/** The mean of all channels. */
function mixedDown(channels: Float32Array[]): Float32Array {
  const [first] = channels;
  if (channels.length === 1) return first!;
  return first!.map((_, index) => {
    return channels.reduce((sum, samples) => sum + samples[index]!, 0) / channels.length;
  });
}

function pixelsOf(levels: Float32Array): ImageData {
  const rows = levels.length;
  const image = new ImageData(1, rows);
  for (let row = 0; row < rows; row += 1) {
    const level = Math.min(1, Math.max(0, 1 - levels[row]! / LOWEST_DB));
    const [red, green, blue] = COLOURS[Math.round(level * (COLOURS.length - 1))]!;
    image.data.set([red, green, blue, 255], 4 * (rows - 1 - row));
  }
  return image;
}

/** From black by violet and orange to light yellow, with even steps of lightness. */
const STOPS = [
  [8, 8, 20],
  [52, 20, 92],
  [128, 36, 120],
  [206, 64, 92],
  [246, 132, 70],
  [252, 206, 120],
  [255, 250, 220],
] as const;
const COLOURS = Array.from({ length: 256 }, (_, index) => {
  const place = (index / 255) * (STOPS.length - 1);
  const below = Math.min(Math.floor(place), STOPS.length - 2);
  const weight = place - below;
  return [0, 1, 2].map((channel) => {
    return STOPS[below]![channel]! * (1 - weight) + STOPS[below + 1]![channel]! * weight;
  }) as [number, number, number];
});
