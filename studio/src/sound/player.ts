// Plays the generated, the library's and the original sound by the clock of Web Audio.
//
// Short parts are scheduled a little ahead, so that an edit is audible at once: what is scheduled
// fades out, and the new sound fades in at the same moment of the clip.

import { LoudnessMeter } from "./meter";
import { type LoopRange, type PlannedPart, PlayPlan } from "./play_plan";
import type { SoundStore } from "./sound_store";

export type ChannelName = "generated" | "library" | "original";

interface Channel {
  store: SoundStore | null;
  gain: number;
  node: GainNode | null;
}

/** What of a channel is scheduled since the last start. */
interface Voice {
  readonly node: GainNode;
  readonly sources: AudioBufferSourceNode[];
}

/** How far ahead parts are scheduled. Timers of hidden tabs run once a second. */
const AHEAD_S = 1.3;
const FADE_S = 0.008;
const AUDITION_FADE_S = 0.1;
/** How far ahead sound is fetched. */
const FETCHED_AHEAD_S = 6;

export class Player {
  private context: AudioContext | null = null;
  private plan: PlayPlan | null = null;
  private timer = 0;
  private pausedAt_s = 0;
  private loopRange: LoopRange | null = null;
  private isIncomplete = false;
  private voices: Voice[] = [];
  private readonly channels: Record<ChannelName, Channel> = {
    generated: { store: null, gain: 1, node: null },
    library: { store: null, gain: 0, node: null },
    original: { store: null, gain: 0, node: null },
  };
  private readonly unwatch: Partial<Record<ChannelName, () => void>> = {};
  /** Whether mono sounds play in two channels at −3 dB, as loud as stereo ones. */
  private isStereo = false;
  meter: LoudnessMeter | null = null;
  onStateChange: (isPlaying: boolean) => void = () => {};

  constructor(private readonly duration_s: number) {}

  get isPlaying(): boolean {
    return this.plan !== null;
  }

  /** The moment of the clip that is audible now, or at which playing starts. */
  get position_s(): number {
    if (!this.plan || !this.context) return this.pausedAt_s;
    const latency_s = this.context.outputLatency || this.context.baseLatency || 0;
    return this.plan.positionAt(this.context.currentTime - latency_s);
  }

  async play(): Promise<void> {
    if (this.isPlaying) return;
    const context = this.contextOnDemand();
    await context.resume();
    if (this.isPlaying) return;
    const loop = this.loopRange;
    const isAtEnd = this.pausedAt_s >= this.duration_s - 0.01;
    const isBehindLoop = loop !== null && this.pausedAt_s >= loop.end_s - 0.01;
    if (isAtEnd || isBehindLoop) this.pausedAt_s = loop?.start_s ?? 0;
    this.start(this.pausedAt_s);
    this.timer = window.setInterval(() => this.schedule(), 60);
    this.onStateChange(true);
  }

  pause(): void {
    if (!this.plan) return;
    this.pausedAt_s = Math.min(this.position_s, this.duration_s);
    this.stop();
    this.onStateChange(false);
  }

  /** Plays a stretch of the generated sound once, while paused; the playhead stays. */
  async audition(start_s: number, end_s: number): Promise<void> {
    if (this.isPlaying) return;
    const context = this.contextOnDemand();
    await context.resume();
    if (this.isPlaying) return;
    this.fadeOut();
    const clock_s = context.currentTime + 0.02;
    const duration_s = end_s - start_s;
    this.startVoices(context, clock_s);
    Object.entries(this.channels).forEach(([name, channel], index) => {
      const voice = this.voices[index]!;
      if (name === "original") return;
      this.schedulePart(channel, voice, { clock_s, position_s: start_s, duration_s });
      voice.node.gain.setValueAtTime(1, clock_s + duration_s - AUDITION_FADE_S);
      voice.node.gain.linearRampToValueAtTime(0, clock_s + duration_s);
    });
  }

  seek(time_s: number): void {
    this.pausedAt_s = time_s;
    if (this.plan) this.start(time_s);
  }

  set loop(range: LoopRange | null) {
    this.loopRange = range;
    if (!this.plan) return;
    const position_s = this.position_s;
    const isInside = !range || (position_s >= range.start_s && position_s < range.end_s);
    this.start(isInside ? position_s : range.start_s);
  }

  setStore(name: ChannelName, store: SoundStore | null): void {
    const channel = this.channels[name];
    if (channel.store === store) return;
    this.unwatch[name]?.();
    channel.store = store;
    this.unwatch[name] = store?.watch((...event) => this.refreshIfScheduled(store, ...event));
    this.refresh();
  }

  setGain(name: ChannelName, gain: number): void {
    const channel = this.channels[name];
    channel.gain = gain;
    if (channel.node && this.context) {
      channel.node.gain.setTargetAtTime(gain, this.context.currentTime, 0.01);
    }
  }

  setStereo(isStereo: boolean): void {
    if (this.isStereo === isStereo) return;
    this.isStereo = isStereo;
    this.refresh();
  }

  /** Schedules the sound again from the present position. */
  refresh(): void {
    if (this.plan) this.start(this.position_s);
  }

