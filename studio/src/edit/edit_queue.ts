// Sends edits to the server one after the other, and shows them before the answer arrives.

import type { Change, Cue, Edit } from "../api/contract";
import { withChanges, withEdit } from "./cues";

interface PendingEdit {
  changes: readonly Change[];
  readonly request: (changes: readonly Change[]) => Promise<Edit>;
  /** Waiting edits with the same key are sent as one: the later one replaces the earlier. */
  readonly mergeKey: string | null;
  readonly done: (edit: Edit) => Promise<void>;
  readonly failed: (error: unknown) => void;
}

export class EditQueue {
  private confirmedCues: readonly Cue[] = [];
  private readonly waiting: PendingEdit[] = [];
  private running: PendingEdit | null = null;
  revision = -1;

  /**
   * `show` gets the cues with all edits, answered or not, whenever they change. `whenIdle` is
   * called after the last edit on its way.
   */
  constructor(
    private readonly show: (cues: Cue[]) => void,
    private readonly whenIdle: () => void = () => {},
  ) {}

  get isIdle(): boolean {
    return this.running === null && this.waiting.length === 0;
  }

  /** The cues that the server has. */
  get confirmed(): readonly Cue[] {
    return this.confirmedCues;
  }

  /** Replaces all cues by those of the server. */
  reset(cues: readonly Cue[], revision: number): void {
    this.confirmedCues = cues;
    this.revision = revision;
    this.showAll();
  }

  /** Applies an edit, unless there is a newer one; applying it twice changes nothing. */
  apply(edit: Edit): void {
    if (edit.revision < this.revision) return;
    this.confirmedCues = withEdit(this.confirmedCues, edit);
    this.revision = edit.revision;
    this.showAll();
  }

  add(edit: PendingEdit): void {
    const last = this.waiting[this.waiting.length - 1];
    if (last && edit.mergeKey !== null && last.mergeKey === edit.mergeKey) {
      last.changes = edit.changes;
    } else {
      this.waiting.push(edit);
    }
    this.showAll();
    void this.work();
  }

  private async work(): Promise<void> {
    if (this.running) return;
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      this.running = next;
      try {
        const edit = await next.request(next.changes);
        this.running = null;
        this.apply(edit);
        this.showAll();
        // The sound of an edit is fetched before the next edit, so that it never is an older one.
        this.running = { ...next, changes: [] };
        await next.done(edit);
      } catch (error) {
        next.failed(error);
      }
      this.running = null;
    }
    this.showAll();
    this.whenIdle();
  }

  private showAll(): void {
    const changes = [this.running, ...this.waiting].flatMap((edit) => edit?.changes ?? []);
    this.show(withChanges(this.confirmedCues, changes));
  }
}
