// The bar at the top of an open project: name, undo and redo, cue files, export.

import { api } from "../api/client";
import { button, el, oncePerFrame } from "../page/dom";
import { messages } from "../page/messages";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";

export interface HeaderActions {
  readonly openExport: () => void;
  readonly openKeys: () => void;
  readonly openSettings: () => void;
}

export function header(
  session: Session,
  actions: HeaderActions,
): { element: HTMLElement; close: () => void } {
  const name = el("input", { class: "project-name", "aria-label": "Name of the project" });
  name.maxLength = 80;
  name.addEventListener("change", () => rename(session, name));
  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter") name.blur();
  });
  const undo = button("Undo", () => session.undo(), { key: "Ctrl+Z" });
  const redo = button("Redo", () => session.redo(), { key: "Ctrl+Shift+Z" });
  const cueFile = cueFileInput(session);
  const connection = el("span", { class: "offline", role: "status" });
  const element = el(
    "header",
    { class: "bar" },
    el("a", { href: "#/", class: "home-link", title: "All projects" }, "◂ Projects"),
    name,
    connection,
    el("span", { class: "space" }),
    undo,
    redo,
    cueFile,
    button("Import cues", () => cueFile.click(), { title: "Replace all cues by those of a file" }),
    button("Sound settings", actions.openSettings),
    button("Keys", actions.openKeys, { key: "?" }),
    button("Export", actions.openExport, { class: "primary", key: "E", id: "export-button" }),
  );
  const update = oncePerFrame(() => {
    const project = session.project.value;
    if (document.activeElement !== name) name.value = project.name;
    document.title = `${project.name} – foleyflow studio`;
    undo.disabled = project.undo === null;
    redo.disabled = project.redo === null;
    undo.title = project.undo ? `Undo: ${project.undo} (Ctrl+Z)` : "Nothing to undo";
    redo.title = project.redo ? `Redo: ${project.redo} (Ctrl+Shift+Z)` : "Nothing to redo";
    connection.textContent = session.isConnected.value
      ? ""
      : "The server does not answer. Is foleyflow serve still running?";
  });
  return {
    element,
    close: allOf(session.project.watch(update), session.isConnected.watch(update)),
  };
}

async function rename(session: Session, input: HTMLInputElement): Promise<void> {
  const name = input.value.trim();
  if (!name) {
    input.value = session.project.value.name;
    return;
  }
  try {
    session.project.set(await api.changeProject(session.id, { name }));
  } catch (error) {
    messages.error(error);
  }
}

function cueFileInput(session: Session): HTMLInputElement {
  const suffixes = session.status.cue_formats
    .filter((format) => format.can_import)
    .map((format) => format.suffix);
  const input = el("input", {
    type: "file",
    accept: suffixes.join(","),
    class: "file-input",
    tabindex: "-1",
    "aria-label": "Cue sheet to import",
  });
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file) session.importCues(file);
    input.value = "";
  });
  return input;
}
