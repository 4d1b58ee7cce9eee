// Everything that the keyboard can do in an open project. The list of keys shows these commands.

import type { Change, Cue } from "../api/contract";
import * as changes from "../edit/changes";
import { isUncertain, nextCue } from "../edit/cues";
import { allOfCues, extended, NOTHING_SELECTED } from "../edit/selection";
import { fitted, scrolled, zoomed } from "../time/axis";
import { stepped } from "../time/frames";
import { messages } from "./messages";
import type { Session } from "./session";

export interface Command {
  readonly group: string;
  /** Keys as the list shows them, such as "Ctrl+Z". */
  readonly keys: readonly string[];
  readonly label: string;
  readonly run: (session: Session, event: KeyboardEvent) => void;
  /** Whether a key that is held down runs it again and again. */
  readonly repeats?: boolean;
  /** Only while the cue lane has the focus, before all other commands. */
  readonly inCueLane?: boolean;
}

/** What commands need of the page around the project. */
export interface PageActions {
  readonly openExport: () => void;
  readonly openKeys: () => void;
}

export function commandsOf(page: PageActions): Command[] {
  return [...playing(), ...cues(), ...editing(), ...viewing(), ...others(page)];
}

/** Runs the command of a key; the answer says whether there is one. */
export function runKey(list: readonly Command[], session: Session, event: KeyboardEvent): boolean {
  const pressed = nameOf(event);
  const isInCueLane = (event.target as HTMLElement).closest('[role="listbox"]') !== null;
  const command =
    (isInCueLane && list.find((one) => one.inCueLane && one.keys.includes(pressed))) ||
    list.find((one) => !one.inCueLane && one.keys.includes(pressed));
  if (!command) return false;
  event.preventDefault();
  if (command.repeats || !event.repeat) command.run(session, event);
  return true;
}

/** The name of a pressed key with its modifiers; Cmd counts as Ctrl. */
export function nameOf(event: KeyboardEvent): string {
  const names: Record<string, string> = {
    " ": "Space",
    ArrowLeft: "←",
    ArrowRight: "→",
    ArrowUp: "↑",
    ArrowDown: "↓",
    Escape: "Esc",
  };
  const isLetter = /^[a-z]$/i.test(event.key);
  const key = names[event.key] ?? (isLetter ? event.key.toUpperCase() : event.key);
  // Shift is part of the key for signs such as "?" and "+".
  const hasShift = event.shiftKey && (isLetter || event.key.length > 1 || event.key === " ");
  return [
    event.ctrlKey || event.metaKey ? "Ctrl+" : "",
    event.altKey ? "Alt+" : "",
    hasShift ? "Shift+" : "",
    key,
  ].join("");
}

function playing(): Command[] {
  const step = (count: number) => (session: Session) => {
    session.player.pause();
    session.seek(stepped(session.frames.value, session.playhead_s.value, count));
  };
  const group = "Play";
  return [
    { group, keys: ["Space"], label: "Play or pause", run: (session) => session.togglePlaying() },
    { group, repeats: true, keys: ["←", ","], label: "One frame back", run: step(-1) },
    { group, repeats: true, keys: ["→", "."], label: "One frame forward", run: step(1) },
    { group, repeats: true, keys: ["Shift+←"], label: "Ten frames back", run: step(-10) },
    { group, repeats: true, keys: ["Shift+→"], label: "Ten frames forward", run: step(10) },
    { group, keys: ["Home"], label: "To the start", run: (session) => session.seek(0) },
    {
      group,
      keys: ["End"],
      label: "To the end",
      run: (session) => session.seek(session.limits.duration_s),
    },
    { group, keys: ["I"], label: "Loop starts here", run: (session) => markLoop(session, "start") },
    { group, keys: ["O"], label: "Loop ends here", run: (session) => markLoop(session, "end") },
    { group, keys: ["L"], label: "Loop on or off", run: toggleLoop },
    { group, keys: ["B"], label: "A/B: compare with the chosen take", run: toggleCompared },
    {
      group,
      keys: ["Enter"],
      label: "Play the moment of the selected cue",
      run: (session) => session.audition(session.chosenCues[0]?.time_s ?? session.playhead_s.value),
    },
    {
      group,
      keys: ["H"],
      label: "Play each edit at once, or not",
      run: (session) => session.playsEdits.set(!session.playsEdits.value),
    },
    { group, keys: ["M"], label: "Original sound on or off", run: toggleOriginal },
  ];
}

