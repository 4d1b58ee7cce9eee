// The open project: its cues, sounds, view and player, and the edits that the page makes.

import { api } from "../api/client";
import type {
  Change,
  Cue,
  Edit,
  Job,
  Project,
  SampleRange,
  SoundSource,
  Status,
} from "../api/contract";
import { listen } from "../api/events";
import type { Limits } from "../edit/changes";
import { EditQueue } from "../edit/edit_queue";
import {
  allOfCues,
  chosen,
  NOTHING_SELECTED,
  only,
  remaining,
  type Selection,
} from "../edit/selection";
import type { LoopRange } from "../sound/play_plan";
import { Player } from "../sound/player";
import { SoundStore } from "../sound/sound_store";
import { axisOf, following, revealing, type TimeAxis } from "../time/axis";
import { type FrameTimes, snapped } from "../time/frames";
import { messages } from "./messages";
import { Signal } from "./signal";

export type SoundView = "waveform" | "spectrogram";

export interface MixerState {
  readonly generated_db: number;
  readonly original_db: number;
  readonly isGeneratedOn: boolean;
  readonly isOriginalOn: boolean;
}

export const QUIETEST_DB = -40;

export class Session {
  readonly cues = new Signal<readonly Cue[]>([]);
  readonly selection = new Signal<Selection>(NOTHING_SELECTED);
  readonly axis: Signal<TimeAxis>;
  readonly playhead_s = new Signal(0);
  readonly isPlaying = new Signal(false);
  readonly loop = new Signal<LoopRange | null>(null);
  readonly isLooping = new Signal(false);
  readonly soundView = new Signal<SoundView>("waveform");
  readonly mixer = new Signal<MixerState>({
    generated_db: 0,
    original_db: 0,
    isGeneratedOn: true,
    isOriginalOn: false,
  });
  /** What is audible as generated sound: the present one, or a take. */
  readonly audible = new Signal<SoundSource>("generated");
  /** The take that A/B compares with. */
  readonly compared = new Signal<string | null>(null);
  readonly frames = new Signal<FrameTimes>(new Float64Array(0));
  readonly jobs = new Signal<ReadonlyMap<string, Job>>(new Map());
  readonly isConnected = new Signal(true);
  /** Milliseconds from the end of the last action to its new sound. */
  readonly editToSound_ms = new Signal<number | null>(null);
  readonly generated: Signal<SoundStore | null> = new Signal<SoundStore | null>(null);
  readonly original: SoundStore | null;
  readonly player: Player;
  readonly project: Signal<Project>;
  private readonly takes = new Map<string, SoundStore>();
  private readonly queue = new EditQueue((cues) => this.showCues(cues));
  private readonly stopListening: () => void;
  private soundRevision = -1;
  private selectsNew = false;

  constructor(
    readonly status: Status,
    project: Project,
  ) {
    this.project = new Signal(project);
    const { duration_s, has_audio } = project.video;
    this.axis = new Signal(axisOf(duration_s, 1000));
    this.player = new Player(duration_s);
    const count = Math.round(duration_s * status.sample_rate_hz);
    this.original = has_audio ? this.store("original", count) : null;
    this.player.setStore("original", this.original);
    this.player.onStateChange = (isPlaying) => {
      this.isPlaying.set(isPlaying);
      this.playhead_s.set(this.player.position_s);
    };
    this.mixer.watch(() => this.applyMixer());
    this.isLooping.watch(() => this.applyLoop());
    this.loop.watch(() => this.applyLoop());
    this.audible.watch(() => this.applyAudible());
    this.takeOverSound(project);
    this.stopListening = listen(
      {
        job: (job) => this.takeOverJob(job),
        project: (changed) => this.takeOverProject(changed),
        edit: (edit) => this.takeOverEdit(edit),
        connection: (isOpen) => this.isConnected.set(isOpen),
      },
      project.id,
    );
    void this.loadFrames();
  }

  get id(): string {
    return this.project.value.id;
  }

  get limits(): Limits {
    const { duration_s } = this.project.value.video;
    return { duration_s, levels_db: this.status.level_range_db };
  }

  get chosenCues(): Cue[] {
    return chosen(this.selection.value, this.cues.value);
  }

  // Playing and looking

