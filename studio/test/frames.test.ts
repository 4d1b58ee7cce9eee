import assert from "node:assert/strict";
import { test } from "node:test";
import { frameAt, insideFrame, snapped, stepped } from "../src/time/frames";

const times = Float64Array.of(0, 0.04, 0.08, 0.2, 0.24);

test("the frame at a time is the last one that has begun", () => {
  const expected = [
    [-1, 0],
    [0, 0],
    [0.0399, 0],
    [0.04, 1],
    [0.0399999, 1],
    [0.19, 2],
    [9, 4],
  ];
  for (const [time_s, frame] of expected) assert.equal(frameAt(times, time_s!), frame);
});

test("a time snaps to the nearest frame", () => {
  assert.equal(snapped(times, 0.055), 0.04);
  assert.equal(snapped(times, 0.13), 0.08);
  assert.equal(snapped(times, 0.15), 0.2);
  assert.equal(snapped(times, 5), 0.24);
  assert.equal(snapped(new Float64Array(0), 0.123), 0.123);
});

test("stepping forth and back returns to the frame, and stops at the ends", () => {
  for (const time_s of times.slice(1, -1)) {
    assert.equal(stepped(times, stepped(times, time_s, 1), -1), time_s);
  }
  assert.equal(stepped(times, 0, -1), 0);
  assert.equal(stepped(times, 0.24, 3), 0.24);
});

test("the time to seek to lies within its frame", () => {
  for (const time_s of times) {
    assert.equal(frameAt(times, insideFrame(times, time_s)), frameAt(times, time_s));
    assert.ok(insideFrame(times, time_s) > time_s);
  }
});
