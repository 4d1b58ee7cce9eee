import assert from "node:assert/strict";
import { test } from "node:test";
import { loudnessOf, meanSquareOf, ShortTermLoudness, SILENCE_LUFS } from "../src/sound/loudness";
import { coarserPeaks, peaksOf } from "../src/sound/peaks";
import { fft, rowFrequency, spectrumAt } from "../src/sound/spectrum";

const RATE_HZ = 48_000;

function sine(frequency_hz: number, seconds: number, amplitude = 1): Float32Array {
  return Float32Array.from({ length: seconds * RATE_HZ }, (_, index) => {
    return amplitude * Math.sin((2 * Math.PI * frequency_hz * index) / RATE_HZ);
  });
}

test("peaks are the extremes of each column, and 0 outside of the sound", () => {
  const samples = Float32Array.of(0.1, -0.5, 0.25, 0.5);
  const expected = Float32Array.of(-0.5, 0.1, 0.25, 0.5);
  assert.deepEqual(peaksOf(samples, 0, 4, 2), expected);
  assert.deepEqual(peaksOf(samples, -2, 6, 4), Float32Array.of(0, 0, ...expected, 0, 0));
});

test("columns narrower than a sample repeat it", () => {
  const samples = Float32Array.of(0.25, -0.5);
  assert.deepEqual(
    [...peaksOf(samples, 0, 2, 4)],
    [0.25, 0.25, 0.25, 0.25, -0.5, -0.5, -0.5, -0.5],
  );
});

test("coarser peaks are those of the samples", () => {
  const samples = sine(3, 0.5);
  const fine = peaksOf(samples, 0, samples.length, 240);
  assert.deepEqual(coarserPeaks(fine, 0, 240, 12), peaksOf(samples, 0, samples.length, 12));
});

test("the transform is that of the definition", () => {
  const count = 16;
  const input = Float32Array.from({ length: count }, (_, index) => Math.sin(index * index));
  const real = input.slice();
  const imaginary = new Float32Array(count);
  fft(real, imaginary);
  for (let bin = 0; bin < count; bin += 1) {
    let re = 0;
    let im = 0;
    for (let index = 0; index < count; index += 1) {
      re += input[index]! * Math.cos((2 * Math.PI * bin * index) / count);
      im -= input[index]! * Math.sin((2 * Math.PI * bin * index) / count);
    }
    assert.ok(Math.abs(re - real[bin]!) < 1e-4 && Math.abs(im - imaginary[bin]!) < 1e-4);
  }
});

test("a full-scale sine has 0 dB in the row of its frequency", () => {
  const rows = 128;
  const levels = [...spectrumAt(sine(3000, 0.2), 4800, RATE_HZ, rows)];
  const loudest = levels.indexOf(Math.max(...levels));
  assert.ok(Math.abs(levels[loudest]!) < 0.5);
  assert.ok(rowFrequency(loudest - 1, rows, RATE_HZ) < 3000);
  assert.ok(rowFrequency(loudest + 2, rows, RATE_HZ) > 3000);
});

test("loudness follows its definition", () => {
  // A sine of -20 dBFS in one channel has a mean square of -23.01 dB.
  const meanSquare = meanSquareOf([sine(997, 1, 0.1)], RATE_HZ);
  assert.ok(Math.abs(loudnessOf(meanSquare) - -23.7) < 0.05);
  assert.equal(loudnessOf(0), SILENCE_LUFS);
});

test("short-term loudness covers the last three seconds", () => {
  const meter = new ShortTermLoudness();
  assert.equal(meter.lufs, SILENCE_LUFS);
  for (let time_s = 0; time_s < 6; time_s += 0.1) meter.add(time_s, time_s < 2 ? 1 : 0.01);
  assert.ok(Math.abs(meter.lufs - loudnessOf(0.01)) < 1e-9);
});