  close(): void {
    this.pause();
    for (const end of Object.values(this.unwatch)) end?.();
    void this.context?.close();
    this.context = null;
  }

  private contextOnDemand(): AudioContext {
    if (this.context) return this.context;
    // At 48 kHz the samples of the server are played without resampling.
    const context = new AudioContext({ sampleRate: 48_000, latencyHint: "interactive" });
    this.meter = new LoudnessMeter(context);
    this.meter.input.connect(context.destination);
    for (const channel of Object.values(this.channels)) {
      channel.node = context.createGain();
      channel.node.gain.value = channel.gain;
      channel.node.connect(this.meter.input);
    }
    this.context = context;
    return context;
  }

  private start(position_s: number): void {
    const context = this.context!;
    this.fadeOut();
    this.plan = new PlayPlan(
      context.currentTime + 0.02,
      position_s,
      this.duration_s,
      this.loopRange,
    );
    this.schedule();
  }

  private stop(): void {
    this.fadeOut();
    window.clearInterval(this.timer);
    this.plan = null;
  }

  /** Ends what is scheduled by a short fade. */
  private fadeOut(): void {
    for (const voice of this.voices) {
      const { gain } = voice.node;
      const now_s = this.context!.currentTime;
      gain.cancelScheduledValues(now_s);
      gain.setValueAtTime(1, now_s + 0.02);
      gain.linearRampToValueAtTime(0, now_s + 0.02 + FADE_S);
      for (const source of voice.sources) source.stop(now_s + 0.03 + FADE_S);
      window.setTimeout(() => voice.node.disconnect(), 500);
    }
    this.voices = [];
  }

  private schedule(): void {
    const { context, plan } = this;
    if (!context || !plan) return;
    const isNew = this.voices.length === 0;
    if (isNew) this.startVoices(context, plan.plannedUntil_s);
    this.isIncomplete = isNew ? false : this.isIncomplete;
    while (plan.plannedUntil_s < context.currentTime + AHEAD_S) {
      const part = plan.next();
      if (!part) break;
      Object.values(this.channels).forEach((channel, index) => {
        this.schedulePart(channel, this.voices[index]!, part);
      });
    }
    this.fetchAhead();
    if (plan.isComplete && context.currentTime >= plan.plannedUntil_s) {
      this.pausedAt_s = this.duration_s;
      this.stop();
      this.onStateChange(false);
    }
  }

  private startVoices(context: AudioContext, start_s: number): void {
    this.voices = Object.values(this.channels).map((channel) => {
      const node = context.createGain();
      node.gain.setValueAtTime(0, context.currentTime);
      node.gain.setValueAtTime(0, start_s);
      node.gain.linearRampToValueAtTime(1, start_s + FADE_S);
      node.connect(channel.node!);
      return { node, sources: [] };
    });
  }

  private schedulePart(channel: Channel, voice: Voice, part: PlannedPart): void {
    const { store } = channel;
    if (!store || !this.context) return;
    const start = Math.round(part.position_s * store.rate_hz);
    const end = Math.min(
      Math.round((part.position_s + part.duration_s) * store.rate_hz),
      store.sampleCount,
    );
    if (end <= start) return;
    if (!store.covers(start, end)) this.isIncomplete = true;
    const samples = forOutput(store.read(start, end), this.isStereo);
    const buffer = this.context.createBuffer(samples.length, end - start, store.rate_hz);
    samples.forEach((values, index) => {
      buffer.copyToChannel(values as Float32Array<ArrayBuffer>, index);
    });
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(voice.node);
    source.start(part.clock_s);
    voice.sources.push(source);
    source.onended = () => {
      voice.sources.splice(voice.sources.indexOf(source), 1);
      source.disconnect();
    };
  }

  private fetchAhead(): void {
    const position_s = this.position_s;
    for (const { store, gain } of Object.values(this.channels)) {
      if (!store || gain === 0) continue;
      const start = Math.round(position_s * store.rate_hz);
      const end = start + FETCHED_AHEAD_S * store.rate_hz;
      store.ensure(start, end, "player").catch(() => {});
      if (this.loopRange) {
        const first = Math.round(this.loopRange.start_s * store.rate_hz);
        store.ensure(first, first + store.rate_hz, "loop").catch(() => {});
      }
    }
  }

  /** Plays again from here if samples that are already scheduled arrived or changed. */
  private refreshIfScheduled(
    store: SoundStore,
    start: number,
    end: number,
    isChange: boolean,
  ): void {
    if (!this.plan) return;
    const first = this.position_s * store.rate_hz;
    const isSoon = end > first && start < first + (AHEAD_S + 0.5) * store.rate_hz;
    const isAudible = isSoon || this.loopRange !== null;
    if (this.isIncomplete || (isChange && isAudible)) this.refresh();
  }
}

/** Mono samples for a stereo output: in both channels, with the power that they have alone. */
export function forOutput(channels: Float32Array[], isStereo: boolean): Float32Array[] {
  const [only] = channels;
  if (!isStereo || channels.length !== 1 || !only) return channels;
  const half = only.map((value) => value * Math.SQRT1_2);
  return [half, half];
}