function cues(): Command[] {
  const group = "Choose cues";
  const go = (uncertain: boolean, step: 1 | -1) => (session: Session) => {
    const from = { id: session.selection.value.active, time_s: session.playhead_s.value };
    const cue = nextCue(session.cues.value, from, uncertain ? isUncertain : undefined, step);
    if (cue) session.select(cue);
    else messages.note(uncertain ? "No uncertain cues are left." : "There are no cues.");
  };
  const extend = (step: 1 | -1) => (session: Session) => {
    const list = session.cues.value;
    const { ids, active } = session.selection.value;
    const chosen = list.filter((cue) => ids.has(cue.id));
    const edge = step === 1 ? chosen[chosen.length - 1] : chosen[0];
    const next = list[list.findIndex((cue) => cue.id === edge?.id) + step];
    if (next) session.selection.set(extended({ ids, active: active ?? next.id }, list, next.id));
  };
  return [
    { group, repeats: true, keys: ["N"], label: "Next cue", run: go(false, 1) },
    { group, repeats: true, keys: ["P"], label: "Previous cue", run: go(false, -1) },
    { group, repeats: true, keys: ["U"], label: "Next uncertain cue", run: go(true, 1) },
    { group, repeats: true, keys: ["Shift+U"], label: "Previous uncertain cue", run: go(true, -1) },
    {
      group,
      repeats: true,
      keys: ["→"],
      label: "In the cue lane: next cue",
      inCueLane: true,
      run: go(false, 1),
    },
    {
      group,
      repeats: true,
      keys: ["←"],
      label: "In the cue lane: previous cue",
      inCueLane: true,
      run: go(false, -1),
    },
    {
      group,
      keys: ["Shift+→"],
      label: "In the cue lane: also select the next cue",
      inCueLane: true,
      run: extend(1),
    },
    {
      group,
      keys: ["Shift+←"],
      label: "In the cue lane: also select the previous cue",
      inCueLane: true,
      run: extend(-1),
    },
    {
      group,
      keys: ["Ctrl+A"],
      label: "Select all cues",
      run: (session) => session.selection.set(allOfCues(session.cues.value)),
    },
    {
      group,
      keys: ["Esc"],
      label: "Select nothing",
      run: (session) => session.selection.set(NOTHING_SELECTED),
    },
  ];
}

function editing(): Command[] {
  const group = "Change cues";
  const level = (by_db: number) => (session: Session) => raise(session, by_db);
  return [
    {
      group,
      keys: ["A"],
      label: "Add a hit at the playhead (while playing: tap along)",
      run: (session) => {
        const time_s = session.player.position_s;
        const list = changes.added(session.cues.value, time_s, session.limits);
        session.edit(list, "Add a cue", { selectsNew: true });
      },
    },
    {
      group,
      keys: ["Delete", "Backspace"],
      label: "Delete the selected cues",
      run: (session) => editChosen(session, "Delete", changes.removed),
    },
    {
      group,
      keys: ["D"],
      label: "Turn the selected cues on or off",
      run: (session) => {
        const isOn = session.chosenCues.some((cue) => cue.enabled);
        editChosen(session, isOn ? "Turn off" : "Turn on", (chosen) => {
          return changes.withEnabled(chosen, !isOn);
        });
      },
    },
    {
      group,
      keys: ["C"],
      label: "Confirm the selected cues: they are right",
      run: (session) => editChosen(session, "Confirm", changes.confirmed),
    },
    {
      group,
      repeats: true,
      keys: ["Q"],
      label: "One frame earlier",
      run: (session) => nudge(session, -1),
    },
    {
      group,
      repeats: true,
      keys: ["W"],
      label: "One frame later",
      run: (session) => nudge(session, 1),
    },
    { group, repeats: true, keys: ["↑"], label: "1 dB louder", run: level(1) },
    { group, repeats: true, keys: ["↓"], label: "1 dB quieter", run: level(-1) },
    { group, repeats: true, keys: ["Shift+↑"], label: "6 dB louder", run: level(6) },
    { group, repeats: true, keys: ["Shift+↓"], label: "6 dB quieter", run: level(-6) },
    {
      group,
      keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"],
      label: "Material, by its number in the list",
      run: (session, event) => {
        const material = session.status.materials[Number(event.key) - 1];
        if (material) setMaterial(session, material);
      },
    },
    {
      group,
      keys: ["0"],
      label: "The model chooses the material",
      run: (session) => setMaterial(session, null),
    },
    {
      group,
      keys: ["T"],
      label: "Another take of the selected cues",
      run: (session) => editChosen(session, "Another take of", changes.anotherTake),
    },
    {
      group,
      keys: ["R"],
      label: "Another sound of the loop region",
      run: (session) => {
        if (session.loop.value) session.regenerate(session.loop.value);
        else messages.note("Mark a region first: I and O set its ends.");
      },
    },
    { group, repeats: true, keys: ["Ctrl+Z"], label: "Undo", run: (session) => session.undo() },
    {
      group,
      repeats: true,
      keys: ["Ctrl+Shift+Z", "Ctrl+Y"],
      label: "Redo",
      run: (session) => session.redo(),
    },
  ];
}

