// Momentary and short-term loudness by ITU-R BS.1770-4, from samples that are already K-weighted.

/** Coefficients of the two K-weighting filters at 48 kHz (BS.1770-4, tables 1 and 2). */
export const K_WEIGHTING_48KHZ = [
  {
    feedforward: [1.53512485958697, -2.69169618940638, 1.19839281085285],
    feedback: [1.0, -1.69065929318241, 0.73248077421585],
  },
  { feedforward: [1.0, -2.0, 1.0], feedback: [1.0, -1.99004745483398, 0.99007225036621] },
] as const;

export const MOMENTARY_S = 0.4;
export const SHORT_TERM_S = 3;
export const SILENCE_LUFS = -70;

/** Loudness of a mean square that is summed over the channels. */
export function loudnessOf(meanSquare: number): number {
  if (meanSquare <= 0) return SILENCE_LUFS;
  return Math.max(SILENCE_LUFS, -0.691 + 10 * Math.log10(meanSquare));
}

/** Sum over the channels of the mean squares of the last `count` samples. */
export function meanSquareOf(channels: readonly Float32Array[], count: number): number {
  let sum = 0;
  for (const samples of channels) {
    const first = Math.max(0, samples.length - count);
    for (let index = first; index < samples.length; index += 1) sum += samples[index]! ** 2;
  }
  return sum / count;
}

/** Joins mean squares of short blocks into the loudness of the last three seconds. */
export class ShortTermLoudness {
  private readonly blocks: { end_s: number; meanSquare: number }[] = [];

  /** Adds the mean square of a block that ends at a time of a steady clock. */
  add(end_s: number, meanSquare: number): void {
    this.blocks.push({ end_s, meanSquare });
    while (this.blocks[0]!.end_s < end_s - SHORT_TERM_S) this.blocks.shift();
  }

  get lufs(): number {
    if (this.blocks.length === 0) return SILENCE_LUFS;
    const sum = this.blocks.reduce((total, block) => total + block.meanSquare, 0);
    return loudnessOf(sum / this.blocks.length);
  }

  reset(): void {
    this.blocks.length = 0;
  }
}
