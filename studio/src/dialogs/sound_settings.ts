// Settings of the complete sound, and finding the cues again.

import { api, finished } from "../api/client";
import type { Job } from "../api/contract";
import { button, checkbox, el, field } from "../page/dom";
import { messages } from "../page/messages";
import type { Session } from "../page/session";
import { confirmed, openDialog } from "./dialog";
import { recordingFields } from "./recording";

export function openSoundSettings(session: Session): void {
  const { settings } = session.project.value;
  const render = (changes: object) => {
    dialog.close();
    void run(session, () => api.render(session.id, changes));
  };
  const spot = async (sensitivity: number) => {
    dialog.close();
    const isSure = await confirmed(
      "Find the cues again?",
      "Find the cues again",
      "All present cues are replaced. Undo brings them back.",
    );
    if (isSure) await run(session, () => api.spot(session.id, sensitivity));
  };
  const sensitivity = el("input", {
    type: "range",
    min: 0.05,
    max: 0.95,
    step: 0.05,
    name: "sensitivity",
    "aria-label": "Sensitivity",
  });
  sensitivity.valueAsNumber = settings.sensitivity;
  const dialog = openDialog("Sound settings", [
    el(
      "fieldset",
      {},
      el("legend", {}, "Channels"),
      checkbox(
        "Stereo: each cue at its place in the picture",
        settings.stereo,
        (stereo) => void run(session, () => api.render(session.id, { stereo })),
        { name: "stereo" },
      ),
      el("small", {}, "Nothing is generated again. The panel of a cue shows its pan."),
    ),
    recordingFields(session, render),
    completeSound(session, render),
    el(
      "fieldset",
      {},
      el("legend", {}, "Cues"),
      field("Sensitivity", sensitivity, "To the right, more hits of low confidence are used."),
      button("Find the cues again", () => void spot(sensitivity.valueAsNumber)),
    ),
  ]);
}

/** What takes effect when the sound is generated again. */
function completeSound(session: Session, render: (changes: object) => void): HTMLElement {
  const { settings } = session.project.value;
  const seed = whole("seed", settings.seed, { min: 0 });
  const loudness = whole("loudness", settings.loudness_lufs, { max: 0, min: -70 });
  loudness.placeholder = "levels of the cues";
  const steps = whole("steps", settings.steps, { min: 1, max: 100 });
  const guidance = whole("guidance", settings.guidance, { min: 1, max: 20, step: 0.1 });
  const hasLibrary = session.status.has_library && settings.reference === null;
  let usesLibrary = settings.library;
  let variesLibrary = settings.library_variation;
  const changes = () => ({
    seed: numberIn(seed) ?? 0,
    loudness_lufs: numberIn(loudness),
    steps: numberIn(steps) ?? settings.steps,
    guidance: numberIn(guidance) ?? settings.guidance,
    ...(hasLibrary ? { library: usesLibrary, library_variation: variesLibrary } : {}),
  });
  return el(
    "fieldset",
    {},
    el("legend", {}, "Complete sound"),
    field("Variation (seed)", seed, "Another number gives other sounds for the same cues."),
    field("Loudness, LUFS", loudness, "Empty: the sound is as loud as its cues."),
    hasLibrary
      ? checkbox("Use the recorded sounds of the library", usesLibrary, (on) => {
          usesLibrary = on;
        })
      : null,
    hasLibrary
      ? checkbox("Vary the recorded sounds a little", variesLibrary, (on) => {
          variesLibrary = on;
        })
      : null,
    el(
      "details",
      {},
      el("summary", {}, "More"),
      el(
        "div",
        { class: "fields" },
        field("Steps", steps, "More take longer."),
        field("Guidance", guidance, "Higher values follow cues and video more closely."),
      ),
    ),
    button("Generate the sound again", () => render(changes()), { class: "primary" }),
  );
}

function whole(name: string, value: number | null, limits: object): HTMLInputElement {
  const input = el("input", { type: "number", step: 1, name, ...limits });
  if (value !== null) input.valueAsNumber = value;
  return input;
}

function numberIn(input: HTMLInputElement): number | null {
  return Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null;
}

async function run(session: Session, request: () => Promise<Job>): Promise<void> {
  try {
    await finished(await request());
    await session.reload();
  } catch (error) {
    messages.error(error);
  }
}
