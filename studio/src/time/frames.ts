// Frames of the video by their presentation times, which need not be at equal distances.

/** Presentation times of the frames in seconds from the first one, in ascending order. */
export type FrameTimes = Float64Array;

/** Index of the last frame that is shown at a time; 0 before the first. */
export function frameAt(times: FrameTimes, time_s: number): number {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle]! <= time_s + HALF_MICROSECOND_S) low = middle;
    else high = middle - 1;
  }
  return Math.max(low, 0);
}

/** Time of the frame that begins nearest to a time; the time itself without any frames. */
export function snapped(times: FrameTimes, time_s: number): number {
  if (times.length === 0) return time_s;
  const before = frameAt(times, time_s);
  const after = Math.min(before + 1, times.length - 1);
  const isNearerBefore = time_s - times[before]! <= times[after]! - time_s;
  return isNearerBefore ? times[before]! : times[after]!;
}

/** The time of the frame that is `count` frames later, or earlier if it is negative. */
export function stepped(times: FrameTimes, time_s: number, count: number): number {
  if (times.length === 0) return time_s;
  const index = frameAt(times, time_s) + count;
  return times[Math.min(Math.max(index, 0), times.length - 1)]!;
}

/**
 * A time within the frame, where a player that seeks to it surely shows this frame: a quarter of
 * its duration after its start.
 */
export function insideFrame(times: FrameTimes, time_s: number): number {
  if (times.length < 2) return time_s;
  const index = frameAt(times, time_s);
  const next = index + 1 < times.length ? index + 1 : index;
  const previous = index + 1 < times.length ? index : index - 1;
  return times[index]! + (times[next]! - times[previous]!) / 4;
}

const HALF_MICROSECOND_S = 5e-7;
