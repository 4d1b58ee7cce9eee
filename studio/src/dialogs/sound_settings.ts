// Settings of the complete sound, and finding the cues again.

import { api, finished } from "../api/client";
import type { Job } from "../api/contract";
import { button, checkbox, el, field } from "../page/dom";
import { messages } from "../page/messages";
import type { Session } from "../page/session";
import { confirmed, openDialog } from "./dialog";

export function openSoundSettings(session: Session): void {
  const { settings } = session.project.value;
  const seed = el("input", { type: "number", step: 1, min: 0, name: "seed" });
  seed.valueAsNumber = settings.seed;
  const loudness = el("input", { type: "number", step: 1, max: 0, min: -70, name: "loudness" });
  loudness.placeholder = "levels of the cues";
  if (settings.loudness_lufs !== null) loudness.valueAsNumber = settings.loudness_lufs;
  let usesLibrary = settings.library;
  const sensitivity = el("input", {
    type: "range",
    min: 0.05,
    max: 0.95,
    step: 0.05,
    name: "sensitivity",
    "aria-label": "Sensitivity",
  });
  sensitivity.valueAsNumber = settings.sensitivity;

  const render = () => {
    dialog.close();
    void run(session, () =>
      api.render(session.id, {
        seed: Number.isFinite(seed.valueAsNumber) ? seed.valueAsNumber : 0,
        loudness_lufs: Number.isFinite(loudness.valueAsNumber) ? loudness.valueAsNumber : null,
        ...(session.status.has_library ? { library: usesLibrary } : {}),
      }),
    );
  };
  const spot = async () => {
    const value = sensitivity.valueAsNumber;
    dialog.close();
    const isSure = await confirmed(
      "Find the cues again?",
      "Find the cues again",
      "All present cues are replaced. Undo brings them back.",
    );
    if (isSure) await run(session, () => api.spot(session.id, value));
  };
  const dialog = openDialog("Sound settings", [
    el(
      "fieldset",
      {},
      el("legend", {}, "Complete sound"),
      field("Variation (seed)", seed, "Another number gives other sounds for the same cues."),
      field("Loudness, LUFS", loudness, "Empty: the sound is as loud as its cues."),
      session.status.has_library
        ? checkbox("Use the recorded sounds of the library", usesLibrary, (on) => {
            usesLibrary = on;
          })
        : null,
      button("Generate the sound again", render, { class: "primary" }),
    ),
    el(
      "fieldset",
      {},
      el("legend", {}, "Cues"),
      field("Sensitivity", sensitivity, "To the right, more hits of low confidence are used."),
      button("Find the cues again", () => void spot()),
    ),
  ]);
}

async function run(session: Session, request: () => Promise<Job>): Promise<void> {
  try {
    await finished(await request());
    await session.reload();
  } catch (error) {
    messages.error(error);
  }
}
