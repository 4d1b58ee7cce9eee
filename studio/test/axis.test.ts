import assert from "node:assert/strict";
import { test } from "node:test";
import * as axes from "../src/time/axis";

const axis = axes.axisOf(10, 1000);

test("a new axis shows the complete clip, or the first minute of a long one", () => {
  assert.equal(axis.span_s, 10);
  assert.equal(axes.axisOf(3600, 1000).span_s, 60);
});

test("pixels and seconds are converted back and forth", () => {
  const view = { ...axis, start_s: 2, span_s: 4 };
  assert.equal(axes.timeToX(view, 3), 250);
  for (const x of [0, 333, 1000, -20]) {
    assert.ok(Math.abs(axes.timeToX(view, axes.xToTime(view, x)) - x) < 1e-9);
  }
});

test("zooming keeps the time at the pointer", () => {
  const closer = axes.zoomed(axis, 4, 300);
  assert.equal(closer.span_s, 2.5);
  assert.ok(Math.abs(axes.xToTime(closer, 300) - 3) < 1e-9);
});

test("zooming and scrolling stay within the clip", () => {
  const closest = axes.zoomed(axis, 1e9, 0);
  assert.equal(closest.span_s, axes.SHORTEST_SPAN_S);
  assert.deepEqual(axes.zoomed(closest, 1e-9, 500), axis);
  assert.equal(axes.scrolled(axes.zoomed(axis, 2, 0), 100).start_s, 5);
  assert.equal(axes.scrolled(axis, -3).start_s, 0);
});

test("a stretch is fitted with a margin", () => {
  const view = axes.fitted(axis, 4, 6);
  assert.ok(Math.abs(view.start_s - 3.9) < 1e-9 && Math.abs(view.span_s - 2.2) < 1e-9);
});

test("the view follows the playhead by pages", () => {
  const view = axes.zoomed(axis, 5, 0);
  assert.equal(axes.following(view, 1.5), view);
  assert.ok(axes.following(view, 1.99).start_s > 1.8);
  assert.ok(axes.following(axes.scrolled(view, 6), 0.5).start_s <= 0.5);
});

test("ticks are at round times and at a readable distance", () => {
  for (const span_s of [0.1, 0.7, 3, 10, 59, 600, 3600]) {
    const view = { duration_s: 3600, width_px: 1200, start_s: 1, span_s };
    const major = axes.ticksOf(view).filter((tick) => tick.isMajor);
    assert.ok(major.length >= 1 && major.length <= 14, `${span_s}: ${major.length}`);
    assert.equal(new Set(major.map((tick) => tick.label)).size, major.length);
  }
  assert.deepEqual(
    axes
      .ticksOf({ duration_s: 1.2, width_px: 400, start_s: 0, span_s: 1.2 })
      .map((t) => t.label)
      .filter(Boolean),
    ["0:00.0", "0:00.5", "0:01.0"],
  );
});

test("times are written with minutes and, if needed, hours", () => {
  assert.equal(axes.clockText(1.25), "0:01.250");
  assert.equal(axes.clockText(3725.0496, 2), "1:02:05.05");
  assert.equal(axes.clockText(59.9999, 3), "1:00.000");
  assert.equal(axes.clockText(61, 0), "1:01");
});
