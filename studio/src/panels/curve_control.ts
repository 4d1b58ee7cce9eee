// The level curve of a roll or scrape, point by point.

import type { Cue } from "../api/contract";
import { curveOf, FEWEST_POINTS, MOST_POINTS, withPoint, withPoints } from "../edit/level_curves";
import { button, el, number } from "../page/dom";
import type { Session } from "../page/session";

const LABEL = "Change the level curve of a cue";

export function curveControl(session: Session, cue: Cue): HTMLElement | null {
  if (cue.kind === "hit") return null;
  const curve = curveOf(cue);
  const [low, high] = session.limits.levels_db;
  const setCount = (count: number | null) => {
    session.edit(withPoints(cue, count, session.limits), LABEL);
  };
  if (!curve) {
    return el(
      "div",
      { class: "row" },
      button("Level curve", () => setCount(3), {
        class: "small",
        name: "curve",
        title: "Levels that differ from the start to the end",
      }),
    );
  }
  const points = curve.map((level_db, index) => {
    const set = (value: number | null) => {
      if (value !== null) session.edit(withPoint(cue, index, value, session.limits), LABEL);
    };
    const attributes = {
      min: low,
      max: high,
      "aria-label": `Level ${index + 1} of ${curve.length}, dB`,
    };
    return number(`curve_${index}`, level_db, 1, set, attributes);
  });
  return el(
    "div",
    { class: "curve", role: "group", "aria-label": "Level curve" },
    el("span", { class: "field-name" }, "Level curve, dB"),
    el("div", { class: "curve-points" }, ...points),
    el(
      "div",
      { class: "row" },
      button("More points", () => setCount(curve.length + 1), {
        class: "small",
        name: "more_points",
        disabled: curve.length >= MOST_POINTS,
      }),
      button("Fewer", () => setCount(curve.length - 1), {
        class: "small",
        name: "fewer_points",
        disabled: curve.length <= FEWEST_POINTS,
      }),
      button("One level", () => setCount(null), { class: "small", name: "one_level" }),
    ),
  );
}
