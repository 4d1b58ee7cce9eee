// The first page: open a video, and the list of projects.

import { ApiError, api, upload } from "../api/client";
import type { Job, Project, Status } from "../api/contract";
import { listen } from "../api/events";
import { confirmed } from "../dialogs/dialog";
import { sizeText } from "../dialogs/export_dialog";
import { isOpen, leftText, stateText } from "../panels/jobs";
import { clockText } from "../time/axis";
import { button, el } from "./dom";
import { messages } from "./messages";

export function homePage(status: Status): { element: HTMLElement; close: () => void } {
  const projects = new Map<string, Project>();
  const jobs = new Map<string, Job>();
  const list = el("ul", { class: "projects" });
  const show = () => {
    const sorted = [...projects.values()].sort((a, b) => (a.changed_at < b.changed_at ? 1 : -1));
    list.replaceChildren(
      ...(sorted.length
        ? sorted.map((project) => card(project, jobOf(jobs, project), () => remove(project)))
        : [el("li", { class: "empty" }, "No projects yet. Open a video above.")]),
    );
  };
  const remove = async (project: Project) => {
    const isSure = await confirmed(
      `Delete “${project.name}”?`,
      "Delete",
      "Its cues, takes and exports are deleted. This can't be undone.",
    );
    if (!isSure) return;
    try {
      await api.deleteProject(project.id);
      projects.delete(project.id);
      show();
    } catch (error) {
      messages.error(error);
    }
  };
  const stop = listen({
    project: (project) => {
      projects.set(project.id, project);
      show();
    },
    job: (job) => {
      jobs.set(job.id, job);
      show();
    },
    deleted: (event) => {
      projects.delete(event.project);
      show();
    },
  });
  api
    .projects()
    .then((all) => {
      for (const project of all) projects.set(project.id, project);
      show();
    })
    .catch((error) => messages.error(error));

  document.title = "foleyflow studio";
  const element = el(
    "main",
    { class: "home", id: "page" },
    el(
      "header",
      { class: "home-title" },
      el("h1", {}, "foleyflow studio"),
      el("p", {}, "Sound for silent videos. Everything stays on this computer."),
    ),
    dropZone(status),
    examples(status),
    serverVideos(),
    el("h2", {}, "Projects"),
    list,
  );
  return { element, close: stop };
}

export function openProject(project: Project): void {
  window.location.hash = `#/projects/${project.id}`;
}

function dropZone(status: Status): HTMLElement {
  const input = el("input", { type: "file", accept: "video/*,.mkv,.mxf,.ts", class: "file-input" });
  input.setAttribute("aria-label", "Choose a video");
  const progress = el("div", { class: "upload", hidden: true, role: "status" });
  const choose = button("Choose a video", () => input.click(), { class: "primary" });
  const zone = el(
    "section",
    { class: "drop-zone", "aria-label": "Open a video" },
    el("p", {}, "Drop a video here"),
    choose,
    input,
    el(
      "small",
      {},
      `Up to ${sizeText(status.limits.upload_bytes)} and ${leftText(status.limits.duration_s)}.`,
    ),
    progress,
  );
  const send = async (file: File | undefined) => {
    if (!file) return;
    const stopping = new AbortController();
    const text = el("span", {}, `Reading ${file.name} …`);
    const bar = el("progress", { max: 1, value: 0, "aria-label": `Reading ${file.name}` });
    progress.hidden = false;
    progress.replaceChildren(
      text,
      bar,
      button("Cancel", () => stopping.abort(), { class: "small" }),
    );
    choose.disabled = true;
    try {
      const project = await upload(
        file,
        (fraction) => {
          bar.value = fraction;
          if (fraction >= 1) text.textContent = `Checking ${file.name} …`;
        },
        stopping.signal,
      );
      openProject(project);
    } catch (error) {
      const isKnown = error instanceof ApiError;
      messages.error(isKnown ? error.about(file.name) : error);
    } finally {
      progress.hidden = true;
      choose.disabled = false;
      input.value = "";
    }
  };
  input.addEventListener("change", () => void send(input.files?.[0]));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    void send(event.dataTransfer?.files[0]);
  });
  return zone;
}

function examples(status: Status): HTMLElement {
  return el(
    "p",
    { class: "examples" },
    "Or try an example: ",
    ...status.examples.map((name) =>
      button(name, () => void create({ example: name }), { class: "example" }),
    ),
  );
}

/** Videos of the folder that the server was started with, if there are any. */
function serverVideos(): HTMLElement {
  const section = el("section", { class: "server-videos", hidden: true });
  api
    .videos()
    .then((videos) => {
      if (videos.length === 0) return;
      section.hidden = false;
      section.append(
        el("h2", {}, "Videos of this server"),
        el(
          "ul",
          {},
          ...videos.map((video) =>
            el(
              "li",
              {},
              button(video.name, () => void create({ video: video.name })),
              el("small", {}, ` ${sizeText(video.bytes)}`),
            ),
          ),
        ),
      );
    })
    .catch(() => {});
  return section;
}

async function create(from: { example: string } | { video: string }): Promise<void> {
  try {
    openProject(await api.createProject(from));
  } catch (error) {
    messages.error(error);
  }
}

function jobOf(jobs: Map<string, Job>, project: Project): Job | undefined {
  return [...jobs.values()].find((job) => job.project === project.id && isOpen(job));
}

function card(project: Project, job: Job | undefined, remove: () => void): HTMLElement {
  const { video } = project;
  const states = {
    analysing: job ? `${job.label}: ${stateText(job)}` : "being analysed",
    ready: `${project.cue_count} ${project.cue_count === 1 ? "cue" : "cues"}`,
    failed: `failed: ${project.error?.error ?? "unknown reason"}`,
  };
  const middle_s = Math.min(1, video.duration_s / 2);
  const picture = el("img", {
    alt: "",
    loading: "lazy",
    src:
      `/api/v1/projects/${project.id}/thumbnails` +
      `?start_s=${middle_s}&end_s=${Math.min(middle_s + 0.5, video.duration_s)}&count=1&height=144`,
  });
  picture.addEventListener("error", () => picture.remove());
  return el(
    "li",
    { class: "card" },
    el(
      "a",
      { href: `#/projects/${project.id}` },
      el("span", { class: "card-picture" }, picture),
      el("strong", {}, project.name),
      el("small", {}, `${clockText(video.duration_s, 1)} · ${states[project.state]}`),
      el("small", {}, new Date(project.changed_at).toLocaleString()),
    ),
    button("Delete", remove, { class: "small", "aria-label": `Delete ${project.name}` }),
  );
}
