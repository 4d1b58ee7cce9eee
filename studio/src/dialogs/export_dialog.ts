// Export: what to write, its progress, and the files to download.

import { api, finished } from "../api/client";
import type { Export, ExportRequest, Job } from "../api/contract";
import { button, checkbox, el, field, number, select } from "../page/dom";
import { messages } from "../page/messages";
import type { Session } from "../page/session";
import { stateText } from "../panels/jobs";
import { openDialog } from "./dialog";

/** The choices of the dialog, in the words of the API. All but the name stay for the next export. */
interface Choices {
  /** Of the files; empty for that of the project. */
  name: string;
  video: string;
  sound: string;
  mix: "replace" | "mix" | "duck";
  /** Null keeps the levels of both sounds. */
  mix_level_lu: number | null;
  duck_depth_db: number;
  keep_original: boolean;
  stems: "" | "material" | "cue";
  cues: Set<string>;
  reaper: boolean;
  report: boolean;
  sidecar: boolean;
}

const USUAL_DEPTH_DB = 9;

const choices: Choices = {
  name: "",
  video: "same",
  sound: "",
  mix: "replace",
  mix_level_lu: 0,
  duck_depth_db: USUAL_DEPTH_DB,
  keep_original: false,
  stems: "",
  cues: new Set(),
  reaper: false,
  report: false,
  sidecar: false,
};

const SOUND_NAMES: Record<string, string> = {
  wav24: "WAV, 24 bits",
  wav16: "WAV, 16 bits",
  flac: "FLAC, 24 bits",
  bwf: "Broadcast Wave (BWF), 24 bits",
};

const CUE_NAMES: Record<string, string> = {
  ".json": "JSON",
  ".csv": "CSV",
  ".txt": "Audacity labels",
  ".mid": "MIDI",
  ".reaper.csv": "REAPER markers",
  ".edl": "EDL (CMX 3600)",
  ".otio": "OpenTimelineIO",
  ".sheet.csv": "table (CSV)",
  ".html": "table to print",
};

export function openExport(session: Session): void {
  choices.name = "";
  const outcome = el("div", { class: "export-outcome", role: "status" });
  const start = button("Export", () => void run(session, outcome, start), {
    class: "primary",
    id: "start-export",
  });
  openDialog("Export", [form(session), outcome], [start]);
  start.focus();
  api
    .exports(session.id)
    .then((earlier) => outcome.replaceChildren(...earlier.map((one) => fileList(session, one))))
    .catch((error) => messages.error(error));
}

function form(session: Session): HTMLElement {
  const { status } = session;
  const hasOriginal = session.project.value.video.has_audio;
  const mixDetails = el("div", { class: "fields" });
  const showMixDetails = () => {
    mixDetails.hidden = choices.mix === "replace";
    mixDetails.replaceChildren(
      field(
        "Generated above original, LU",
        number(
          "mix_level",
          choices.mix_level_lu,
          1,
          (value) => {
            choices.mix_level_lu = value;
          },
          { min: -40, max: 40, placeholder: "levels of both" },
        ),
        "Empty: the levels of both are kept.",
      ),
      ...(choices.mix === "duck"
        ? [
            field(
              "Lower the original by, dB",
              number(
                "duck_depth",
                choices.duck_depth_db,
                1,
                (value) => {
                  choices.duck_depth_db = value ?? USUAL_DEPTH_DB;
                },
                { min: 0, max: 60, placeholder: String(USUAL_DEPTH_DB) },
              ),
            ),
          ]
        : []),
    );
  };
  showMixDetails();
  return el(
    "div",
    { class: "export-form" },
    el(
      "fieldset",
      {},
      el("legend", {}, "Video and sound"),
      field("Name of the files", nameField(session)),
      field(
        "Video",
        select(
          [
            ["same", "as the original"],
            ...status.video_formats.map((name) => [name, name.slice(1).toUpperCase()] as const),
            ["none", "no video"],
          ],
          choices.video,
          (value) => {
            choices.video = value;
          },
          { name: "video" },
        ),
      ),
      field(
        "Sound file",
        select(
          [
            ["", "none"],
            ...status.sound_formats.map((name) => [name, SOUND_NAMES[name] ?? name] as const),
          ],
          choices.sound,
          (value) => {
            choices.sound = value;
          },
          { name: "sound" },
        ),
      ),
      field(
        "Original sound",
        select(
          hasOriginal
            ? [
                ["replace", "left out"],
                ["mix", "mixed with the generated sound"],
                ["duck", "mixed, and lowered at each cue"],
              ]
            : [["replace", "the video has none"]],
          choices.mix,
          (value) => {
            choices.mix = value as Choices["mix"];
            showMixDetails();
          },
          { name: "mix" },
        ),
      ),
      mixDetails,
      hasOriginal
        ? checkbox("Keep the original as a second audio track", choices.keep_original, (on) => {
            choices.keep_original = on;
          })
        : null,
    ),
    el(
      "fieldset",
      {},
      el("legend", {}, "For other programs"),
      field(
        "Stems",
        select(
          [
            ["", "none"],
            ["material", "one file for each material"],
            ["cue", "one file for each cue"],
          ],
          choices.stems,
          (value) => {
            choices.stems = value as Choices["stems"];
          },
          { name: "stems" },
        ),
      ),
      checkbox("REAPER project", choices.reaper, (on) => {
        choices.reaper = on;
      }),
      checkbox("Picture of video, cues and sound (report)", choices.report, (on) => {
        choices.report = on;
      }),
      checkbox("All settings, to make the sound again (sidecar)", choices.sidecar, (on) => {
        choices.sidecar = on;
      }),
      el(
        "div",
        { class: "cue-formats", role: "group", "aria-label": "Cue sheets" },
        el("span", { class: "field-name" }, "Cue sheets"),
        ...status.cue_formats.map(({ suffix }) =>
          checkbox(CUE_NAMES[suffix] ?? suffix, choices.cues.has(suffix), (on) => {
            if (on) choices.cues.add(suffix);
            else choices.cues.delete(suffix);
          }),
        ),
      ),
    ),
  );
}

