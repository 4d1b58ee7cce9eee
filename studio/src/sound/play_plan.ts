// Which moment of the clip sounds when: the stretches that a player has scheduled.

export interface LoopRange {
  readonly start_s: number;
  readonly end_s: number;
}

/** A stretch of the clip and the time of the sound clock at which it starts. */
export interface PlannedPart {
  readonly clock_s: number;
  readonly position_s: number;
  readonly duration_s: number;
}

/** Parts of a quarter of a second. */
export const PART_S = 0.25;

export class PlayPlan {
  private readonly parts: PlannedPart[] = [];
  private clock_s: number;
  private position_s: number;

  constructor(
    clock_s: number,
    position_s: number,
    readonly end_s: number,
    readonly loop: LoopRange | null,
  ) {
    this.clock_s = clock_s;
    this.position_s = position_s;
  }

  /** When the planned parts end. */
  get plannedUntil_s(): number {
    return this.clock_s;
  }

  /** Whether the end of the clip is planned. */
  get isComplete(): boolean {
    return this.position_s >= this.end_s - 1e-9;
  }

  /** Plans the next part; null at the end of the clip. */
  next(): PlannedPart | null {
    const { loop } = this;
    if (loop && this.position_s >= loop.end_s - 1e-9 && this.position_s <= loop.end_s + 1e-9) {
      this.position_s = loop.start_s;
    }
    if (this.isComplete) return null;
    // A loop holds once the position is before its end; after it, the clip plays on.
    const isLooped = loop && this.position_s < loop.end_s;
    const limit_s = isLooped ? Math.min(loop.end_s, this.end_s) : this.end_s;
    const duration_s = Math.min(PART_S, limit_s - this.position_s);
    const part = { clock_s: this.clock_s, position_s: this.position_s, duration_s };
    this.parts.push(part);
    this.clock_s += duration_s;
    this.position_s += duration_s;
    return part;
  }

  /** The position in the clip at a time of the clock. */
  positionAt(clock_s: number): number {
    while (this.parts.length > 1 && this.parts[1]!.clock_s <= clock_s) this.parts.shift();
    const part = this.parts[0];
    if (!part) return this.position_s;
    const since_s = Math.max(0, clock_s - part.clock_s);
    return part.position_s + Math.min(since_s, part.duration_s);
  }
}
