// Samples of one sound that the page holds, in blocks that are fetched when they are needed.

import { api } from "../api/client";
import type { SampleRange, SoundSource } from "../api/contract";

/** 1.4 s at 48 kHz. */
export const BLOCK_SAMPLES = 1 << 16;
/** Blocks that are kept: 6 minutes. Those furthest from the last request are dropped. */
const MOST_BLOCKS = 256;

type Block = Float32Array[];
/** Who needs samples: what it asked for before is fetched no longer, unless others need it. */
export type Reader = "lane" | "player" | "loop" | "edit";

interface Loading {
  readonly first: number;
  readonly last: number;
  readonly done: Promise<void>;
  readonly stopping: AbortController;
}

/** `isChange` is false for samples that the page did not hold before. */
type Listener = (startSample: number, endSample: number, isChange: boolean) => void;

export class SoundStore {
  private readonly blocks = new Map<number, Block>();
  private readonly loading = new Map<number, Loading>();
  /** First and last block that each reader has asked for last. */
  private readonly wanted = new Map<Reader, readonly [number, number]>();
  private readonly listeners = new Set<Listener>();
  private generation = 0;
  channels = 1;

  constructor(
    readonly project: string,
    readonly source: SoundSource,
    readonly rate_hz: number,
    public sampleCount: number,
  ) {}

