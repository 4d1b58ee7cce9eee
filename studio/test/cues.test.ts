import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cue } from "../src/api/contract";
import * as changes from "../src/edit/changes";
import {
  byTime,
  certaintyOf,
  described,
  isUncertain,
  nextCue,
  withChanges,
  withEdit,
} from "../src/edit/cues";
import { chosen, extended, only, remaining, toggled, within } from "../src/edit/selection";

const limits: changes.Limits = { duration_s: 10, levels_db: [-60, 12] };
const hit = (id: string, time_s: number, fields: Partial<Cue> = {}): Cue => {
  return { id, time_s, kind: "hit", enabled: true, ...fields };
};
const scrape: Cue = { id: "s", time_s: 4, kind: "scrape", end_s: 6, enabled: true };
const sheet = [hit("a", 1), hit("b", 2, { confidence: 0.5 }), scrape, hit("d", 8)];

test("moving keeps the distances and stays within the clip", () => {
  const after = withChanges(sheet, changes.moved(sheet, 5, limits));
  assert.deepEqual(
    after.map((cue) => cue.time_s),
    [3, 4, 6, 10],
  );
  assert.equal(after[2]!.end_s, 8);
  const back = withChanges(after, changes.moved(after, -2, limits));
  assert.deepEqual(
    back.map((cue) => [cue.time_s, cue.end_s]),
    sheet.map((cue) => [cue.time_s, cue.end_s]),
  );
  assert.deepEqual(changes.moved(sheet, 0, limits), []);
});

test("what a person changed is no longer uncertain", () => {
  assert.ok(isUncertain(sheet[1]!));
  for (const change of [
    changes.moved([sheet[1]!], 0.1, limits),
    changes.louder([sheet[1]!], 1, limits),
    changes.withMaterial([sheet[1]!], "glass"),
    changes.confirmed([sheet[1]!]),
  ]) {
    const after = withChanges(sheet, change).find((cue) => cue.id === "b")!;
    assert.equal(certaintyOf(after), "own");
  }
});

test("levels change from the usual one if there is none, and stop at the limits", () => {
  const level = (cue: Cue, by_db: number) => {
    return withChanges([cue], changes.louder([cue], by_db, limits))[0]!;
  };
  assert.equal(level(hit("a", 1), 3).level_db, changes.USUAL_LEVEL_DB + 3);
  assert.equal(level(hit("a", 1, { level_db: 10 }), 6).level_db, 12);
  const curve = level({ ...scrape, level_curve_db: [-20, -58] }, -6).level_curve_db;
  assert.deepEqual(curve, [-26, -60]);
});

test("a hit becomes a scrape with an end, and a hit again", () => {
  const toScrape = changes.withKind([hit("a", 9.9)], "scrape", limits);
  const [friction] = withChanges([hit("a", 9.9)], toScrape);
  assert.ok(friction!.end_s! <= 10 && friction!.end_s! - friction!.time_s >= 0.05);
  const [again] = withChanges([friction!], changes.withKind([friction!], "hit", limits));
  assert.equal(again!.end_s, undefined);
});

test("ends of a scrape keep their order", () => {
  const [later] = withChanges([scrape], changes.withEnd(scrape, "start", 7, limits));
  assert.ok(later!.time_s < 6);
  const [longer] = withChanges([scrape], changes.withEnd(scrape, "end", 99, limits));
  assert.equal(longer!.end_s, 10);
});

test("a hit is added only where there is none", () => {
  assert.deepEqual(changes.added(sheet, 1.0004, limits), []);
  const after = withChanges(sheet, changes.added(sheet, 1.5, limits, { material: "wood" }));
  assert.deepEqual(
    after.map((cue) => cue.time_s),
    [1, 1.5, 2, 4, 8],
  );
  assert.equal(after[1]!.material, "wood");
});

test("an answer of the server changes, adds and removes cues", () => {
  const edit = { revision: 2, sound_revision: 2, undo: null, redo: null };
  const after = withEdit(sheet, { ...edit, cues: [hit("x", 0.5), hit("a", 3)], removed: ["d"] });
  assert.deepEqual(
    after.map((cue) => cue.id),
    ["x", "b", "a", "s"],
  );
});

test("the next cue is found from a cue or from a time, around the end", () => {
  const id = (cue: Cue | null) => cue?.id ?? null;
  assert.equal(id(nextCue(sheet, { id: "a", time_s: 0 })), "b");
  assert.equal(id(nextCue(sheet, { id: null, time_s: 3 })), "s");
  assert.equal(id(nextCue(sheet, { id: "d", time_s: 0 })), "a");
  assert.equal(id(nextCue(sheet, { id: "a", time_s: 0 }, undefined, -1)), "d");
  assert.equal(id(nextCue(sheet, { id: "d", time_s: 0 }, isUncertain)), "b");
  assert.equal(nextCue([], { id: null, time_s: 0 }), null);
});

test("cues are described in words", () => {
  const cue = hit("a", 61.25, { material: "glass", level_db: -3, confidence: 0.914 });
  assert.equal(described(cue), "Hit at 1:01.250, glass, −3.0 dB, confidence 91 %");
  const off = { ...scrape, enabled: false };
  assert.equal(
    described(off),
    "Scrape at 0:04.000 to 0:06.000, material by the model, level by the model, off",
  );
});

test("selections are toggled, extended and cleaned", () => {
  const start = only("a");
  assert.deepEqual([...toggled(start, "b").ids], ["a", "b"]);
  assert.deepEqual(toggled(start, "a"), { ids: new Set(), active: null });
  assert.deepEqual([...extended(start, sheet, "s").ids], ["a", "b", "s"]);
  assert.deepEqual([...within(sheet, 1.5, 4).ids], ["b", "s"]);
  const left = remaining(extended(start, sheet, "d"), [sheet[1]!]);
  assert.deepEqual([[...left.ids], left.active], [["b"], "b"]);
  assert.deepEqual(chosen(start, sheet), [sheet[0]]);
});

test("cues of the same time have a fixed order", () => {
  const cues = [hit("b", 1), hit("a", 1), hit("c", 0)];
  assert.deepEqual(
    byTime(cues).map((cue) => cue.id),
    ["c", "a", "b"],
  );
});