function viewing(): Command[] {
  const group = "View";
  const zoom = (factor: number) => (session: Session) => {
    const axis = session.axis.value;
    const place = (session.playhead_s.value - axis.start_s) / axis.span_s;
    const isVisible = place >= 0 && place <= 1;
    session.axis.set(zoomed(axis, factor, axis.width_px * (isVisible ? place : 0.5)));
  };
  const page = (direction: 1 | -1) => (session: Session) => {
    session.axis.set(scrolled(session.axis.value, direction * session.axis.value.span_s * 0.9));
  };
  return [
    { group, repeats: true, keys: ["+", "="], label: "Zoom in", run: zoom(2) },
    { group, repeats: true, keys: ["-", "−"], label: "Zoom out", run: zoom(0.5) },
    { group, keys: ["F"], label: "Fit the selection, the loop or everything", run: fit },
    { group, repeats: true, keys: ["PageDown"], label: "Scroll forward", run: page(1) },
    { group, repeats: true, keys: ["PageUp"], label: "Scroll back", run: page(-1) },
    {
      group,
      keys: ["S"],
      label: "Waveform or spectrogram",
      run: (session) => {
        const isWave = session.soundView.value === "waveform";
        session.soundView.set(isWave ? "spectrogram" : "waveform");
      },
    },
  ];
}

function others(page: PageActions): Command[] {
  const group = "More";
  return [
    { group, keys: ["E"], label: "Export", run: page.openExport },
    { group, keys: ["?"], label: "This list", run: page.openKeys },
  ];
}

export function editChosen(
  session: Session,
  verb: string,
  change: (cues: Cue[]) => Change[],
): void {
  const chosen = session.chosenCues;
  if (chosen.length === 0) {
    messages.note("Select a cue first: click it, or press N.");
    return;
  }
  // Repeated keys are joined while the server works, so that the sound follows quickly.
  const isRepeatable = ["Move", "Change the level of", "Pan"].includes(verb);
  const mergeKey = isRepeatable ? `${verb} ${chosen.map((cue) => cue.id)}` : undefined;
  session.edit(change(chosen), changes.actionLabel(verb, chosen.length), { mergeKey });
}

export function setMaterial(session: Session, material: string | null): void {
  editChosen(session, "Change the material of", (chosen) => {
    return changes.withMaterial(chosen, material);
  });
}

/** A/B: switches between the present sound and the take to compare with. */
export function toggleCompared(session: Session): void {
  const { takes } = session.project.value;
  const compared = takes.find((take) => take.id === session.compared.value) ?? takes[0];
  if (!compared) messages.note("Keep or generate a take first; then B switches to it and back.");
  else {
    session.compared.set(compared.id);
    session.sounds.audible.set(
      session.sounds.audible.value === "generated" ? `take:${compared.id}` : "generated",
    );
  }
}

export function toggleLoop(session: Session): void {
  if (!session.loop.value) {
    const { start_s, span_s } = session.axis.value;
    session.loop.set({ start_s, end_s: start_s + span_s });
  }
  session.isLooping.set(!session.isLooping.value);
}

export function fit(session: Session): void {
  const chosen = session.chosenCues;
  const axis = session.axis.value;
  if (chosen.length > 1) {
    const last_s = Math.max(...chosen.map((cue) => cue.end_s ?? cue.time_s));
    session.axis.set(fitted(axis, chosen[0]!.time_s, last_s));
  } else if (session.loop.value && axis.span_s === axis.duration_s) {
    session.axis.set(fitted(axis, session.loop.value.start_s, session.loop.value.end_s));
  } else session.axis.set(fitted(axis, 0, axis.duration_s));
}

function toggleOriginal(session: Session): void {
  const mixer = session.sounds.mixer.value;
  session.sounds.mixer.set({ ...mixer, isOriginalOn: !mixer.isOriginalOn });
}

function raise(session: Session, by_db: number): void {
  editChosen(session, "Change the level of", (chosen) => {
    return changes.louder(chosen, by_db, session.limits);
  });
}

function nudge(session: Session, frames: number): void {
  const first = session.chosenCues[0];
  const target_s = first ? stepped(session.frames.value, session.snap(first.time_s), frames) : 0;
  editChosen(session, "Move", (chosen) => {
    return changes.moved(chosen, target_s - first!.time_s, session.limits);
  });
}

function markLoop(session: Session, end: "start" | "end"): void {
  const here_s = session.playhead_s.value;
  const { duration_s } = session.limits;
  const before = session.loop.value ?? { start_s: 0, end_s: duration_s };
  const loop = end === "start" ? { ...before, start_s: here_s } : { ...before, end_s: here_s };
  if (loop.end_s - loop.start_s < 0.05) {
    // The other end would be before this one: the region then reaches to the end of the clip.
    if (end === "start") loop.end_s = duration_s;
    else loop.start_s = 0;
  }
  if (loop.end_s - loop.start_s < 0.05) return;
  session.loop.set(loop);
  session.isLooping.set(true);
}
