// The panel of the selected cues: all their fields, and what can be done with them.

import type { Cue, CueFields, CueKind } from "../api/contract";
import * as changes from "../edit/changes";
import { isUncertain, levelOf, nextCue, percent, same } from "../edit/cues";
import { editChosen, setMaterial } from "../page/commands";
import { button, checkbox, el, field, number, oncePerFrame, select } from "../page/dom";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";
import { curveControl } from "./curve_control";
import { panControl } from "./pan_control";

export function inspector(session: Session): { element: HTMLElement; close: () => void } {
  const body = el("div", { class: "panel-body" });
  const title = el("h2", {}, "Cue");
  const element = el(
    "section",
    { class: "panel inspector", "aria-label": "Selected cues" },
    title,
    body,
  );
  let shown = "";
  const update = oncePerFrame(() => {
    const chosen = session.chosenCues;
    const { settings } = session.project.value;
    const sound = [settings?.stereo, settings?.reference];
    const key = JSON.stringify([chosen, chosen.length ? sound : session.cues.value.length]);
    if (key === shown) return;
    shown = key;
    const focused = (document.activeElement as HTMLElement | null)?.closest("[name]");
    const name = element.contains(focused ?? null) ? focused?.getAttribute("name") : null;
    const isOpen = body.querySelector("details")?.open ?? false;
    title.textContent = chosen.length > 1 ? `${chosen.length} cues` : "Cue";
    const parts = chosen.length ? form(session, chosen) : nothing(session);
    body.replaceChildren(...parts.filter((part) => part !== null));
    const details = body.querySelector("details");
    if (details) details.open = isOpen;
    // The form is new; the keyboard goes on in the same field.
    if (name) body.querySelector<HTMLElement>(`[name="${name}"]`)?.focus();
  });
  return {
    element,
    close: allOf(
      session.selection.watch(update),
      session.cues.watch(update),
      session.project.watch(update),
    ),
  };
}

function nothing(session: Session): HTMLElement[] {
  const uncertain = session.cues.value.filter(isUncertain);
  const next = () => {
    const cue = nextCue(session.cues.value, { id: null, time_s: -1 }, isUncertain);
    if (cue) session.select(cue);
  };
  return [
    el(
      "p",
      { class: "empty" },
      "Select a cue to change it. Double click the cue lane to add one, or play and press A at each hit.",
    ),
    uncertain.length > 0
      ? button(
          uncertain.length === 1
            ? "Look at the uncertain cue"
            : `Look at ${uncertain.length} uncertain cues`,
          next,
          { key: "U" },
        )
      : el("p", { class: "empty" }, "No cue is uncertain."),
  ];
}

