// Export: what to write, its progress, and the files to download.

import { api, finished } from "../api/client";
import type { Export, ExportRequest, Job } from "../api/contract";
import { button, checkbox, el, field, select } from "../page/dom";
import { messages } from "../page/messages";
import type { Session } from "../page/session";
import { stateText } from "../panels/jobs";
import { openDialog } from "./dialog";

/** The choices of the dialog, in the words of the API. They stay for the next export. */
interface Choices {
  video: string;
  sound: string;
  mix: "replace" | "mix" | "duck";
  mix_level_lu: number;
  duck_depth_db: number;
  keep_original: boolean;
  stems: "" | "material" | "cue";
  cues: Set<string>;
  reaper: boolean;
  report: boolean;
}

const choices: Choices = {
  video: "same",
  sound: "",
  mix: "replace",
  mix_level_lu: 0,
  duck_depth_db: 9,
  keep_original: false,
  stems: "",
  cues: new Set(),
  reaper: false,
  report: false,
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
        numberField(choices.mix_level_lu, (value) => {
          choices.mix_level_lu = value;
        }),
      ),
      ...(choices.mix === "duck"
        ? [
            field(
              "Lower the original by, dB",
              numberField(choices.duck_depth_db, (value) => {
                choices.duck_depth_db = value;
              }),
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
      field(
        "Video",
        select(
          [
            ["same", "as the original"],
            [".mp4", "MP4"],
            [".mov", "MOV"],
            [".mkv", "MKV"],
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

function numberField(value: number, onchange: (value: number) => void): HTMLInputElement {
  const input = el("input", { type: "number", step: 1 });
  input.valueAsNumber = value;
  input.addEventListener("change", () => {
    if (Number.isFinite(input.valueAsNumber)) onchange(input.valueAsNumber);
  });
  return input;
}