  seek(time_s: number): void {
    const time = Math.min(Math.max(time_s, 0), this.limits.duration_s);
    this.player.seek(time);
    this.playhead_s.set(time);
    this.axis.set(revealing(this.axis.value, time));
  }

  togglePlaying(): void {
    if (this.player.isPlaying) this.player.pause();
    else this.player.play().catch((error) => messages.error(error));
  }

  /** Takes over the position of the player; call it in every animation frame. */
  tick(): void {
    if (!this.player.isPlaying) return;
    this.playhead_s.set(this.player.position_s);
    this.axis.set(following(this.axis.value, this.playhead_s.value));
  }

  snap(time_s: number): number {
    return snapped(this.frames.value, time_s);
  }

  select(cue: Cue): void {
    this.selection.set(only(cue.id));
    if (!this.player.isPlaying) this.seek(cue.time_s);
    this.axis.set(revealing(this.axis.value, cue.time_s));
  }

  // Edits

  /**
   * Sends changes of the cues. `began_ms` is when the user's action ended, on the clock of the
   * page, and `mergeKey` joins repeated actions that wait for the server.
   */
  edit(
    changes: readonly Change[],
    label: string,
    options: { mergeKey?: string; began_ms?: number; selectsNew?: boolean } = {},
  ): void {
    if (changes.length === 0) return;
    this.request(
      changes,
      (latest) => api.editCues(this.id, latest, label),
      options.began_ms ?? performance.now(),
      options,
    );
  }

  undo(): void {
    if (!this.project.value.undo && this.queue.isIdle) return;
    this.request([], () => api.undo(this.id), performance.now());
  }

  redo(): void {
    if (!this.project.value.redo && this.queue.isIdle) return;
    this.request([], () => api.redo(this.id), performance.now());
  }

  useTake(take: string): void {
    this.request([], () => api.useTake(this.id, take), performance.now());
  }

  regenerate(range: LoopRange): void {
    this.request([], () => api.regenerate(this.id, range.start_s, range.end_s), performance.now());
  }

  importCues(file: File): void {
    const suffix = suffixOf(
      file.name,
      this.status.cue_formats.filter((format) => format.can_import).map((format) => format.suffix),
    );
    this.request([], () => api.importCues(this.id, file, suffix), performance.now());
  }

  takeStore(take: string): SoundStore {
    let store = this.takes.get(take);
    if (!store) {
      store = this.store(`take:${take}`, this.sampleCount);
      this.takes.set(take, store);
    }
    return store;
  }

  async reload(): Promise<void> {
    const [project, list] = await Promise.all([api.project(this.id), api.cues(this.id)]);
    this.queue.reset(list.cues, list.revision);
    this.project.set(project);
    this.takeOverSound(project);
  }

  close(): void {
    this.stopListening();
    this.player.close();
  }

  private get sampleCount(): number {
    const { sound, video } = this.project.value;
    return sound?.sample_count ?? Math.round(video.duration_s * this.status.sample_rate_hz);
  }

  private store(source: SoundSource, sampleCount: number): SoundStore {
    return new SoundStore(this.project.value.id, source, this.status.sample_rate_hz, sampleCount);
  }

  private request(
    changes: readonly Change[],
    request: (changes: readonly Change[]) => Promise<Edit>,
    began_ms: number,
    options: { mergeKey?: string; selectsNew?: boolean } = {},
  ): void {
    this.queue.add({
      changes,
      request: (latest) => {
        this.selectsNew = options.selectsNew ?? false;
        return request(latest);
      },
      mergeKey: options.mergeKey ?? null,
      done: (edit) => this.finishEdit(edit, began_ms),
      failed: (error) => {
        messages.error(error);
        this.reload().catch(() => {});
      },
    });
  }

  /** Takes over what an edit changed; `began_ms` is null for those of other tabs. */
  private async finishEdit(edit: Edit, began_ms: number | null): Promise<void> {
    if (this.selectsNew && began_ms !== null) this.selection.set(allOfCues(edit.cues));
    this.project.set({
      ...this.project.value,
      revision: edit.revision,
      cue_count: this.cues.value.length,
      undo: edit.undo,
      redo: edit.redo,
    });
    for (const warning of edit.warnings ?? []) messages.warn(warning);
    await this.fetchChanged(edit);
    if (began_ms !== null && edit.changed && edit.changed.length > 0) {
      this.editToSound_ms.set(performance.now() - began_ms);
    }
  }

