// Changes of cues that the user's actions mean, within the limits that the server checks.

import type { Change, Cue, CueFields, CueKind } from "../api/contract";
import { clamp } from "../time/axis";
import { levelOf } from "./cues";

/** Two hits are at least this far apart. */
export const CLOSEST_HITS_S = 0.001;
/** Where a cue without a level is drawn, and where dragging its level starts. */
export const USUAL_LEVEL_DB = -9;
/** Length of a roll or scrape that was a hit. */
export const FRICTION_S = 0.5;

export interface Limits {
  readonly duration_s: number;
  readonly levels_db: readonly [number, number];
}

/** What the user has looked at and changed is no longer a guess of the model. */
const CHECKED = { confidence: null } as const;

/** How far cues can be moved together so that all of them stay in the clip. */
export function possibleShift(cues: readonly Cue[], by_s: number, limits: Limits): number {
  if (cues.length === 0) return 0;
  const first_s = Math.min(...cues.map((cue) => cue.time_s));
  const last_s = Math.max(...cues.map((cue) => cue.end_s ?? cue.time_s));
  return clamp(by_s, -first_s, Math.max(-first_s, limits.duration_s - last_s));
}

/** Moves cues by the same time. */
export function moved(cues: readonly Cue[], by_s: number, limits: Limits): Change[] {
  const shift_s = possibleShift(cues, by_s, limits);
  if (Math.abs(shift_s) < 1e-9) return [];
  return cues.map((cue) => {
    const set: CueFields = { time_s: rounded(cue.time_s + shift_s), ...CHECKED };
    if (cue.end_s !== undefined) set.end_s = rounded(cue.end_s + shift_s);
    return { id: cue.id, set };
  });
}

/** Makes cues louder or quieter, each within the range of levels. */
export function louder(cues: readonly Cue[], by_db: number, limits: Limits): Change[] {
  const [low, high] = limits.levels_db;
  return cues.map((cue) => {
    if (cue.level_curve_db && cue.level_curve_db.length > 0) {
      const curve = cue.level_curve_db.map((level) => tenths(clamp(level + by_db, low, high)));
      return { id: cue.id, set: { level_curve_db: curve, ...CHECKED } };
    }
    const level_db = tenths(clamp((levelOf(cue) ?? USUAL_LEVEL_DB) + by_db, low, high));
    return { id: cue.id, set: { level_db, ...CHECKED } };
  });
}

export function withMaterial(cues: readonly Cue[], material: string | null): Change[] {
  return cues.map((cue) => ({ id: cue.id, set: { material, ...CHECKED } }));
}

export function withEnabled(cues: readonly Cue[], enabled: boolean): Change[] {
  return cues.map((cue) => ({ id: cue.id, set: { enabled, ...CHECKED } }));
}

/** Marks cues as checked by a person: they sound, and are no longer uncertain. */
export function confirmed(cues: readonly Cue[]): Change[] {
  return withEnabled(cues, true);
}

export function withKind(cues: readonly Cue[], kind: CueKind, limits: Limits): Change[] {
  return cues
    .filter((cue) => cue.kind !== kind)
    .map((cue) => {
      const set: CueFields = { kind, ...CHECKED };
      if (kind === "hit") {
        set.end_s = null;
        set.level_curve_db = null;
        set.level_db = levelOf(cue);
      } else if (cue.end_s === undefined) {
        set.end_s = rounded(Math.min(cue.time_s + FRICTION_S, limits.duration_s));
        if (set.end_s - cue.time_s < 0.05) set.time_s = rounded(Math.max(0, set.end_s - 0.05));
      }
      return { id: cue.id, set };
    });
}

/** Moves one end of a roll or scrape; it keeps at least 20 ms. */
export function withEnd(cue: Cue, end: "start" | "end", time_s: number, limits: Limits): Change[] {
  const last_s = cue.end_s ?? cue.time_s;
  const set: CueFields = { ...CHECKED };
  if (end === "start") set.time_s = rounded(clamp(time_s, 0, last_s - 0.02));
  else set.end_s = rounded(clamp(time_s, cue.time_s + 0.02, limits.duration_s));
  return [{ id: cue.id, set }];
}

/** Pans cues, from -1 (left) to 1 (right); null gives them back to the picture. */
export function panned(cues: readonly Cue[], pan: number | null): Change[] {
  const value = pan === null ? null : Math.round(clamp(pan, -1, 1) * 100) / 100;
  return withFieldsOf(cues, { pan: value });
}

export function withFieldsOf(cues: readonly Cue[], fields: CueFields): Change[] {
  return cues.map((cue) => ({ id: cue.id, set: { ...fields, ...CHECKED } }));
}

export function anotherTake(cues: readonly Cue[]): Change[] {
  return cues.map((cue) => ({ id: cue.id, another_take: true }));
}

export function removed(cues: readonly Cue[]): Change[] {
  return cues.map((cue) => ({ remove: cue.id }));
}

/** Adds a hit; nothing if there is one at this time. */
export function added(
  cues: readonly Cue[],
  time_s: number,
  limits: Limits,
  fields: CueFields = {},
): Change[] {
  const latest_s = Math.max(0, limits.duration_s - CLOSEST_HITS_S);
  const time = rounded(clamp(time_s, 0, latest_s));
  const isTaken = cues.some((cue) => {
    return cue.kind === "hit" && Math.abs(cue.time_s - time) < CLOSEST_HITS_S;
  });
  return isTaken ? [] : [{ add: { kind: "hit", ...fields, time_s: time } }];
}

/** Names an action on one or several cues: "Move a cue", "Move 3 cues". */
export function actionLabel(verb: string, count: number): string {
  return `${verb} ${count === 1 ? "a cue" : `${count} cues`}`;
}

function rounded(time_s: number): number {
  return Math.round(time_s * 1e6) / 1e6;
}

function tenths(level_db: number): number {
  return Math.round(level_db * 10) / 10;
}
