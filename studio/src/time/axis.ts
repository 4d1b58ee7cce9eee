// The time axis that all lanes share: seconds to pixels and back, zooming, scrolling, ticks.

/** What part of the clip is visible, and how wide it is drawn. Immutable. */
export interface TimeAxis {
  /** Length of the clip in seconds. */
  readonly duration_s: number;
  /** Width of the lanes in CSS pixels. */
  readonly width_px: number;
  /** First visible second. */
  readonly start_s: number;
  /** Visible seconds. */
  readonly span_s: number;
}

/** Shortest visible time: about one frame for every 200 pixels. */
export const SHORTEST_SPAN_S = 0.1;

export interface Tick {
  readonly time_s: number;
  readonly label: string;
  readonly isMajor: boolean;
}

/** An axis that shows the complete clip, or its first `longest_s` seconds. */
export function axisOf(duration_s: number, width_px: number, longest_s = 60): TimeAxis {
  return limited({ duration_s, width_px, start_s: 0, span_s: Math.min(duration_s, longest_s) });
}

export function timeToX(axis: TimeAxis, time_s: number): number {
  return ((time_s - axis.start_s) / axis.span_s) * axis.width_px;
}

export function xToTime(axis: TimeAxis, x_px: number): number {
  return axis.start_s + (x_px / axis.width_px) * axis.span_s;
}

export function endOf(axis: TimeAxis): number {
  return axis.start_s + axis.span_s;
}

/** The axis for another width of the window; the visible stretch stays. */
export function resized(axis: TimeAxis, width_px: number): TimeAxis {
  return { ...axis, width_px: Math.max(1, width_px) };
}

/** Zooms by a factor above 1 (closer) or below 1; the time at `x_px` stays where it is. */
export function zoomed(axis: TimeAxis, factor: number, x_px: number): TimeAxis {
  const time_s = xToTime(axis, x_px);
  const span_s = clamp(axis.span_s / factor, shortest(axis), Math.max(axis.duration_s, 1e-3));
  const start_s = time_s - (x_px / axis.width_px) * span_s;
  return limited({ ...axis, start_s, span_s });
}

export function scrolled(axis: TimeAxis, by_s: number): TimeAxis {
  return limited({ ...axis, start_s: axis.start_s + by_s });
}

/** Shows exactly a stretch, with a margin of 5 % on each side. */
export function fitted(axis: TimeAxis, start_s: number, end_s: number): TimeAxis {
  const span_s = clamp((end_s - start_s) * 1.1, shortest(axis), axis.duration_s);
  return limited({ ...axis, start_s: (start_s + end_s - span_s) / 2, span_s });
}

/** Scrolls so that a time is visible: not at all if it is, else to a fifth of the width. */
export function revealing(axis: TimeAxis, time_s: number): TimeAxis {
  if (time_s >= axis.start_s && time_s <= endOf(axis)) return axis;
  return limited({ ...axis, start_s: time_s - axis.span_s / 5 });
}

/** Turns to the next page when the playhead leaves the visible stretch. */
export function following(axis: TimeAxis, playhead_s: number): TimeAxis {
  if (playhead_s < axis.start_s) return revealing(axis, playhead_s);
  if (playhead_s <= endOf(axis) - 0.02 * axis.span_s) return axis;
  return limited({ ...axis, start_s: playhead_s - axis.span_s * 0.05 });
}

/** Ticks at round times, at least `distance_px` apart, each with four or five minor ones. */
export function ticksOf(axis: TimeAxis, distance_px = 90): Tick[] {
  const wanted_s = (axis.span_s / axis.width_px) * distance_px;
  const step_s = STEPS_S.find((step) => step >= wanted_s) ?? STEPS_S[STEPS_S.length - 1]!;
  const parts = PARTS_OF_STEP.get(step_s) ?? 5;
  const minor_s = step_s / parts;
  const ticks: Tick[] = [];
  const first = Math.ceil(axis.start_s / minor_s - 1e-9);
  const last = Math.floor(Math.min(endOf(axis), axis.duration_s) / minor_s + 1e-9);
  for (let index = first; index <= last; index += 1) {
    const isMajor = index % parts === 0;
    const time_s = index * minor_s;
    ticks.push({ time_s, isMajor, label: isMajor ? tickLabel(time_s, step_s) : "" });
  }
  return ticks;
}

/** A time in the precision of a step: 1:05, 1:05.2, 1:05.25 or 1:02:05. */
export function tickLabel(time_s: number, step_s: number): string {
  const digits = step_s >= 1 ? 0 : step_s >= 0.1 ? 1 : step_s >= 0.01 ? 2 : 3;
  return clockText(time_s, digits);
}

/** Minutes and seconds, with hours if there are any: 0:01.250, 1:02:05.000. */
export function clockText(time_s: number, digits = 3): string {
  const scale = 10 ** digits;
  const units = Math.round(Math.max(0, time_s) * scale);
  const seconds = Math.floor(units / scale);
  const fraction = digits ? `.${String(units % scale).padStart(digits, "0")}` : "";
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = String(seconds % 60).padStart(2, "0") + fraction;
  if (hours === 0) return `${minutes}:${rest}`;
  return `${hours}:${String(minutes).padStart(2, "0")}:${rest}`;
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

const STEPS_S = [
  0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600,
];
const PARTS_OF_STEP = new Map([
  [0.02, 4],
  [0.2, 4],
  [2, 4],
  [15, 3],
  [30, 6],
  [60, 6],
  [120, 4],
  [900, 3],
  [1800, 6],
  [3600, 6],
]);

function shortest(axis: TimeAxis): number {
  return Math.min(SHORTEST_SPAN_S, Math.max(axis.duration_s, 1e-3));
}

function limited(axis: TimeAxis): TimeAxis {
  const span_s = clamp(axis.span_s, shortest(axis), Math.max(axis.duration_s, 1e-3));
  const latest_s = Math.max(0, axis.duration_s - span_s);
  return { ...axis, span_s, start_s: clamp(axis.start_s, 0, latest_s) };
}
