// The stream of server-sent events of one project, or of all.

import { apiUrl } from "./client";
import type { Edit, Job, Project } from "./contract";

export interface EventHandlers {
  readonly job?: (job: Job) => void;
  readonly project?: (project: Project) => void;
  readonly edit?: (edit: Edit & { project: string }) => void;
  readonly deleted?: (event: { project: string }) => void;
  /** Whether the server can be reached. */
  readonly connection?: (isOpen: boolean) => void;
}

/**
 * Listens until the returned function is called. The browser connects again by itself.
 *
 * Browsers open at most six connections to a server, over all tabs, so a hidden tab closes its
 * stream. When it is shown again, the stream starts with the present state.
 */
export function listen(handlers: EventHandlers, project?: string): () => void {
  let source: EventSource | null = null;
  const open = () => {
    source ??= connect(handlers, project);
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const onVisibility = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", onVisibility);
  onVisibility();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    close();
  };
}

function connect(handlers: EventHandlers, project?: string): EventSource {
  const source = new EventSource(apiUrl("/events", project ? { project } : {}));
  const on = <T>(name: string, handler: ((data: T) => void) | undefined) => {
    if (!handler) return;
    source.addEventListener(name, (event) => handler(JSON.parse(event.data) as T));
  };
  on("job", handlers.job);
  on("project", handlers.project);
  on("edit", handlers.edit);
  on("deleted", handlers.deleted);
  source.onopen = () => handlers.connection?.(true);
  source.onerror = () => handlers.connection?.(false);
  return source;
}
