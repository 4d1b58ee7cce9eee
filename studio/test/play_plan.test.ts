import assert from "node:assert/strict";
import { test } from "node:test";
import { PART_S, PlayPlan } from "../src/sound/play_plan";

function planned(plan: PlayPlan, most = 1000) {
  const parts = [];
  for (let part = plan.next(); part && parts.length < most; part = plan.next()) parts.push(part);
  return parts;
}

const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a} ${b}`);

test("parts follow each other without a gap until the end", () => {
  const plan = new PlayPlan(100, 1, 2.1, null);
  const parts = planned(plan);
  assert.ok(plan.isComplete);
  let clock_s = 100;
  for (const part of parts) {
    near(part.clock_s, clock_s);
    near(part.position_s, 1 + clock_s - 100);
    assert.ok(part.duration_s <= PART_S);
    clock_s += part.duration_s;
  }
  near(clock_s, 101.1);
  near(plan.plannedUntil_s, 101.1);
});

test("a loop returns to its start exactly at its end", () => {
  const plan = new PlayPlan(0, 0.5, 10, { start_s: 1, end_s: 1.6 });
  const parts = planned(plan, 40);
  for (const [index, part] of parts.entries()) {
    const next = parts[index + 1];
    if (!next) continue;
    const end_s = part.position_s + part.duration_s;
    near(next.position_s, Math.abs(end_s - 1.6) < 1e-9 ? 1 : end_s);
    near(next.clock_s, part.clock_s + part.duration_s);
  }
  assert.ok(!plan.isComplete);
});

test("a start behind the loop plays to the end", () => {
  const parts = planned(new PlayPlan(0, 3, 4, { start_s: 1, end_s: 2 }));
  near(
    parts.reduce((sum, part) => sum + part.duration_s, 0),
    1,
  );
});

test("the position is that of the part at the clock", () => {
  const plan = new PlayPlan(0, 0, 10, { start_s: 1, end_s: 1.6 });
  planned(plan, 20);
  near(plan.positionAt(-1), 0);
  near(plan.positionAt(0.3), 0.3);
  near(plan.positionAt(1.7), 1.1);
  near(plan.positionAt(2.3), 1.1);
});

test("a position after the planned parts is their end", () => {
  const plan = new PlayPlan(5, 9.9, 10, null);
  planned(plan);
  near(plan.positionAt(60), 10);
});
