// Faders of the generated and the original sound, and the loudness of what is audible.

import { api } from "../api/client";
import type { Loudness } from "../api/contract";
import { button, el, whenQuiet } from "../page/dom";
import type { Session } from "../page/session";
import { type MixerState, QUIETEST_DB } from "../page/session_sounds";
import { allOf } from "../page/signal";
import { SILENCE_LUFS } from "../sound/loudness";

const METER_LOW_LUFS = -60;
const METER_MS = 100;

export function mixer(session: Session): { element: HTMLElement; close: () => void } {
  const generated = fader(session, "Generated", "generated_db", "isGeneratedOn");
  const original = fader(session, "Original", "original_db", "isOriginalOn");
  const library = fader(session, "Library", "library_db", "isLibraryOn");
  if (!session.sounds.original) original.element.classList.add("disabled");
  const momentary = meterBar("Momentary loudness");
  const shortTerm = meterBar("Short-term loudness");
  const peak = el("span", { class: "peak", title: "Highest sample since the start of playing" });
  const measured = el("p", { class: "measured", "aria-live": "off" });
  const element = el(
    "section",
    { class: "panel mixer", "aria-label": "Mixer and loudness" },
    el("h2", {}, "Mixer"),
    el(
      "div",
      { class: "panel-body" },
      generated.element,
      library.element,
      original.element,
      el("div", { class: "meters" }, momentary.element, shortTerm.element, peak),
      measured,
    ),
  );

  const timer = window.setInterval(() => {
    const { meter } = session.player;
    if (!meter || !session.player.isPlaying) return;
    const values = meter.read();
    momentary.show(values.momentary_lufs);
    shortTerm.show(values.shortTerm_lufs);
    peak.textContent = `peak ${values.peak_dbfs.toFixed(1)} dBFS`.replace("-", "−");
    peak.classList.toggle("clipped", values.peak_dbfs >= 0);
  }, METER_MS);
  const measure = whenQuiet(async () => {
    if (!session.sounds.generated.value) return;
    try {
      measured.textContent = loudnessText(
        await api.loudness(session.id, session.sounds.audible.value),
      );
    } catch {
      measured.textContent = "";
    }
  }, 1200);
  const close = allOf(
    () => window.clearInterval(timer),
    session.isPlaying.watch((isPlaying) => {
      if (isPlaying) session.player.meter?.reset();
    }),
    session.sounds.generated.watch(measure),
    session.sounds.audible.watch(measure),
    session.editToSound.watch(measure),
    session.project.watch(measure),
    session.sounds.library.watch((store) => {
      library.element.hidden = store === null;
    }),
    generated.close,
    library.close,
    original.close,
  );
  return { element, close };
}

function fader(
  session: Session,
  label: string,
  level: "generated_db" | "library_db" | "original_db",
  isOn: "isGeneratedOn" | "isLibraryOn" | "isOriginalOn",
): { element: HTMLElement; close: () => void } {
  const change = (fields: Partial<MixerState>) => {
    session.sounds.mixer.set({ ...session.sounds.mixer.value, ...fields });
  };
  const slider = el("input", {
    type: "range",
    min: QUIETEST_DB,
    max: 12,
    step: 1,
    "aria-label": `${label} sound, dB`,
  });
  slider.addEventListener("input", () => change({ [level]: slider.valueAsNumber }));
  slider.addEventListener("dblclick", () => change({ [level]: 0 }));
  const value = el("output", { class: "fader-value" });
  const onOff = button(label, () => change({ [isOn]: !session.sounds.mixer.value[isOn] }), {
    class: "on-off",
    ...(isOn === "isOriginalOn" ? { key: "M" } : {}),
  });
  const close = session.sounds.mixer.watch((state) => {
    slider.valueAsNumber = state[level];
    const level_db = state[level];
    value.textContent = level_db <= QUIETEST_DB ? "−∞ dB" : `${level_db} dB`.replace("-", "−");
    slider.setAttribute("aria-valuetext", value.textContent);
    onOff.setAttribute("aria-pressed", String(state[isOn]));
  });
  return { element: el("div", { class: "fader" }, onOff, slider, value), close };
}

function meterBar(label: string): { element: HTMLElement; show: (lufs: number) => void } {
  const fill = el("div", { class: "meter-fill" });
  const value = el("span", { class: "meter-value" }, "–");
  const bar = el(
    "div",
    {
      class: "meter",
      role: "meter",
      "aria-label": label,
      "aria-valuemin": METER_LOW_LUFS,
      "aria-valuemax": 0,
      "aria-valuenow": METER_LOW_LUFS,
    },
    fill,
  );
  const show = (lufs: number) => {
    const shown = Math.max(METER_LOW_LUFS, Math.min(0, lufs));
    fill.style.width = `${(1 - shown / METER_LOW_LUFS) * 100}%`;
    bar.setAttribute("aria-valuenow", shown.toFixed(1));
    value.textContent =
      lufs <= SILENCE_LUFS ? "silence" : `${lufs.toFixed(1).replace("-", "−")} LUFS`;
  };
  const name = el("span", { class: "meter-name" }, label.startsWith("Momentary") ? "0.4 s" : "3 s");
  return { element: el("div", { class: "meter-row" }, name, bar, value), show };
}

function loudnessText(loudness: Loudness): string {
  if (loudness.integrated_lufs === null) return "The sound is silent.";
  const parts = [`Complete: ${loudness.integrated_lufs.toFixed(1)} LUFS`];
  if (typeof loudness.true_peak_dbtp === "number") {
    parts.push(`true peak ${loudness.true_peak_dbtp.toFixed(1)} dBTP`);
  }
  return parts.join(", ").replaceAll("-", "−");
}
