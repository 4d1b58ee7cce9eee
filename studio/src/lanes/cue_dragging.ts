// What the pointer does in the cue lane: select, move, change levels and ends, add.

import type { Change, Cue } from "../api/contract";
import { actionLabel, added, louder, moved, possibleShift, withEnd } from "../edit/changes";
import { decibels, levelOf, withFields } from "../edit/cues";
import { withPoint } from "../edit/level_curves";
import { extended, NOTHING_SELECTED, only, toggled, within } from "../edit/selection";
import type { Session } from "../page/session";
import { clockText, xToTime } from "../time/axis";
import type { CueLane } from "./cue_lane";
import { drag, placeIn } from "./dragging";

interface Drag {
  readonly changes: readonly Change[];
  readonly verb: string;
  readonly note: string;
}

export class CueDragging {
  constructor(
    private readonly session: Session,
    private readonly lane: CueLane,
  ) {
    lane.element.addEventListener("pointerdown", (event) => this.press(event));
    lane.element.addEventListener("dblclick", (event) => this.add(event));
  }

  private press(event: PointerEvent): void {
    if (event.button !== 0) return;
    const cue = this.cueAt(event);
    const grip = (event.target as HTMLElement).closest(".grip");
    const point = (event.target as HTMLElement).closest<HTMLElement>(".curve-point");
    if (cue && point) this.dragPoint(event, cue, Number(point.dataset.index));
    else if (cue && grip)
      this.dragEnd(event, cue, grip.classList.contains("start") ? "start" : "end");
    else if (cue) this.dragCues(event, cue);
    else this.dragBand(event);
  }

  private cueAt(event: MouseEvent): Cue | undefined {
    const id = (event.target as HTMLElement).closest<HTMLElement>(".cue")?.dataset.id;
    return this.session.cues.value.find((cue) => cue.id === id);
  }

  /** Sideways moves the selected cues in time, up and down changes their levels. */
  private dragCues(start: PointerEvent, cue: Cue): void {
    const { session, lane } = this;
    const before = session.selection.value;
    if (!before.ids.has(cue.id)) {
      if (!start.ctrlKey && !start.metaKey && !start.shiftKey) session.selection.set(only(cue.id));
    }
    let direction: "time" | "level" | null = null;
    const cues = () => {
      return session.selection.value.ids.has(cue.id) ? session.chosenCues : [cue];
    };
    const dragged = (event: PointerEvent, dx: number, dy: number): Drag => {
      direction ??= Math.abs(dx) >= Math.abs(dy) ? "time" : "level";
      return direction === "time"
        ? this.moveBy(cue, cues(), dx, event.shiftKey)
        : this.raiseBy(cue, cues(), dy);
    };
    drag(start, {
      move: (event, dx, dy) => {
        const { changes, note } = dragged(event, dx, dy);
        const { x, y } = placeIn(lane.element, event);
        lane.showPreview(changes, note, x, y);
      },
      drop: (event, dx, dy) => {
        const began_ms = event.timeStamp;
        const { changes, verb } = dragged(event, dx, dy);
        lane.showPreview([]);
        session.edit(changes, actionLabel(verb, cues().length), { began_ms });
      },
      cancel: () => {
        lane.showPreview([]);
        session.selection.set(before);
      },
      click: (event) => this.clickCue(event, cue),
    });
  }

  private moveBy(cue: Cue, cues: Cue[], dx: number, snaps: boolean): Drag {
    const { session } = this;
    const axis = session.axis.value;
    let target_s = cue.time_s + (dx / axis.width_px) * axis.span_s;
    if (snaps) target_s = session.snap(target_s);
    const by_s = possibleShift(cues, target_s - cue.time_s, session.limits);
    const sign = by_s < 0 ? "−" : "+";
    return {
      changes: moved(cues, by_s, session.limits),
      verb: "Move",
      note: `${clockText(cue.time_s + by_s)}  (${sign}${Math.round(Math.abs(by_s) * 1000)} ms)`,
    };
  }

  private raiseBy(cue: Cue, cues: Cue[], dy: number): Drag {
    const { limits } = this.session;
    const [low, high] = limits.levels_db;
    const by_db = (-dy / this.lane.element.clientHeight) * (high - low);
    const changes = louder(cues, by_db, limits);
    const own = changes.find((change) => "set" in change && change.id === cue.id);
    const level_db = own && "set" in own ? levelOf(withFields(cue, own.set)) : null;
    return {
      changes,
      verb: "Change the level of",
      note: level_db === null ? "" : decibels(level_db),
    };
  }