function form(session: Session, chosen: Cue[]): (HTMLElement | null)[] {
  const first = chosen[0]!;
  const isOne = chosen.length === 1;
  const materials = session.status.materials.map((name, index) => {
    return [name, index < 9 ? `${index + 1}  ${name}` : name] as const;
  });
  const material = same(chosen, (cue) => cue.material ?? "") ?? "mixed";
  const level_db = same(chosen, levelOf);
  const kind = same(chosen, (cue) => cue.kind) ?? "mixed";
  const kinds = session.status.kinds.map((name) => {
    return [name, name[0]!.toUpperCase() + name.slice(1)] as const;
  });
  return [
    el(
      "div",
      { class: "fields" },
      isOne
        ? field(
            "Time, s",
            number("time_s", first.time_s, 0.001, (value) => moveTo(session, first, value)),
          )
        : null,
      isOne && first.end_s !== undefined
        ? field(
            "End, s",
            number("end_s", first.end_s, 0.001, (value) => {
              if (value === null) return;
              const list = changes.withEnd(first, "end", value, session.limits);
              session.edit(list, "Change the length of a cue");
            }),
          )
        : null,
      field(
        "Kind",
        select(
          withMixed(kinds, kind),
          kind,
          (value) => {
            editChosen(session, "Change the kind of", (cues) => {
              return changes.withKind(cues, value as CueKind, session.limits);
            });
          },
          { name: "kind" },
        ),
      ),
      field(
        "Material",
        select(
          withMixed([["", "0  auto"], ...materials], material),
          material,
          (value) => setMaterial(session, value || null),
          { name: "material" },
        ),
        session.reference ? `The sound is that of ${session.reference.name}.` : undefined,
      ),
      field(
        "Level, dB",
        number("level_db", level_db ?? null, 1, (value) => setLevel(session, value), {
          min: session.limits.levels_db[0],
          max: session.limits.levels_db[1],
          placeholder: level_db === undefined ? "mixed" : "auto",
        }),
      ),
    ),
    isOne ? curveControl(session, first) : null,
    session.project.value.settings?.stereo ? panControl(session, chosen) : null,
    el(
      "div",
      { class: "row" },
      checkbox(
        "Sounds",
        chosen.every((cue) => cue.enabled),
        (enabled) => {
          editChosen(session, enabled ? "Turn on" : "Turn off", (cues) => {
            return changes.withEnabled(cues, enabled);
          });
        },
        { name: "enabled" },
      ),
      el("span", { class: "confidence" }, confidenceText(chosen)),
    ),
    el(
      "div",
      { class: "row" },
      button("Another take", () => editChosen(session, "Another take of", changes.anotherTake), {
        key: "T",
        name: "another",
      }),
      button("Confirm", () => editChosen(session, "Confirm", changes.confirmed), {
        key: "C",
        name: "confirm",
        title: "The cue is right: it sounds and is no longer uncertain",
      }),
      button("Delete", () => editChosen(session, "Delete", changes.removed), {
        key: "Delete",
        name: "delete",
      }),
    ),
    details(session, chosen),
  ];
}

/** Fields that most users leave to the model. */
function details(session: Session, chosen: Cue[]): HTMLElement {
  const set = (fields: CueFields, verb: string) => {
    editChosen(session, verb, (cues) => changes.withFieldsOf(cues, fields));
  };
  const striker = same(chosen, (cue) => cue.striker ?? "") ?? "mixed";
  const strikers = [
    ["", "auto"] as const,
    ...session.status.materials.map((name) => [name, name] as const),
  ];
  return el(
    "details",
    {},
    el("summary", {}, "More"),
    el(
      "div",
      { class: "fields" },
      field(
        "Struck by",
        select(
          withMixed(strikers, striker),
          striker,
          (value) => {
            set({ striker: value || null }, "Change the striker of");
          },
          { name: "striker" },
        ),
      ),
      field(
        "Pitch, Hz",
        number(
          "pitch_hz",
          same(chosen, (cue) => cue.pitch_hz ?? null) ?? null,
          1,
          (value) => set({ pitch_hz: value }, "Change the pitch of"),
          { min: 20, max: 20_000, placeholder: "auto" },
        ),
      ),
      field(
        "Decay, s",
        number(
          "decay_s",
          same(chosen, (cue) => cue.decay_s ?? null) ?? null,
          0.05,
          (value) => set({ decay_s: value }, "Change the decay of"),
          { min: 0.005, max: 20, placeholder: "auto" },
        ),
      ),
    ),
  );
}

function moveTo(session: Session, cue: Cue, time_s: number | null): void {
  if (time_s === null) return;
  session.edit(changes.moved([cue], time_s - cue.time_s, session.limits), "Move a cue");
}

function setLevel(session: Session, level_db: number | null): void {
  editChosen(session, "Change the level of", (cues) =>
    level_db === null
      ? changes.withFieldsOf(cues, { level_db: null, level_curve_db: null })
      : cues.flatMap((cue) => {
          const before_db = levelOf(cue) ?? changes.USUAL_LEVEL_DB;
          return changes.louder([cue], level_db - before_db, session.limits);
        }),
  );
}

function confidenceText(chosen: Cue[]): string {
  const [first] = chosen;
  if (chosen.length > 1 || !first) return "";
  if (first.confidence === undefined) return "Set or checked by you";
  return `Confidence ${percent(first.confidence)}`;
}

function withMixed(
  options: readonly (readonly [string, string])[],
  value: string,
): readonly (readonly [string, string])[] {
  return value === "mixed" ? [["mixed", "mixed"], ...options] : options;
}
