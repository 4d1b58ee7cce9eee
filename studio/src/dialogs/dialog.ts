// A modal dialog with a title; Escape and a click outside close it.

import { button, el } from "../page/dom";

export function openDialog(
  title: string,
  content: (HTMLElement | string)[],
  actions: HTMLElement[] = [],
  onClose: () => void = () => {},
): HTMLDialogElement {
  const dialog = el("dialog", { "aria-label": title });
  const body = el("div", { class: "dialog-body" }, ...content);
  dialog.append(
    el("h2", {}, title),
    body,
    el(
      "div",
      { class: "dialog-actions" },
      ...actions,
      button("Close", () => dialog.close(), { autofocus: true }),
    ),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function confirmed(question: string, action: string, details: string): Promise<boolean> {
  return new Promise((resolve) => {
    let answer = false;
    const yes = button(
      action,
      () => {
        answer = true;
        dialog.close();
      },
      { class: "danger" },
    );
    const dialog = openDialog(question, [el("p", {}, details)], [yes], () => resolve(answer));
  });
}
