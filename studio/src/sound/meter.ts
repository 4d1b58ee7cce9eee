// Measures the loudness of what is audible: K-weighting by filters of Web Audio, then mean squares.

import {
  K_WEIGHTING_48KHZ,
  loudnessOf,
  MOMENTARY_S,
  meanSquareOf,
  ShortTermLoudness,
  SILENCE_LUFS,
} from "./loudness";

export interface MeterValues {
  readonly momentary_lufs: number;
  readonly shortTerm_lufs: number;
  /** Highest sample since the last reset, in dB of full scale. */
  readonly peak_dbfs: number;
}

export class LoudnessMeter {
  /** Connect what is to be measured here, and this to the output. */
  readonly input: GainNode;
  private readonly weighted: AnalyserNode[];
  private readonly plain: AnalyserNode[];
  private readonly shortTerm = new ShortTermLoudness();
  private peak = 0;

  constructor(private readonly context: AudioContext) {
    this.input = context.createGain();
    this.plain = analysers(context, this.input, 8192);
    let node: AudioNode = this.input;
    for (const { feedforward, feedback } of K_WEIGHTING_48KHZ) {
      const filter = context.createIIRFilter([...feedforward], [...feedback]);
      node.connect(filter);
      node = filter;
    }
    // The smallest power of two that holds the 0.4 s of momentary loudness
    this.weighted = analysers(context, node, 32_768);
  }

  /** The present values; call it about ten times a second. */
  read(): MeterValues {
    const count = Math.round(MOMENTARY_S * this.context.sampleRate);
    const momentary = meanSquareOf(this.weighted.map(samplesOf), count);
    this.shortTerm.add(this.context.currentTime, momentary);
    for (const samples of this.plain.map(samplesOf)) {
      for (const value of samples) this.peak = Math.max(this.peak, Math.abs(value));
    }
    return {
      momentary_lufs: loudnessOf(momentary),
      shortTerm_lufs: this.shortTerm.lufs,
      peak_dbfs: this.peak > 0 ? 20 * Math.log10(this.peak) : SILENCE_LUFS,
    };
  }

  reset(): void {
    this.peak = 0;
    this.shortTerm.reset();
  }
}

function analysers(context: AudioContext, source: AudioNode, size: number): AnalyserNode[] {
  const splitter = context.createChannelSplitter(2);
  source.connect(splitter);
  return [0, 1].map((channel) => {
    const analyser = context.createAnalyser();
    analyser.fftSize = size;
    splitter.connect(analyser, channel);
    return analyser;
  });
}

const buffers = new WeakMap<AnalyserNode, Float32Array<ArrayBuffer>>();
function samplesOf(analyser: AnalyserNode): Float32Array {
  let buffer = buffers.get(analyser);
  if (!buffer) {
    buffer = new Float32Array(analyser.fftSize);
    buffers.set(analyser, buffer);
  }
  analyser.getFloatTimeDomainData(buffer);
  return buffer;
}
