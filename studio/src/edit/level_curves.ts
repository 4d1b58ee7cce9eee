// Level curves of rolls and scrapes: levels at equal steps from the start to the end of a cue.

import type { Change, Cue } from "../api/contract";
import { clamp } from "../time/axis";
import { type Limits, USUAL_LEVEL_DB, withFieldsOf } from "./changes";
import { levelOf } from "./cues";

export const FEWEST_POINTS = 2;
export const MOST_POINTS = 16;
const FIRST_POINTS = 3;

/** The levels of a cue, or null if it has the same level from its start to its end. */
export function curveOf(cue: Cue): readonly number[] | null {
  const curve = cue.level_curve_db;
  return cue.kind !== "hit" && curve && curve.length > 0 ? curve : null;
}

/** A curve with another number of points, on straight lines between the present ones. */
export function resampled(curve: readonly number[], count: number): number[] {
  return Array.from({ length: count }, (_, index) => {
    const place = (index / (count - 1)) * (curve.length - 1);
    const below = Math.min(Math.floor(place), curve.length - 2);
    const weight = place - below;
    return tenths(curve[below]! * (1 - weight) + curve[below + 1]! * weight);
  });
}

/** Gives a cue a curve with this number of points; null makes its level the same everywhere. */
export function withPoints(cue: Cue, count: number | null, limits: Limits): Change[] {
  const level_db = levelOf(cue) ?? USUAL_LEVEL_DB;
  if (count === null) return withFieldsOf([cue], { level_db, level_curve_db: null });
  const flat = Array.from({ length: FIRST_POINTS }, () => level_db);
  const points = clamp(count, FEWEST_POINTS, MOST_POINTS);
  return withCurve(cue, resampled(curveOf(cue) ?? flat, points), limits);
}

/** Sets one point of the curve of a cue. */
export function withPoint(cue: Cue, index: number, level_db: number, limits: Limits): Change[] {
  const curve = curveOf(cue);
  if (!curve) return [];
  return withCurve(
    cue,
    curve.map((level, other) => (other === index ? level_db : level)),
    limits,
  );
}

function withCurve(cue: Cue, curve: readonly number[], limits: Limits): Change[] {
  const [low, high] = limits.levels_db;
  const levels = curve.map((level) => tenths(clamp(level, low, high)));
  return withFieldsOf([cue], { level_curve_db: levels, level_db: null });
}

function tenths(level_db: number): number {
  return Math.round(level_db * 10) / 10;
}