  private dragEnd(start: PointerEvent, cue: Cue, end: "start" | "end"): void {
    const { session, lane } = this;
    session.selection.set(only(cue.id));
    const changesFor = (event: PointerEvent) => {
      const time_s = xToTime(session.axis.value, placeIn(lane.element, event).x);
      return withEnd(cue, end, event.shiftKey ? session.snap(time_s) : time_s, session.limits);
    };
    drag(start, {
      move: (event) => {
        const { x, y } = placeIn(lane.element, event);
        lane.showPreview(changesFor(event), clockText(xToTime(session.axis.value, x)), x, y);
      },
      drop: (event) => {
        const began_ms = event.timeStamp;
        lane.showPreview([]);
        session.edit(changesFor(event), "Change the length of a cue", { began_ms });
      },
      cancel: () => lane.showPreview([]),
    });
  }

  /** Up and down changes one point of a level curve. */
  private dragPoint(start: PointerEvent, cue: Cue, index: number): void {
    const { session, lane } = this;
    const before_db = cue.level_curve_db![index]!;
    const [low, high] = session.limits.levels_db;
    const changesFor = (dy: number) => {
      const by_db = (-dy / lane.element.clientHeight) * (high - low);
      return withPoint(cue, index, before_db + by_db, session.limits);
    };
    drag(start, {
      move: (event, _, dy) => {
        const changes = changesFor(dy);
        const [change] = changes;
        const level_db = change && "set" in change ? change.set.level_curve_db![index]! : 0;
        const { x, y } = placeIn(lane.element, event);
        lane.showPreview(changes, decibels(level_db), x, y);
      },
      drop: (event, _, dy) => {
        lane.showPreview([]);
        session.edit(changesFor(dy), "Change the level curve of a cue", {
          began_ms: event.timeStamp,
        });
      },
      cancel: () => lane.showPreview([]),
    });
  }

  /** Dragging over the empty lane selects the cues in a stretch; a click selects nothing. */
  private dragBand(start: PointerEvent): void {
    const { session, lane } = this;
    const { x: first } = placeIn(lane.element, start);
    const before = session.selection.value;
    const isAdding = start.ctrlKey || start.metaKey || start.shiftKey;
    const choose = (event: PointerEvent) => {
      const { x } = placeIn(lane.element, event);
      const [left, right] = [Math.min(first, x), Math.max(first, x)];
      lane.showBand({ left, width: right - left });
      const axis = session.axis.value;
      const range = within(session.cues.value, xToTime(axis, left), xToTime(axis, right));
      const ids = isAdding ? new Set([...before.ids, ...range.ids]) : range.ids;
      session.selection.set({ ids, active: range.active ?? before.active });
    };
    drag(start, {
      move: choose,
      drop: (event) => {
        choose(event);
        lane.showBand(null);
      },
      cancel: () => {
        lane.showBand(null);
        session.selection.set(before);
      },
      click: () => {
        if (!isAdding) session.selection.set(NOTHING_SELECTED);
        if (!session.isPlaying.value) session.seek(xToTime(session.axis.value, first));
      },
    });
  }

  private clickCue(event: PointerEvent, cue: Cue): void {
    const { session } = this;
    const before = session.selection.value;
    if (event.ctrlKey || event.metaKey) session.selection.set(toggled(before, cue.id));
    else if (event.shiftKey) session.selection.set(extended(before, session.cues.value, cue.id));
    else session.select(cue);
  }

  /** Adds a hit where the pointer is, as loud as it is high. */
  private add(event: MouseEvent): void {
    if (this.cueAt(event)) return;
    const { session, lane } = this;
    const { x, y } = placeIn(lane.element, event);
    const time_s = xToTime(session.axis.value, x);
    const level_db = Math.round(lane.levelAt(y));
    const changes = added(
      session.cues.value,
      event.shiftKey ? session.snap(time_s) : time_s,
      session.limits,
      { level_db },
    );
    session.edit(changes, "Add a cue", { selectsNew: true });
  }
}
