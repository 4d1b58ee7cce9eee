// Which cues are selected, and which of them is the active one.

import type { Cue } from "../api/contract";

/** Immutable; `active` is the cue that the keyboard acts from, or null. */
export interface Selection {
  readonly ids: ReadonlySet<string>;
  readonly active: string | null;
}

export const NOTHING_SELECTED: Selection = { ids: new Set(), active: null };

export function only(id: string): Selection {
  return { ids: new Set([id]), active: id };
}

export function allOfCues(cues: readonly Cue[]): Selection {
  return { ids: new Set(cues.map((cue) => cue.id)), active: cues[0]?.id ?? null };
}

export function toggled(selection: Selection, id: string): Selection {
  const ids = new Set(selection.ids);
  if (!ids.delete(id)) ids.add(id);
  return { ids, active: ids.has(id) ? id : ([...ids].pop() ?? null) };
}

/** Everything from the active cue to another one, in the order of time. */
export function extended(selection: Selection, cues: readonly Cue[], id: string): Selection {
  const from = cues.findIndex((cue) => cue.id === selection.active);
  const to = cues.findIndex((cue) => cue.id === id);
  if (from < 0 || to < 0) return only(id);
  const range = cues.slice(Math.min(from, to), Math.max(from, to) + 1);
  const ids = new Set([...selection.ids, ...range.map((cue) => cue.id)]);
  return { ids, active: selection.active };
}

/** The cues that begin within a stretch. */
export function within(cues: readonly Cue[], start_s: number, end_s: number): Selection {
  return allOfCues(cues.filter((cue) => cue.time_s >= start_s && cue.time_s <= end_s));
}

/** The selection without cues that no longer exist. */
export function remaining(selection: Selection, cues: readonly Cue[]): Selection {
  const existing = new Set(cues.map((cue) => cue.id));
  if ([...selection.ids].every((id) => existing.has(id))) return selection;
  const ids = new Set([...selection.ids].filter((id) => existing.has(id)));
  const isActiveKept = selection.active !== null && ids.has(selection.active);
  return { ids, active: isActiveKept ? selection.active : ([...ids][0] ?? null) };
}

export function chosen(selection: Selection, cues: readonly Cue[]): Cue[] {
  return cues.filter((cue) => selection.ids.has(cue.id));
}
