// Starts the page: the list of projects at #/, a project at #/projects/ID.

import { ApiError, api } from "./api/client";
import type { Status } from "./api/contract";
import { button, el } from "./page/dom";
import { homePage } from "./page/home";
import { messages, sentence } from "./page/messages";
import { projectPage } from "./page/project_page";

const root = document.getElementById("root")!;
let closePage = () => {};
let status: Status | null = null;

let shown = 0;

/** Shows the page of the present address; a later call stops one that is still loading. */
async function show(): Promise<void> {
  shown += 1;
  const number = shown;
  closePage();
  closePage = () => {};
  root.replaceChildren(el("p", { class: "loading" }, "Loading …"));
  for (const dialog of document.querySelectorAll("dialog")) dialog.remove();
  try {
    status ??= await api.status();
    const [, id] = /^#\/projects\/([\w-]+)$/.exec(window.location.hash) ?? [];
    const page = id ? await projectPage(status, id) : homePage(status);
    if (number !== shown) {
      page.close();
      return;
    }
    closePage = page.close;
    root.replaceChildren(page.element);
  } catch (error) {
    if (number === shown) root.replaceChildren(problemPage(error));
  }
}

function problemPage(error: unknown): HTMLElement {
  const isKnown = error instanceof ApiError;
  if (!isKnown) console.error(error);
  return el(
    "main",
    { class: "home", id: "page" },
    el("h1", {}, "foleyflow studio"),
    el("p", { class: "problem", role: "alert" }, isKnown ? sentence(error.message) : String(error)),
    el("p", {}, isKnown ? sentence(error.hint || "Try it again") : "Reload the page."),
    el(
      "div",
      { class: "row" },
      button("Try again", () => void show(), { class: "primary" }),
      el("a", { href: "#/" }, "All projects"),
    ),
  );
}

document.body.append(messages.element);
// After the pointer used a button, fader or list, the keyboard belongs to the page again: Space
// plays instead of clicking once more. Who uses the keyboard keeps the focus.
let isPointerLast = false;
document.addEventListener(
  "pointerdown",
  () => {
    isPointerLast = true;
  },
  true,
);
document.addEventListener(
  "keydown",
  () => {
    isPointerLast = false;
  },
  true,
);
for (const name of ["click", "change"]) {
  document.addEventListener(name, (event) => {
    const used = (event.target as HTMLElement).closest<HTMLElement>(
      name === "click" ? "button" : "select, input[type=range], input[type=checkbox]",
    );
    if (isPointerLast && used && !used.closest("dialog")) used.blur();
  });
}
window.addEventListener("hashchange", () => void show());
// A page that the browser keeps for "back" must not hold connections; it is shown afresh.
window.addEventListener("pagehide", () => closePage());
window.addEventListener("pageshow", (event) => {
  if (event.persisted) void show();
});
window.addEventListener("unhandledrejection", (event) => messages.error(event.reason));
// A file that misses the drop zone must not replace the page.
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => event.preventDefault());
void show();
