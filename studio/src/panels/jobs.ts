// Longer work of the server: its progress, the time left, and a button to cancel it.

import { api } from "../api/client";
import type { Job } from "../api/contract";
import { button, el, oncePerFrame } from "../page/dom";
import { messages } from "../page/messages";
import type { Signal } from "../page/signal";

export function jobList(jobs: Signal<ReadonlyMap<string, Job>>): {
  element: HTMLElement;
  close: () => void;
} {
  const element = el("div", { class: "jobs", role: "status", "aria-label": "Work in progress" });
  const update = oncePerFrame(() => {
    const open = [...jobs.value.values()].filter(isOpen);
    element.replaceChildren(...open.map(entry));
    element.hidden = open.length === 0;
  });
  return { element, close: jobs.watch(update) };
}

export function isOpen(job: Job): boolean {
  return job.state === "waiting" || job.state === "running";
}

function entry(job: Job): HTMLElement {
  const bar = el("progress", { max: 1, "aria-label": job.label });
  if (job.progress !== null && job.state === "running") bar.value = job.progress;
  return el(
    "div",
    { class: "job" },
    el("span", {}, `${job.label}: ${stateText(job)}`),
    bar,
    button("Cancel", () => cancel(job), { class: "small", "aria-label": `Cancel: ${job.label}` }),
  );
}

export function stateText(job: Job): string {
  if (job.state === "waiting") {
    return job.waiting_for > 0 ? `waits for ${job.waiting_for} more` : "starts soon";
  }
  const percent = job.progress === null ? "running" : `${Math.floor(job.progress * 100)} %`;
  return job.seconds_left === null ? percent : `${percent}, ${leftText(job.seconds_left)} left`;
}

export function leftText(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Number((seconds / 3600).toFixed(1))} h`;
}

async function cancel(job: Job): Promise<void> {
  try {
    await api.cancelJob(job.id);
  } catch (error) {
    messages.error(error);
  }
}