function requestOf(): ExportRequest {
  return {
    ...(choices.name ? { name: choices.name } : {}),
    video: choices.video === "same" ? true : choices.video === "none" ? false : choices.video,
    sound: choices.sound || null,
    mix: choices.mix,
    ...(choices.mix === "replace" ? {} : { mix_level_lu: choices.mix_level_lu }),
    ...(choices.mix === "duck" ? { duck_depth_db: choices.duck_depth_db } : {}),
    keep_original: choices.keep_original,
    stems: choices.stems || null,
    cues: [...choices.cues],
    project: choices.reaper ? "reaper" : null,
    report: choices.report,
    sidecar: choices.sidecar,
  };
}

async function run(session: Session, outcome: HTMLElement, start: HTMLButtonElement) {
  start.disabled = true;
  const text = el("span", {}, "Starting …");
  const bar = el("progress", { max: 1, "aria-label": "Progress of the export" });
  let job: Job | null = null;
  const cancel = button("Cancel", () => job && api.cancelJob(job.id).catch(() => {}), {
    class: "small",
  });
  const progress = el("div", { class: "job" }, text, bar, cancel);
  outcome.prepend(progress);
  const stop = session.jobs.watch((jobs) => {
    const current = job && jobs.get(job.id);
    if (!current) return;
    text.textContent = stateText(current);
    if (current.progress !== null) bar.value = current.progress;
  });
  try {
    job = await api.startExport(session.id, requestOf());
    const done = (await finished(job)).result as Export;
    outcome.prepend(fileList(session, done));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    outcome.prepend(el("p", { class: "problem", role: "alert" }, message, " ", hintOf(error)));
  } finally {
    stop();
    progress.remove();
    start.disabled = false;
  }
}

function hintOf(error: unknown): string {
  return (error as { hint?: string }).hint ?? "";
}

function fileList(session: Session, done: Export): HTMLElement {
  const loudness = done.loudness?.integrated_lufs;
  const item = el(
    "section",
    { class: "export-files", "aria-label": `Export ${done.name}` },
    el(
      "h3",
      {},
      new Date(done.created_at).toLocaleString(),
      typeof loudness === "number" ? ` · ${loudness.toFixed(1).replace("-", "−")} LUFS` : "",
    ),
    el(
      "ul",
      {},
      ...done.files.map((file) =>
        el(
          "li",
          {},
          el("a", { href: file.url, download: file.name.split("/").pop() }, file.name),
          el("small", {}, ` ${sizeText(file.bytes)}`),
        ),
      ),
    ),
    ...done.warnings.map((warning) => el("p", { class: "problem" }, warning)),
    el(
      "div",
      { class: "row" },
      done.files.length > 1
        ? el(
            "a",
            { href: `/api/v1/projects/${session.id}/exports/${done.id}/zip`, download: true },
            "All files in one archive",
          )
        : null,
      button(
        "Delete",
        () => {
          api
            .deleteExport(session.id, done.id)
            .then(() => item.remove())
            .catch((error) => messages.error(error));
        },
        { class: "small" },
      ),
    ),
  );
  return item;
}

export function sizeText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function nameField(session: Session): HTMLInputElement {
  const input = el("input", { name: "export_name", maxlength: 80 });
  input.placeholder = session.project.value.name;
  input.value = choices.name;
  input.addEventListener("change", () => {
    choices.name = input.value.trim();
  });
  return input;
}
