// The place of the selected cues between both channels.

import { api } from "../api/client";
import type { Cue } from "../api/contract";
import { panned } from "../edit/changes";
import { panText, same } from "../edit/cues";
import { editChosen } from "../page/commands";
import { button, el, field, number, whenQuiet } from "../page/dom";
import type { Session } from "../page/session";

/** A place is asked for when the selection stays for a moment. */
const QUIET_MS = 120;

export function panControl(session: Session, chosen: Cue[]): HTMLElement {
  const own = same(chosen, (cue) => cue.pan ?? null);
  const set = (pan: number | null) => editChosen(session, "Pan", (cues) => panned(cues, pan));
  const slider = el("input", {
    type: "range",
    name: "pan_slider",
    min: -1,
    max: 1,
    step: 0.05,
    "aria-label": "Pan",
  });
  const shown = number("pan", own ?? null, 0.1, set, {
    min: -1,
    max: 1,
    placeholder: own === undefined ? "mixed" : "picture",
  });
  const text = el("output", { class: "pan-text" });
  const show = (pan: number | null, from = "") => {
    slider.valueAsNumber = pan ?? 0;
    text.textContent = pan === null ? from : `${from}${panText(pan)}`;
    slider.setAttribute("aria-valuetext", text.textContent);
  };
  slider.addEventListener("input", () => show(slider.valueAsNumber));
  slider.addEventListener("change", () => set(slider.valueAsNumber));
  show(
    own ?? null,
    own === undefined ? "different places" : own === null ? "from the picture" : "",
  );
  const [cue] = chosen;
  if (cue && chosen.length === 1 && own === null) {
    whenQuiet(() => {
      if (!slider.isConnected) return;
      api
        .place(session.id, cue.id)
        .then(({ pan }) => {
          if (pan !== null) shown.placeholder = String(pan);
          show(pan, pan === null ? "no clear place: centre" : "picture: ");
        })
        .catch(() => {}); // The project is still being opened.
    }, QUIET_MS)();
  }
  return el(
    "div",
    { class: "pan", role: "group", "aria-label": "Place between left and right" },
    field("Pan", shown),
    el(
      "div",
      { class: "pan-place" },
      slider,
      text,
      button("From the picture", () => set(null), {
        class: "small",
        name: "pan_picture",
        disabled: own === null,
        title: "Give the cue back to the place where something moves in the picture",
      }),
    ),
  );
}
