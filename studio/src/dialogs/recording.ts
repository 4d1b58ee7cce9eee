// The recording whose timbre all cues follow: choose one, say what was recorded, remove it.

import { ApiError, api } from "../api/client";
import { button, el, field, select } from "../page/dom";
import { messages } from "../page/messages";
import type { Session } from "../page/session";

const SOUNDS = "audio/*,.wav,.wave,.flac,.aif,.aiff,.aifc,.mp3,.ogg,.oga,.opus,.m4a";

/** `render` generates the complete sound with other settings, and closes the dialog. */
export function recordingFields(session: Session, render: (changes: object) => void): HTMLElement {
  const { settings, references } = session.project.value;
  const { materials } = session.status;
  // All cues follow the recording, so the sounds of the library have no place.
  const withoutLibrary = settings.library ? { library: false } : {};
  const use = (reference: string | null) => {
    render(
      reference === null
        ? { reference, reference_material: null }
        : { reference, ...withoutLibrary },
    );
  };
  const input = el("input", {
    type: "file",
    accept: SOUNDS,
    class: "file-input",
    tabindex: "-1",
    "aria-label": "Recording to follow",
  });
  const choose = button("Choose a sound file", () => input.click(), { name: "choose_recording" });
  const add = async (file: File | undefined) => {
    input.value = "";
    if (!file) return;
    choose.disabled = true;
    try {
      use((await api.addReference(session.id, file)).id);
    } catch (error) {
      choose.closest("dialog")?.close(); // The message is behind it.
      messages.error(error instanceof ApiError ? error.about(file.name) : error);
    }
  };
  input.addEventListener("change", () => void add(input.files?.[0]));
  return el(
    "fieldset",
    {},
    el("legend", {}, "Timbre of a recording"),
    el(
      "small",
      {},
      "All cues sound like the first hit of a sound file, instead of their materials.",
    ),
    references.length > 0
      ? field(
          "Recording",
          select(
            [["", "none"], ...references.map(({ id, name }) => [id, name] as const)],
            settings.reference ?? "",
            (id) => use(id || null),
            { name: "reference" },
          ),
        )
      : null,
    settings.reference === null
      ? null
      : field(
          "It was recorded on",
          select(
            [["", "unknown"], ...materials.map((name) => [name, name] as const)],
            settings.reference_material ?? "",
            (name) => render({ reference_material: name || null }),
            { name: "reference_material" },
          ),
          "The material of all cues then; the sound follows it more often.",
        ),
    el(
      "div",
      { class: "row" },
      choose,
      input,
      settings.reference === null
        ? null
        : button("Remove the recording", () => use(null), { name: "remove_recording" }),
    ),
  );
}
