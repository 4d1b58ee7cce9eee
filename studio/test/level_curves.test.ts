import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cue } from "../src/api/contract";
import type { Limits } from "../src/edit/changes";
import { withChanges } from "../src/edit/cues";
import { curveOf, resampled, withPoint, withPoints } from "../src/edit/level_curves";

const limits: Limits = { duration_s: 10, levels_db: [-60, 12] };
const scrape: Cue = { id: "s", time_s: 4, kind: "scrape", end_s: 6, enabled: true, level_db: -12 };

test("more points lie on the lines between the others", () => {
  assert.deepEqual(resampled([-20, -10, -30], 5), [-20, -15, -10, -20, -30]);
  assert.deepEqual(resampled([-20, -15, -10, -20, -30], 3), [-20, -10, -30]);
  assert.deepEqual(resampled([-20, -10, -30], 2), [-20, -30]);
});

test("a curve begins at the level of the cue, and ends as its highest level", () => {
  const [curved] = withChanges([scrape], withPoints(scrape, 3, limits));
  assert.deepEqual(curveOf(curved!), [-12, -12, -12]);
  assert.equal(curved!.level_db, undefined);
  const [raised] = withChanges([curved!], withPoint(curved!, 1, 30, limits));
  assert.deepEqual(curveOf(raised!), [-12, 12, -12]);
  const [flat] = withChanges([raised!], withPoints(raised!, null, limits));
  assert.equal(curveOf(flat!), null);
  assert.equal(flat!.level_db, 12);
});

test("there are at least two points, and a hit has none", () => {
  const [curved] = withChanges([scrape], withPoints(scrape, 0, limits));
  assert.equal(curveOf(curved!)!.length, 2);
  const hit: Cue = { id: "h", time_s: 1, kind: "hit", enabled: true };
  assert.equal(curveOf(hit), null);
  assert.deepEqual(withPoint(hit, 0, -3, limits), []);
});
