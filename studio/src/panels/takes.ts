// Takes: kept versions of the sound, to compare (A/B) and to use.

import { api, finished } from "../api/client";
import type { Job, Take } from "../api/contract";
import { percent } from "../edit/cues";
import { toggleCompared } from "../page/commands";
import { button, el, oncePerFrame } from "../page/dom";
import { messages } from "../page/messages";
import type { Session } from "../page/session";
import { allOf } from "../page/signal";

const GENERATED_TAKES = 3;

export function takes(session: Session): { element: HTMLElement; close: () => void } {
  const list = el("ul", { class: "takes" });
  const compare = button("A/B", () => toggleCompared(session), { key: "B" });
  const state = el("span", { class: "audible", role: "status" });
  const element = el(
    "section",
    { class: "panel takes-panel", "aria-label": "Takes" },
    el("h2", {}, "Takes"),
    el(
      "div",
      { class: "panel-body" },
      el(
        "div",
        { class: "row" },
        button("Keep", () => start(session, () => api.keepTake(session.id, nextName(session))), {
          title: "Keep the present sound as a take",
        }),
        button(
          `${GENERATED_TAKES} new`,
          () => start(session, () => api.generateTakes(session.id, GENERATED_TAKES)),
          { title: "Generate three takes of the present cues" },
        ),
        compare,
        state,
      ),
      list,
    ),
  );
  const update = oncePerFrame(() => {
    if (list.querySelector("input")) return; // A name is being typed.
    const all = session.project.value.takes;
    const audible = session.sounds.audible.value;
    // A take that was deleted in another tab is no longer audible.
    if (audible !== "generated" && !all.some((take) => `take:${take.id}` === audible)) {
      session.sounds.audible.set("generated");
    }
    const name = all.find((take) => `take:${take.id}` === session.sounds.audible.value)?.name;
    state.textContent = name ? `You hear ${name}` : all.length ? "You hear the present sound" : "";
    compare.disabled = all.length === 0;
    compare.setAttribute("aria-pressed", String(audible !== "generated"));
    list.replaceChildren(
      ...(all.length
        ? all.map((take) => entry(session, take, update))
        : [
            el(
              "li",
              { class: "empty" },
              "Keep the present sound before you change it, or generate new takes. Then compare them here.",
            ),
          ]),
    );
  });
  return {
    element,
    close: allOf(
      session.project.watch(update),
      session.sounds.audible.watch(update),
      session.compared.watch(update),
    ),
  };
}

function entry(session: Session, take: Take, update: () => void): HTMLElement {
  const source = `take:${take.id}` as const;
  const isAudible = session.sounds.audible.value === source;
  const total = take.scores?.total;
  const listen = button(
    take.name,
    () => {
      session.compared.set(take.id);
      session.sounds.audible.set(isAudible ? "generated" : source);
    },
    { class: "take-name", "aria-pressed": isAudible, title: "Listen to this take, or stop it" },
  );
  const rename = () => listen.replaceWith(nameField(session, take, update));
  return el(
    "li",
    { class: session.compared.value === take.id ? "compared" : "" },
    listen,
    el("span", { class: "score", title: scoreText(take) }, total ? percent(total) : ""),
    button(
      "Use",
      () => {
        session.sounds.audible.set("generated");
        session.useTake(take.id);
      },
      { class: "small", "aria-label": `Use ${take.name}`, title: "Make it the present sound" },
    ),
    button("✎", rename, {
      class: "small",
      "aria-label": `Rename ${take.name}`,
      title: "Give the take another name",
    }),
    button("✕", () => remove(session, take), {
      class: "small",
      "aria-label": `Delete ${take.name}`,
    }),
  );
}

/** A field for the name of a take, in the place of the name. */
function nameField(session: Session, take: Take, update: () => void): HTMLInputElement {
  const input = el("input", { class: "take-name", "aria-label": `New name of ${take.name}` });
  input.maxLength = 80;
  input.value = take.name;
  const end = async () => {
    const name = input.value.trim();
    input.remove();
    update();
    if (!name || name === take.name) return;
    try {
      const renamed = await api.renameTake(session.id, take.id, name);
      const { takes } = session.project.value;
      const changed = takes.map((other) => (other.id === take.id ? renamed : other));
      session.project.set({ ...session.project.value, takes: changed });
    } catch (error) {
      messages.error(error);
    }
  };
  input.addEventListener("blur", () => void end(), { once: true });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") input.value = take.name;
  });
  requestAnimationFrame(() => {
    input.focus();
    input.select();
  });
  return input;
}

function scoreText(take: Take): string {
  const scores = Object.entries(take.scores ?? {});
  return scores.map(([name, value]) => `${name} ${percent(value)}`).join(", ");
}

function nextName(session: Session): string {
  return `Take ${session.project.value.takes.length + 1}`;
}

async function start(session: Session, request: () => Promise<Job>): Promise<void> {
  try {
    await finished(await request());
    session.project.set({
      ...session.project.value,
      takes: (await api.project(session.id)).takes,
    });
  } catch (error) {
    messages.error(error);
  }
}

async function remove(session: Session, take: Take): Promise<void> {
  try {
    await api.deleteTake(session.id, take.id);
    const left = session.project.value.takes.filter((other) => other.id !== take.id);
    session.project.set({ ...session.project.value, takes: left });
  } catch (error) {
    messages.error(error);
  }
}
