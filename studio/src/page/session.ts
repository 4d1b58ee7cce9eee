// The open project: its cues, sounds, view and player, and the edits that the page makes.

import { api } from "../api/client";
import type { Change, Cue, Edit, Job, Project, Reference, Status } from "../api/contract";
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
import { axisOf, following, revealing, type TimeAxis } from "../time/axis";
import { type FrameTimes, snapped } from "../time/frames";
import { messages } from "./messages";
import { SessionSounds } from "./session_sounds";
import { Signal } from "./signal";

/** What plays after an edit while paused. */
const AUDITION_BEFORE_S = 0.1;
const AUDITION_S = 1.2;

export type SoundView = "waveform" | "spectrogram";

export class Session {
  readonly cues = new Signal<readonly Cue[]>([]);
  readonly selection = new Signal<Selection>(NOTHING_SELECTED);
  readonly axis: Signal<TimeAxis>;
  readonly playhead_s = new Signal(0);
  readonly isPlaying = new Signal(false);
  readonly loop = new Signal<LoopRange | null>(null);
  readonly isLooping = new Signal(false);
  /** Whether an edit plays at once while paused. */
  readonly playsEdits = new Signal(true);
  readonly soundView = new Signal<SoundView>("waveform");
  /** The take that A/B compares with. */
  readonly compared = new Signal<string | null>(null);
  readonly frames = new Signal<FrameTimes>(new Float64Array(0));
  readonly jobs = new Signal<ReadonlyMap<string, Job>>(new Map());
  readonly isConnected = new Signal(true);
  /** From the end of the last action to its new sound; a new object for each edit. */
  readonly editToSound = new Signal<{ readonly ms: number } | null>(null);
  readonly player: Player;
  readonly sounds: SessionSounds;
  readonly project: Signal<Project>;
  private readonly queue = new EditQueue(
    (cues) => this.showCues(cues),
    () => this.whenIdle(),
  );
  private readonly stopListening: () => void;
  private selectsNew = false;
  /** The newest revision that events spoke of while edits were on their way. */
  private newestRevision = -1;
  private hasGap = false;
  private ownRevision = -1;
  private isLoadingFrames = false;
  private framesUntil_s = 0;

