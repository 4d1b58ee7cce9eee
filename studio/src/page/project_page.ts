// The page of an open project: picture, panels and timeline around one session.

import { api } from "../api/client";
import type { Status } from "../api/contract";
import { openExport } from "../dialogs/export_dialog";
import { openKeys } from "../dialogs/keys";
import { openSoundSettings } from "../dialogs/sound_settings";
import { timeline } from "../lanes/timeline";
import { header } from "../panels/header";
import { inspector } from "../panels/inspector";
import { jobList } from "../panels/jobs";
import { mixer } from "../panels/mixer";
import { takes } from "../panels/takes";
import { transport } from "../panels/transport";
import { Picture } from "../picture/picture";
import { commandsOf, runKey } from "./commands";
import { el } from "./dom";
import { sentence } from "./messages";
import { Session } from "./session";
import { allOf } from "./signal";
import { keepView } from "./view_state";

export async function projectPage(
  status: Status,
  id: string,
): Promise<{ element: HTMLElement; close: () => void }> {
  const session = new Session(status, await api.project(id));
  await session.reload();
  const picture = pictureOf(session);

  const commands = commandsOf({
    openExport: () => openExport(session),
    openKeys: () => openKeys(commands),
  });
  const parts = {
    header: header(session, {
      openExport: () => openExport(session),
      openKeys: () => openKeys(commands),
      openSettings: () => openSoundSettings(session),
    }),
    jobs: jobList(session.jobs),
    inspector: inspector(session),
    mixer: mixer(session),
    takes: takes(session),
    transport: transport(session),
    timeline: timeline(session),
  };
  const notice = noticeOf(session);
  const element = el(
    "main",
    { class: "project", id: "page" },
    parts.header.element,
    el("div", { class: "notices" }, parts.jobs.element, notice.element),
    el(
      "div",
      { class: "upper" },
      picture.element,
      parts.inspector.element,
      el("div", { class: "side" }, parts.mixer.element, parts.takes.element),
    ),
    parts.transport.element,
    parts.timeline.element,
  );

  const onKey = (event: KeyboardEvent) => {
    leaveField(event);
    if (isForField(event) || document.querySelector("dialog[open]")) return;
    if (runKey(commands, session, event)) event.stopPropagation();
  };
  document.addEventListener("keydown", onKey);
  const close = allOf(
    () => document.removeEventListener("keydown", onKey),
    keepView(session),
    picture.close,
    notice.close,
    ...Object.values(parts).map((part) => part.close),
    () => session.close(),
  );
  return { element, close };
}

/** Enter and Escape end the typing: the keyboard then belongs to the page again. */
function leaveField(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  const isTyping = target.matches("input:not([type=range], [type=checkbox])");
  if (isTyping && (event.key === "Enter" || event.key === "Escape") && !target.closest("dialog")) {
    target.blur();
    event.preventDefault();
  }
}

/** Keys that a focused field or button needs itself. */
function isForField(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (target.matches("input:not([type=range], [type=checkbox]), textarea")) return true;
  if (target.matches("select, input[type=range]")) {
    return !event.ctrlKey && !event.metaKey && event.key !== "?";
  }
  const isPressing = event.key === " " || event.key === "Enter";
  return isPressing && target.matches("button, a, summary, input[type=checkbox]");
}

function pictureOf(session: Session): { element: HTMLElement; close: () => void } {
  const picture = new Picture(session.id, () => session.frames.value);
  let frame = 0;
  let lastFollowed_ms = 0;
  const tick = (now_ms: number) => {
    frame = requestAnimationFrame(tick);
    session.tick();
    if (session.isPlaying.value && now_ms - lastFollowed_ms > 80) {
      lastFollowed_ms = now_ms;
      picture.follow(session.playhead_s.value);
    }
  };
  frame = requestAnimationFrame(tick);
  const close = allOf(
    () => cancelAnimationFrame(frame),
    session.project.watch((project) => picture.update(project.video)),
    session.isPlaying.watch((isPlaying) => {
      if (isPlaying) picture.play(session.playhead_s.value);
      else picture.pause(session.playhead_s.value);
    }),
    session.playhead_s.watch((time_s) => {
      if (!session.isPlaying.value) picture.show(time_s);
    }),
    session.frames.watch(() => {
      if (!session.isPlaying.value) picture.show(session.playhead_s.value);
    }),
    () => picture.close(),
  );
  return { element: picture.element, close };
}

/** Why the project can't be used, and warnings about its video. */
function noticeOf(session: Session): { element: HTMLElement; close: () => void } {
  const element = el("div", { class: "notice", role: "status", hidden: true });
  let shown = "";
  const close = session.project.watch((project) => {
    const problem = project.state === "failed" ? project.error : null;
    const lines = problem
      ? [problem.error, problem.hint ?? ""].filter(Boolean)
      : [...project.warnings, ...project.video.warnings];
    if (lines.join("\n") === shown) return;
    shown = lines.join("\n");
    element.hidden = lines.length === 0;
    element.classList.toggle("problem", problem !== null);
    element.replaceChildren(...lines.map((line) => el("p", {}, sentence(line))));
  });
  return { element, close };
}
