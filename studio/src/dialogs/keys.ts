// The list of all keys.

import type { Command } from "../page/commands";
import { el } from "../page/dom";
import { openDialog } from "./dialog";

const WITH_THE_POINTER = [
  ["Double click", "Adds a hit in the cue lane; its height is its level"],
  ["Drag a cue", "Sideways moves it, up and down changes its level"],
  ["Shift while dragging", "Snaps to frames"],
  ["Esc while dragging", "Cancels"],
  ["Ctrl or Cmd, click", "Adds a cue to the selection"],
  ["Shift, click", "Selects up to a cue"],
  ["Drag in the cue lane", "Selects the cues of a stretch"],
  ["Drag in the loop strip", "Marks the region to loop"],
  ["Wheel", "Scrolls; with Ctrl or Cmd it zooms"],
] as const;

export function openKeys(commands: readonly Command[]): void {
  const groups = [...new Set(commands.map((command) => command.group))];
  const tables = groups.map((group) =>
    keyTable(
      group,
      commands
        .filter((command) => command.group === group)
        .map((command) => [keysText(command.keys), command.label]),
    ),
  );
  openDialog("Keys", [
    el("div", { class: "key-groups" }, ...tables, keyTable("With the pointer", WITH_THE_POINTER)),
  ]);
}

function keysText(keys: readonly string[]): string {
  if (keys.length > 3) return `${keys[0]} – ${keys[keys.length - 1]}`;
  return keys.filter((key) => key !== "=" && key !== "−").join(" or ");
}

function keyTable(
  title: string,
  rows: readonly (readonly [keys: string, label: string])[],
): HTMLElement {
  return el(
    "table",
    {},
    el("caption", {}, title),
    el(
      "tbody",
      {},
      ...rows.map(([keys, label]) =>
        el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, keys)), el("td", {}, label)),
      ),
    ),
  );
}