  constructor(
    readonly status: Status,
    project: Project,
  ) {
    this.project = new Signal(project);
    const { duration_s } = project.video;
    this.axis = new Signal(axisOf(duration_s, 1000));
    this.player = new Player(duration_s);
    this.sounds = new SessionSounds(this.player, project, status.sample_rate_hz);
    this.player.onStateChange = (isPlaying) => {
      this.isPlaying.set(isPlaying);
      this.playhead_s.set(this.player.position_s);
    };
    this.isLooping.watch(() => this.applyLoop());
    this.loop.watch(() => this.applyLoop());
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

  /** The recording whose timbre all cues follow. */
  get reference(): Reference | null {
    const { settings, references } = this.project.value;
    return references.find((one) => one.id === settings?.reference) ?? null;
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

  /** Plays the moment around a time, while paused. */
  audition(time_s: number): void {
    const end_s = Math.min(time_s + AUDITION_S, this.limits.duration_s);
    this.player.audition(Math.max(0, time_s - AUDITION_BEFORE_S), end_s).catch(() => {});
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

  async reload(): Promise<void> {
    const [project, list] = await Promise.all([api.project(this.id), api.cues(this.id)]);
    // Edits that began meanwhile are newer than this answer.
    if (!this.queue.isIdle || list.revision < this.queue.revision) {
      this.hasGap = true;
      return;
    }
    this.queue.reset(list.cues, list.revision);
    this.project.set(project);
    this.sounds.takeOver(project, true);
  }

  close(): void {
    this.stopListening();
    this.player.close();
  }

  private request(
    changes: readonly Change[],
    request: (changes: readonly Change[]) => Promise<Edit>,
    began_ms: number,
    options: { mergeKey?: string; selectsNew?: boolean } = {},
  ): void {
    this.queue.add({
      changes,
      request: async (latest) => {
        this.selectsNew = options.selectsNew ?? false;
        const before = this.queue.revision;
        const edit = await request(latest);
        this.hasGap ||= edit.revision > before + 1;
        this.ownRevision = edit.revision;
        return edit;
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
    const shown = this.project.value.warnings; // above the picture
    for (const warning of edit.warnings ?? []) {
      if (!shown.includes(warning)) messages.warn(warning);
    }
    if (edit.sound_revision !== null) {
      await this.sounds.replace(edit.sound_revision, edit.changed ?? []);
    }
    if (began_ms !== null && edit.changed && edit.changed.length > 0) {
      if (this.playsEdits.value && this.sounds.audible.value === "generated") {
        const first_s = edit.changed[0]!.start_sample / this.status.sample_rate_hz;
        this.audition(edit.cues[0]?.time_s ?? first_s);
      }
      this.editToSound.set({ ms: performance.now() - began_ms });
    }
  }

  private showCues(cues: Cue[]): void {
    this.cues.set(cues);
    this.selection.set(remaining(this.selection.value, cues));
  }

  // Events of the server

  private takeOverProject(project: Project): void {
    if (project.id !== this.id) return;
    const { isIdle } = this.queue;
    if (project.revision < this.project.value.revision) return;
    const { undo, redo } = isIdle ? project : this.project.value;
    this.project.set({ ...project, undo, redo });
    this.sounds.takeOver(project, isIdle);
    if (project.revision !== this.queue.revision) this.catchUp(project.revision);
    void this.loadFrames();
  }

  private takeOverEdit(edit: Edit & { project: string }): void {
    const isEcho = edit.revision === this.ownRevision;
    if (edit.project !== this.id || edit.revision < this.queue.revision || isEcho) return;
    // Several events may have the same revision, for instance one for the sound and one for cues.
    if (this.queue.isIdle && edit.revision <= this.queue.revision + 1) {
      this.queue.apply(edit);
      void this.finishEdit(edit, null).catch(() => {});
    } else this.catchUp(edit.revision);
  }

  /** Reads the state of the server, at once or after the edits on their way. */
  private catchUp(revision: number): void {
    if (!this.queue.isIdle) this.newestRevision = Math.max(this.newestRevision, revision);
    else this.reload().catch((error) => messages.error(error));
  }

  /** After the last edit: was there one of another tab in between? */
  private whenIdle(): void {
    if (!this.hasGap && this.newestRevision <= this.queue.revision) return;
    this.hasGap = false;
    this.reload().catch((error) => messages.error(error));
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

  private applyLoop(): void {
    this.player.loop = this.isLooping.value ? this.loop.value : null;
  }

  /** Loads the times of all frames, as far as the server knows them; again when it knows more. */
  private async loadFrames(): Promise<void> {
    const { duration_s } = this.project.value.video;
    if (this.isLoadingFrames || this.framesUntil_s >= duration_s) return;
    this.isLoadingFrames = true;
    try {
      // Ranges of five minutes have at most 18000 frames at 60 frames per second.
      while (this.framesUntil_s < duration_s) {
        const end_s = Math.min(this.framesUntil_s + 300, duration_s + 1);
        const list = await api.frames(this.id, this.framesUntil_s, end_s);
        const known = this.frames.value;
        const last_s = known[known.length - 1] ?? -1;
        const added = list.times_s.filter((time_s) => time_s > last_s);
        this.frames.set(Float64Array.from([...known, ...added]));
        this.framesUntil_s = end_s;
      }
    } catch {
      // The video is not read so far yet.
    } finally {
      this.isLoadingFrames = false;
    }
  }
}

function suffixOf(name: string, known: readonly string[]): string {
  const lower = name.toLowerCase();
  const matching = known.filter((suffix) => lower.endsWith(suffix));
  const longest = matching.sort((a, b) => b.length - a.length)[0];
  return longest ?? `.${lower.split(".").pop()}`;
}