  private async fetchChanged(edit: Edit): Promise<void> {
    if (edit.sound_revision === null) return;
    this.soundRevision = Math.max(this.soundRevision, edit.sound_revision);
    const changed: readonly SampleRange[] = edit.changed ?? [];
    await this.generated.value?.replace(changed);
  }

  private showCues(cues: Cue[]): void {
    this.cues.set(cues);
    this.selection.set(remaining(this.selection.value, cues));
  }

  // Events of the server

  private takeOverProject(project: Project): void {
    if (project.id !== this.id) return;
    const isCurrent = project.revision >= this.project.value.revision;
    if (!isCurrent && this.queue.isIdle) return;
    const { undo, redo } = this.queue.isIdle ? project : this.project.value;
    this.project.set({ ...project, undo, redo });
    this.takeOverSound(project);
    if (this.queue.isIdle && project.revision !== this.queue.revision) {
      this.reload().catch((error) => messages.error(error));
    }
  }

  private takeOverSound(project: Project): void {
    const { sound } = project;
    if (!sound) return;
    if (!this.generated.value) {
      this.generated.set(this.store("generated", sound.sample_count));
      this.applyAudible();
    } else if (sound.revision > this.soundRevision && this.queue.isIdle) {
      this.generated.value.invalidate(sound.sample_count);
    } else return;
    this.soundRevision = sound.revision;
  }

  private takeOverEdit(edit: Edit & { project: string }): void {
    if (!this.queue.isIdle || edit.project !== this.id || edit.revision <= this.queue.revision) {
      return;
    }
    if (edit.revision === this.queue.revision + 1) {
      this.queue.apply(edit);
      void this.finishEdit(edit, null).catch(() => {});
    } else {
      this.reload().catch((error) => messages.error(error));
    }
  }

  private takeOverJob(job: Job): void {
    if (job.project !== this.id) return;
    const before = this.jobs.value.get(job.id);
    const jobs = new Map(this.jobs.value);
    jobs.set(job.id, job);
    this.jobs.set(jobs);
    const wasOpen = before?.state === "waiting" || before?.state === "running";
    if (job.state === "failed" && wasOpen && job.error) {
      messages.warn(`${job.label} failed: ${job.error.error} ${job.error.hint ?? ""}`);
    }
  }

  private applyMixer(): void {
    const { generated_db, original_db, isGeneratedOn, isOriginalOn } = this.mixer.value;
    this.player.setGain("generated", isGeneratedOn ? gainOf(generated_db) : 0);
    this.player.setGain("original", isOriginalOn ? gainOf(original_db) : 0);
  }

  private applyLoop(): void {
    this.player.loop = this.isLooping.value ? this.loop.value : null;
  }

  private applyAudible(): void {
    const source = this.audible.value;
    const store = source.startsWith("take:")
      ? this.takeStore(source.slice("take:".length))
      : this.generated.value;
    this.player.setStore("generated", store);
  }

  private async loadFrames(): Promise<void> {
    const { duration_s } = this.project.value.video;
    let times: number[] = [];
    // Ranges of five minutes have at most 18000 frames at 60 frames per second.
    for (let start_s = 0; start_s < duration_s; start_s += 300) {
      try {
        const list = await api.frames(this.id, start_s, Math.min(start_s + 300, duration_s + 1));
        const last = times[times.length - 1] ?? -1;
        times = times.concat(list.times_s.filter((time) => time > last));
        this.frames.set(Float64Array.from(times));
      } catch {
        return; // Until the video is analysed; `project` events load them again.
      }
    }
  }
}

export function gainOf(level_db: number): number {
  return level_db <= QUIETEST_DB ? 0 : 10 ** (level_db / 20);
}

function suffixOf(name: string, known: readonly string[]): string {
  const lower = name.toLowerCase();
  const matching = known.filter((suffix) => lower.endsWith(suffix));
  const longest = matching.sort((a, b) => b.length - a.length)[0];
  return longest ?? `.${lower.split(".").pop()}`;
}
