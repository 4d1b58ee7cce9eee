// The sounds of a project that the page holds, and what of them is audible.

import type { Project, SampleRange, SoundSource } from "../api/contract";
import type { Player } from "../sound/player";
import { SoundStore } from "../sound/sound_store";
import { Signal } from "./signal";

export interface MixerState {
  readonly generated_db: number;
  readonly library_db: number;
  readonly original_db: number;
  readonly isGeneratedOn: boolean;
  readonly isLibraryOn: boolean;
  readonly isOriginalOn: boolean;
}

export const QUIETEST_DB = -40;

export class SessionSounds {
  /** The present sound; null before there is one. */
  readonly generated = new Signal<SoundStore | null>(null);
  readonly original: SoundStore | null;
  /** The part of the generated sound that is from the library; null without one. */
  readonly library = new Signal<SoundStore | null>(null);
  readonly mixer = new Signal<MixerState>({
    generated_db: 0,
    library_db: 0,
    original_db: 0,
    isGeneratedOn: true,
    isLibraryOn: true,
    isOriginalOn: false,
  });
  /** What is audible as generated sound: the present one, or a take. */
  readonly audible = new Signal<SoundSource>("generated");
  private readonly takes = new Map<string, SoundStore>();
  private revision = -1;

  constructor(
    private readonly player: Player,
    private readonly project: Project,
    private readonly rate_hz: number,
  ) {
    const { has_audio, duration_s } = project.video;
    this.original = has_audio ? this.store("original", Math.round(duration_s * rate_hz)) : null;
    player.setStore("original", this.original);
    this.mixer.watch(() => this.applyGains());
    this.audible.watch(() => this.applyAudible());
    this.takeOver(project, true);
  }

  /** The sound of the lane and the player: the present one, or the take that is audible. */
  get shown(): SoundStore | null {
    const source = this.audible.value;
    return source.startsWith("take:") ? this.take(source.slice(5)) : this.generated.value;
  }

  take(id: string): SoundStore {
    let store = this.takes.get(id);
    if (!store) {
      const count = Math.round(this.project.video.duration_s * this.rate_hz);
      store = this.store(`take:${id}`, this.generated.value?.sampleCount ?? count);
      this.takes.set(id, store);
    }
    return store;
  }

  /**
   * Takes over the state of the sound on the server. While edits are on their way, the answers to
   * them say what changed, so only a new sound and its growth count.
   */
  takeOver(project: Project, isIdle: boolean): void {
    const { sound, settings } = project;
    if (!sound) return;
    const isStereo = sound.channels === 2 || project.takes.some((take) => take.channels === 2);
    this.player.setStereo(isStereo);
    const isNewer = sound.revision > this.revision && isIdle;
    const held = this.generated.value;
    if (!held) this.generated.set(this.store("generated", sound.sample_count));
    else if (isNewer || sound.sample_count !== held.sampleCount) {
      held.invalidate(sound.sample_count);
      this.library.value?.invalidate(sound.sample_count);
    }
    this.revision = Math.max(this.revision, sound.revision);
    if (settings.library !== (this.library.value !== null)) {
      const store = settings.library ? this.store("library", sound.sample_count) : null;
      this.library.set(store);
      this.player.setStore("library", store);
      this.applyGains();
    }
    if (!held) this.applyAudible();
  }

  /** Fetches what an edit changed. */
  async replace(revision: number, changed: readonly SampleRange[]): Promise<void> {
    this.revision = Math.max(this.revision, revision);
    await Promise.all([
      this.generated.value?.replace(changed),
      this.library.value?.replace(changed),
    ]);
  }

  /** The library is a part of the generated sound, so its gain is what differs from it. */
  private applyGains(): void {
    const state = this.mixer.value;
    const generated = state.isGeneratedOn ? gainOf(state.generated_db) : 0;
    const library = state.isLibraryOn ? gainOf(state.library_db) : 0;
    const hasLibrary = this.library.value !== null && this.audible.value === "generated";
    this.player.setGain("generated", generated);
    this.player.setGain("library", hasLibrary ? library - generated : 0);
    this.player.setGain("original", state.isOriginalOn ? gainOf(state.original_db) : 0);
  }

  private applyAudible(): void {
    this.player.setStore("generated", this.shown);
    this.applyGains();
  }

  private store(source: SoundSource, sampleCount: number): SoundStore {
    return new SoundStore(this.project.id, source, this.rate_hz, sampleCount);
  }
}

export function gainOf(level_db: number): number {
  return level_db <= QUIETEST_DB ? 0 : 10 ** (level_db / 20);
}
