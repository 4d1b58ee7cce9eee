// Messages over the page: errors stay until they are closed, others go by.

import { ApiError } from "../api/client";
import { button, el } from "./dom";

const SHOWN_MS = 5000;

class Messages {
  // Screen readers read both regions when something is added to them.
  private readonly notes = el("div", { role: "status", "aria-live": "polite" });
  private readonly errors = el("div", { role: "alert", "aria-live": "assertive" });
  readonly element = el("div", { class: "messages" }, this.notes, this.errors);

  note(text: string): void {
    const message = el("div", { class: "message" }, text);
    this.notes.replaceChildren(message);
    window.setTimeout(() => message.remove(), SHOWN_MS);
  }

  warn(text: string): void {
    this.add("warning", text, "");
  }

  error(error: unknown): void {
    if (error instanceof ApiError) this.add("error", error.message, error.hint);
    else {
      console.error(error);
      const reason = error instanceof Error ? error.message : String(error);
      this.add("error", `Something went wrong in this page: ${reason}`, "Reload the page.");
    }
  }

  private add(kind: string, text: string, hint: string): void {
    const shown = [...this.errors.children].map((child) => child.textContent ?? "");
    if (shown.some((other) => other.startsWith(sentence(text)))) return;
    const message = el(
      "div",
      { class: `message ${kind}` },
      el("span", {}, sentence(text)),
      hint ? el("span", { class: "hint" }, sentence(hint)) : null,
      button("Close", () => message.remove(), { class: "small" }),
    );
    this.errors.append(message);
    if (kind === "warning") window.setTimeout(() => message.remove(), 2 * SHOWN_MS);
    while (this.errors.children.length > 3) this.errors.firstElementChild!.remove();
  }
}

/** With a capital letter and a full stop; names of fields stay as they are. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const first = /^[a-z]+[ ,:]/.test(trimmed) ? trimmed[0]!.toUpperCase() : (trimmed[0] ?? "");
  const end = /[.!?]$/.test(trimmed) ? "" : ".";
  return first + trimmed.slice(1) + end;
}

export const messages = new Messages();
