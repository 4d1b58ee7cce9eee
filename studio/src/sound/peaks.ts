// Smallest and largest samples of a waveform for each pixel column.

/** Pairs of smallest and largest value, one pair for each column. */
export type Peaks = Float32Array;

/**
 * Peaks of `count` columns of equal width that cover the samples from `first` to `last`, which may
 * be fractions and may lie outside of the sound. Columns without a sample are 0, 0.
 */
export function peaksOf(samples: Float32Array, first: number, last: number, count: number): Peaks {
  const peaks = new Float32Array(2 * count);
  const step = (last - first) / count;
  for (let column = 0; column < count; column += 1) {
    // A column narrower than a sample shows the sample that it lies in.
    const begin = Math.max(0, Math.floor(first + column * step));
    const end = Math.min(
      samples.length,
      Math.max(begin + 1, Math.ceil(first + (column + 1) * step)),
    );
    if (end <= begin || first + (column + 1) * step <= 0) continue;
    let low = Infinity;
    let high = -Infinity;
    for (let index = begin; index < end; index += 1) {
      const value = samples[index]!;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    peaks[2 * column] = low;
    peaks[2 * column + 1] = high;
  }
  return peaks;
}

/** Joins peaks of a fine resolution into columns of a coarser one. */
export function coarserPeaks(peaks: Peaks, first: number, last: number, count: number): Peaks {
  const joined = new Float32Array(2 * count);
  const available = peaks.length / 2;
  const step = (last - first) / count;
  for (let column = 0; column < count; column += 1) {
    const begin = Math.max(0, Math.floor(first + column * step));
    const end = Math.min(available, Math.max(begin + 1, Math.ceil(first + (column + 1) * step)));
    if (end <= begin || first + (column + 1) * step <= 0) continue;
    let low = Infinity;
    let high = -Infinity;
    for (let index = begin; index < end; index += 1) {
      low = Math.min(low, peaks[2 * index]!);
      high = Math.max(high, peaks[2 * index + 1]!);
    }
    joined[2 * column] = low;
    joined[2 * column + 1] = high;
  }
  return joined;
}
