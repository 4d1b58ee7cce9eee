// Lists of cues: what changes do to them, which one comes next, how they are described.

import type { Change, Cue, CueFields, Edit } from "../api/contract";
import { clockText } from "../time/axis";

/** From this confidence on, a cue is rarely wrong; below the other one it is rarely right. */
export const CERTAIN = 0.65;
export const IMPROBABLE = 0.35;

export type Certainty = "own" | "certain" | "uncertain" | "improbable";

/** The class of a cue by its confidence; the user's own cues have none. */
export function certaintyOf(cue: Cue): Certainty {
  if (cue.confidence === undefined) return "own";
  if (cue.confidence >= CERTAIN) return "certain";
  return cue.confidence >= IMPROBABLE ? "uncertain" : "improbable";
}

/** Whether a person should look at the cue: the model could not decide. */
export function isUncertain(cue: Cue): boolean {
  return certaintyOf(cue) === "uncertain";
}

export function byTime(cues: Iterable<Cue>): Cue[] {
  return [...cues].sort((a, b) => a.time_s - b.time_s || (a.id < b.id ? -1 : 1));
}

/** The cues after changes that the server has not answered yet; new cues get temporary ids. */
export function withChanges(cues: readonly Cue[], changes: readonly Change[]): Cue[] {
  if (changes.length === 0) return [...cues];
  const byId = new Map(cues.map((cue) => [cue.id, cue]));
  changes.forEach((change, index) => {
    if ("remove" in change) {
      byId.delete(change.remove);
    } else if ("add" in change) {
      const id = `new-${index}`;
      byId.set(id, withFields({ id, time_s: 0, kind: "hit", enabled: true }, change.add));
    } else if ("set" in change) {
      const cue = byId.get(change.id);
      if (cue) byId.set(change.id, withFields(cue, change.set));
    }
  });
  return byTime(byId.values());
}

/** The cues after an answer of the server. */
export function withEdit(cues: readonly Cue[], edit: Edit): Cue[] {
  const byId = new Map(cues.map((cue) => [cue.id, cue]));
  for (const id of edit.removed) byId.delete(id);
  for (const cue of edit.cues) byId.set(cue.id, cue);
  return byTime(byId.values());
}

export function withFields(cue: Cue, fields: CueFields): Cue {
  const changed: Record<string, unknown> = { ...cue };
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) delete changed[name];
    else changed[name] = value;
  }
  if (changed.enabled === undefined) changed.enabled = true;
  return changed as unknown as Cue;
}

/**
 * The next cue in time that fulfils a condition, from after a cue or a time on; at the end it
 * starts from the beginning. With `step` -1 the one before.
 */
export function nextCue(
  cues: readonly Cue[],
  from: { readonly id: string | null; readonly time_s: number },
  condition: (cue: Cue) => boolean = () => true,
  step: 1 | -1 = 1,
): Cue | null {
  const matching = cues.filter((cue) => condition(cue) && cue.id !== from.id);
  if (matching.length === 0) return null;
  const start = cues.findIndex((cue) => cue.id === from.id);
  const later = new Set(cues.slice(start + 1));
  const isAfter = (cue: Cue) => (start < 0 ? cue.time_s > from.time_s + 1e-6 : later.has(cue));
  const isBefore = (cue: Cue) => (start < 0 ? cue.time_s < from.time_s - 1e-6 : !later.has(cue));
  if (step === 1) return matching.find(isAfter) ?? matching[0]!;
  return matching.findLast(isBefore) ?? matching[matching.length - 1]!;
}

/** A cue in words, for screen readers and titles. */
export function described(cue: Cue): string {
  const kind = cue.kind[0]!.toUpperCase() + cue.kind.slice(1);
  const end = cue.end_s === undefined ? "" : ` to ${clockText(cue.end_s)}`;
  const parts = [`${kind} at ${clockText(cue.time_s)}${end}`];
  parts.push(cue.material ?? "material by the model");
  const level_db = levelOf(cue);
  parts.push(level_db === null ? "level by the model" : decibels(level_db));
  if (cue.confidence !== undefined) parts.push(`confidence ${percent(cue.confidence)}`);
  if (!cue.enabled) parts.push("off");
  return parts.join(", ");
}

/** The level of a cue, the highest one of a curve, or null if the model chooses it. */
export function levelOf(cue: Cue): number | null {
  if (cue.level_curve_db && cue.level_curve_db.length > 0) return Math.max(...cue.level_curve_db);
  return cue.level_db ?? null;
}

export function decibels(level_db: number): string {
  return `${level_db < 0 ? "−" : ""}${Math.abs(level_db).toFixed(1)} dB`;
}

/** A place between the channels in words, such as "30 % left". */
export function panText(pan: number): string {
  if (Math.abs(pan) < 0.005) return "centre";
  return `${percent(Math.abs(pan))} ${pan < 0 ? "left" : "right"}`;
}

export function percent(fraction: number): string {
  return `${Math.round(fraction * 100)} %`;
}

/** The common value of all cues, or undefined if they differ. */
export function same<T>(cues: readonly Cue[], value: (cue: Cue) => T): T | undefined {
  const first = value(cues[0]!);
  return cues.every((cue) => value(cue) === first) ? first : undefined;
}