  /** Calls the listener with the samples that arrived or changed. */
  watch(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  covers(start: number, end: number): boolean {
    return this.missing(start, end).length === 0;
  }

  /** Fetches what is missing of a range; errors mean that there is no sound yet. */
  async ensure(start: number, end: number, reader: Reader): Promise<void> {
    this.wanted.set(reader, [blockOf(start), blockOf(end)]);
    this.stopUnwanted();
    const wanted = this.missing(start, end);
    if (wanted.length === 0) return;
    await Promise.all(joined(wanted).map(([first, last]) => this.load(first, last)));
    this.dropFarBlocks(Math.floor((start + end) / 2 / BLOCK_SAMPLES));
  }

  /** The samples of a range by channel; 0 where nothing is held. */
  read(start: number, end: number): Float32Array[] {
    const count = Math.max(0, end - start);
    const channels = Array.from({ length: this.channels }, () => new Float32Array(count));
    for (let index = blockOf(Math.max(0, start)); index * BLOCK_SAMPLES < end; index += 1) {
      const block = this.blocks.get(index);
      if (!block) continue;
      const first = index * BLOCK_SAMPLES;
      const from = Math.max(start, first);
      const to = Math.min(end, first + block[0]!.length);
      if (to <= from) continue;
      channels.forEach((channel, number) => {
        const samples = block[Math.min(number, block.length - 1)]!;
        channel.set(samples.subarray(from - first, to - first), from - start);
      });
    }
    return channels;
  }

  /** Fetches ranges again that changed on the server, as far as they are held. */
  async replace(ranges: readonly SampleRange[]): Promise<void> {
    await Promise.all(
      ranges.map(async ({ start_sample, end_sample }) => {
        const held = [];
        for (let index = blockOf(start_sample); index * BLOCK_SAMPLES < end_sample; index += 1) {
          if (this.blocks.has(index)) held.push(index);
        }
        if (held.length === 0) return;
        const first = Math.max(start_sample, held[0]! * BLOCK_SAMPLES);
        const last = Math.min(end_sample, (held[held.length - 1]! + 1) * BLOCK_SAMPLES);
        const part = await api.sound(this.project, this.source, first, last);
        if (part.channels !== this.channels) {
          this.invalidate();
          return this.ensure(first, last, "edit");
        }
        this.write(part.startSample, split(part.samples, part.channels));
      }),
    );
  }

  /** Forgets everything, for instance when another tab has changed the sound. */
  invalidate(sampleCount = this.sampleCount): void {
    this.generation += 1;
    this.sampleCount = sampleCount;
    this.blocks.clear();
    this.loading.clear();
    this.report(0, sampleCount, true);
  }

  private missing(start: number, end: number): number[] {
    const missing = [];
    const last = Math.min(end, this.sampleCount);
    for (let index = blockOf(Math.max(0, start)); index * BLOCK_SAMPLES < last; index += 1) {
      if (!this.blocks.has(index)) missing.push(index);
    }
    return missing;
  }

  private async load(first: number, last: number): Promise<void> {
    const indices = Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    const open = indices.filter((index) => !this.loading.has(index));
    if (open.length > 0) {
      const stopping = new AbortController();
      const [begin, end] = [open[0]!, open[open.length - 1]!];
      const done = this.fetchBlocks(begin, end, stopping.signal);
      const request = { first: begin, last: end, done, stopping };
      for (const index of open) this.loading.set(index, request);
      void done.catch(() => {}).finally(() => this.forget(request));
    }
    await Promise.all(indices.map((index) => this.loading.get(index)?.done));
  }

  /** Stops requests for what was scrolled past: they would hold the connections of edits. */
  private stopUnwanted(): void {
    const wanted = [...this.wanted.values()];
    for (const request of new Set(this.loading.values())) {
      const { first, last, stopping } = request;
      if (wanted.some(([begin, end]) => begin <= last && end >= first)) continue;
      stopping.abort();
      this.forget(request);
    }
  }

  private forget(request: Loading): void {
    for (let index = request.first; index <= request.last; index += 1) {
      if (this.loading.get(index) === request) this.loading.delete(index);
    }
  }

  private async fetchBlocks(first: number, last: number, signal: AbortSignal): Promise<void> {
    const { generation } = this;
    const start = first * BLOCK_SAMPLES;
    const end = Math.min((last + 1) * BLOCK_SAMPLES, this.sampleCount);
    const part = await api.sound(this.project, this.source, start, end, signal);
    if (generation !== this.generation) return;
    this.channels = part.channels;
    const channels = split(part.samples, part.channels);
    for (let index = first; index <= last; index += 1) {
      const from = (index - first) * BLOCK_SAMPLES;
      this.blocks.set(
        index,
        channels.map((samples) => samples.slice(from, from + BLOCK_SAMPLES)),
      );
    }
    this.report(start, end, false);
  }

  private write(start: number, channels: Float32Array[]): void {
    const end = start + channels[0]!.length;
    for (let index = blockOf(start); index * BLOCK_SAMPLES < end; index += 1) {
      const first = index * BLOCK_SAMPLES;
      this.blocks.get(index)?.forEach((samples, number) => {
        const from = Math.max(start, first);
        const to = Math.min(end, first + samples.length);
        if (to <= from) return;
        samples.set(channels[number]!.subarray(from - start, to - start), from - first);
      });
    }
    this.report(start, end, true);
  }

  private dropFarBlocks(centre: number): void {
    if (this.blocks.size <= MOST_BLOCKS) return;
    const byDistance = [...this.blocks.keys()].sort(
      (a, b) => Math.abs(b - centre) - Math.abs(a - centre),
    );
    for (const index of byDistance.slice(0, this.blocks.size - MOST_BLOCKS)) {
      this.blocks.delete(index);
    }
  }

  private report(start: number, end: number, isChange: boolean): void {
    for (const listener of [...this.listeners]) listener(start, end, isChange);
  }
}

function blockOf(sample: number): number {
  return Math.floor(sample / BLOCK_SAMPLES);
}

/** Neighbouring numbers as pairs of the first and the last. */
function joined(numbers: readonly number[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs[runs.length - 1];
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs;
}

function split(interleaved: Float32Array, channels: number): Float32Array[] {
  if (channels === 1) return [interleaved];
  const count = interleaved.length / channels;
  return Array.from({ length: channels }, (_, channel) => {
    return Float32Array.from({ length: count }, (_, index) => {
      return interleaved[index * channels + channel]!;
    });
  });
}
