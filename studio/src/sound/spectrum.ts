// Short-time spectra of a sound in dB, on a mel-like scale of frequency, for drawing.

/** Samples of each window; 43 ms at 48 kHz. */
export const WINDOW_SAMPLES = 2048;

/** In-place fast Fourier transform (radix 2); the length must be a power of two. */
export function fft(real: Float32Array, imaginary: Float32Array): void {
  const count = real.length;
  for (let index = 1, reversed = 0; index < count; index += 1) {
    let bit = count >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (index < reversed) {
      swap(real, index, reversed);
      swap(imaginary, index, reversed);
    }
  }
  for (let length = 2; length <= count; length <<= 1) {
    const half = length >> 1;
    const stride = count / length;
    const { cosines, sines } = twiddles(count);
    for (let start = 0; start < count; start += length) {
      for (let offset = 0; offset < half; offset += 1) {
        const low = start + offset;
        const high = low + half;
        const cosine = cosines[offset * stride]!;
        const sine = sines[offset * stride]!;
        const re = real[high]! * cosine - imaginary[high]! * sine;
        const im = real[high]! * sine + imaginary[high]! * cosine;
        real[high] = real[low]! - re;
        imaginary[high] = imaginary[low]! - im;
        real[low] = real[low]! + re;
        imaginary[low] = imaginary[low]! + im;
      }
    }
  }
}

/**
 * Levels in dB (full scale sine: 0 dB) of one window centred on a sample, for `rows` frequencies
 * from the lowest to the highest. Samples outside of the sound count as silence.
 */
export function spectrumAt(
  samples: Float32Array,
  centre: number,
  rate_hz: number,
  rows: number,
): Float32Array {
  const real = new Float32Array(WINDOW_SAMPLES);
  const imaginary = new Float32Array(WINDOW_SAMPLES);
  const first = Math.round(centre) - WINDOW_SAMPLES / 2;
  const window = hann(WINDOW_SAMPLES);
  for (let index = 0; index < WINDOW_SAMPLES; index += 1) {
    real[index] = (samples[first + index] ?? 0) * window[index]!;
  }
  fft(real, imaginary);

  const edges = rowEdges(rows, rate_hz);
  const levels = new Float32Array(rows);
  // A sine of amplitude 1 has a peak of a quarter of the window length with a Hann window.
  const scale = (4 / WINDOW_SAMPLES) ** 2;
  for (let row = 0; row < rows; row += 1) {
    const begin = Math.floor(edges[row]!);
    const end = Math.max(begin + 1, Math.ceil(edges[row + 1]!));
    let power = 0;
    for (let bin = begin; bin < end && bin <= WINDOW_SAMPLES / 2; bin += 1) {
      power = Math.max(power, real[bin]! ** 2 + imaginary[bin]! ** 2);
    }
    levels[row] = 10 * Math.log10(power * scale + 1e-12);
  }
  return levels;
}

/** Frequency of a row's lower edge; rows are equal steps on the mel scale from 40 Hz up. */
export function rowFrequency(row: number, rows: number, rate_hz: number): number {
  const lowest = mel(LOWEST_HZ);
  const highest = mel(Math.min(HIGHEST_HZ, rate_hz / 2));
  return hertz(lowest + ((highest - lowest) * row) / rows);
}

const LOWEST_HZ = 40;
const HIGHEST_HZ = 20_000;

function mel(frequency_hz: number): number {
  return 2595 * Math.log10(1 + frequency_hz / 700);
}

function hertz(mels: number): number {
  return 700 * (10 ** (mels / 2595) - 1);
}

const edgesByRows = new Map<string, Float32Array>();
function rowEdges(rows: number, rate_hz: number): Float32Array {
  const key = `${rows} ${rate_hz}`;
  let edges = edgesByRows.get(key);
  if (!edges) {
    edges = Float32Array.from({ length: rows + 1 }, (_, row) => {
      return (rowFrequency(row, rows, rate_hz) / rate_hz) * WINDOW_SAMPLES;
    });
    edgesByRows.set(key, edges);
  }
  return edges;
}

let hannWindow = new Float32Array(0);
function hann(count: number): Float32Array {
  if (hannWindow.length !== count) {
    hannWindow = Float32Array.from({ length: count }, (_, index) => {
      return 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / count);
    });
  }
  return hannWindow;
}

let twiddleTable = { count: 0, cosines: new Float32Array(0), sines: new Float32Array(0) };
function twiddles(count: number) {
  if (twiddleTable.count !== count) {
    const angles = Array.from({ length: count / 2 }, (_, index) => (-2 * Math.PI * index) / count);
    twiddleTable = {
      count,
      cosines: Float32Array.from(angles, Math.cos),
      sines: Float32Array.from(angles, Math.sin),
    };
  }
  return twiddleTable;
}

function swap(values: Float32Array, first: number, second: number): void {
  const value = values[first]!;
  values[first] = values[second]!;
  values[second] = value;
}
