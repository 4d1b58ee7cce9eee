// Requests of the HTTP API. Every failure is an ApiError with a sentence and what to do.

import type {
  Change,
  Cue,
  CueList,
  Edit,
  Export,
  ExportRequest,
  FrameList,
  Job,
  Loudness,
  Problem,
  Project,
  Reference,
  SoundSource,
  Status,
  Take,
} from "./contract";

/** An error in words; `hint` says what to do, and `status` is 0 if no answer came. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly hint: string,
    readonly status: number,
  ) {
    super(message);
  }

  /** The same error, with what it is about. */
  about(subject: string): ApiError {
    const text = this.message[0]!.toLowerCase() + this.message.slice(1);
    return new ApiError(`${subject}: ${text}`, this.hint, this.status);
  }
}

/** Interleaved samples of a stretch. */
export interface SoundPart {
  readonly samples: Float32Array;
  readonly channels: number;
  readonly startSample: number;
  /** Samples of each channel. */
  readonly sampleCount: number;
}

const ROOT = "/api/v1";

export function apiUrl(path: string, query: Record<string, string | number> = {}): string {
  const text = new URLSearchParams(
    Object.entries(query).map(([name, value]) => [name, String(value)]),
  ).toString();
  return `${ROOT}${path}${text ? `?${text}` : ""}`;
}

export const api = {
  status: () => json<Status>("GET", "/status"),
  videos: async () => {
    const answer = await json<{ videos: { name: string; bytes: number }[] }>("GET", "/videos");
    return answer.videos;
  },
  projects: async () => (await json<{ projects: Project[] }>("GET", "/projects")).projects,
  createProject: (from: { example: string } | { video: string }) =>
    json<Project>("POST", "/projects", from),
  project: (id: string) => json<Project>("GET", `/projects/${id}`),
  changeProject: (id: string, fields: { name?: string; view?: object }) =>
    json<Project>("PATCH", `/projects/${id}`, fields),
  deleteProject: (id: string) => json<void>("DELETE", `/projects/${id}`),

  cues: (id: string) => json<CueList>("GET", `/projects/${id}/cues`),
  /** Where the picture moves at a cue. */
  place: (id: string, cue: string) =>
    json<{ pan: number | null }>("GET", `/projects/${id}/cues/${cue}/place`),
  editCues: (id: string, changes: readonly Change[], label: string) =>
    json<Edit>("PATCH", `/projects/${id}/cues`, { changes, label }),
  replaceCues: (id: string, cues: readonly Cue[], label: string) =>
    json<Edit>("PUT", `/projects/${id}/cues`, { cues, label }),
  importCues: (id: string, file: Blob, suffix: string) =>
    send<Edit>("POST", `/projects/${id}/cues/import?format=${encodeURIComponent(suffix)}`, file),
  undo: (id: string) => json<Edit>("POST", `/projects/${id}/undo`),
  redo: (id: string) => json<Edit>("POST", `/projects/${id}/redo`),
  regenerate: (id: string, start_s: number, end_s: number) =>
    json<Edit>("POST", `/projects/${id}/regenerate`, { start_s, end_s }),

  sound,
  /** The peaks of each channel. */
  peaks: async (
    id: string,
    source: SoundSource,
    start_s: number,
    end_s: number,
    columns: number,
    signal: AbortSignal,
  ) => {
    const url = apiUrl(`/projects/${id}/peaks`, { source, start_s, end_s, columns });
    const response = await request(url, { signal, priority: "low" });
    const pairs = new Int16Array(await response.arrayBuffer());
    const values = Float32Array.from(pairs, (value) => value / 32767);
    return Array.from({ length: values.length / (2 * columns) }, (_, channel) => {
      return values.subarray(2 * columns * channel, 2 * columns * (channel + 1));
    });
  },
  loudness: (id: string, source: SoundSource) =>
    json<Loudness>("GET", `/projects/${id}/loudness?source=${encodeURIComponent(source)}`),
  frames: (id: string, start_s: number, end_s: number) =>
    json<FrameList>("GET", `/projects/${id}/frames?start_s=${start_s}&end_s=${end_s}`),

  keepTake: (id: string, name: string) => json<Job>("POST", `/projects/${id}/takes`, { name }),
  generateTakes: (id: string, count: number) =>
    json<Job>("POST", `/projects/${id}/takes`, { count }),
  useTake: (id: string, take: string) => json<Edit>("POST", `/projects/${id}/takes/${take}/use`),
  renameTake: (id: string, take: string, name: string) =>
    json<Take>("PATCH", `/projects/${id}/takes/${take}`, { name }),
  deleteTake: (id: string, take: string) => json<void>("DELETE", `/projects/${id}/takes/${take}`),
  render: (id: string, settings: object) => json<Job>("POST", `/projects/${id}/render`, settings),
  spot: (id: string, sensitivity: number) =>
    json<Job>("POST", `/projects/${id}/spot`, { sensitivity }),

  addReference: (id: string, file: File) =>
    send<Reference>(
      "POST",
      `/projects/${id}/references?name=${encodeURIComponent(file.name)}`,
      file,
    ),

  startExport: (id: string, wanted: ExportRequest) =>
    json<Job>("POST", `/projects/${id}/exports`, wanted),
  exports: async (id: string) =>
    (await json<{ exports: Export[] }>("GET", `/projects/${id}/exports`)).exports,
  deleteExport: (id: string, name: string) =>
    json<void>("DELETE", `/projects/${id}/exports/${name}`),

  job: (id: string, wait_s = 0) => json<Job>("GET", `/jobs/${id}?wait_s=${wait_s}`),
  cancelJob: (id: string) => json<Job>("DELETE", `/jobs/${id}`),
};

/** Sends a video with its progress from 0 to 1; `signal` stops it. */
export function upload(
  file: File,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Project> {
  // Only XMLHttpRequest reports how much of a request body was sent.
  return new Promise((resolve, reject) => {
    const transfer = new XMLHttpRequest();
    transfer.open("POST", apiUrl("/uploads", { name: file.name }));
    transfer.setRequestHeader("Content-Type", "application/octet-stream");
    transfer.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    transfer.onload = () => {
      if (transfer.status < 300) resolve(JSON.parse(transfer.responseText) as Project);
      else reject(errorOf(transfer.status, transfer.responseText));
    };
    transfer.onerror = () => reject(noAnswer());
    transfer.onabort = () => reject(new ApiError("The upload was cancelled.", "", 0));
    signal.addEventListener("abort", () => transfer.abort());
    transfer.send(file);
  });
}

/** The finished job; an ApiError if it failed or was cancelled. */
export async function finished(started: Job): Promise<Job> {
  let job = started;
  while (job.state === "waiting" || job.state === "running") job = await api.job(job.id, 30);
  if (job.state === "failed") {
    throw new ApiError(job.error?.error ?? `${job.label} failed.`, job.error?.hint ?? "", 0);
  }
  if (job.state === "cancelled") throw new ApiError(`${job.label} was cancelled.`, "", 0);
  return job;
}

/** With a signal that stops it, edits that wait for a connection go first. */
async function sound(
  id: string,
  source: SoundSource,
  startSample: number,
  endSample: number,
  signal?: AbortSignal,
): Promise<SoundPart> {
  const query = { source, start_sample: startSample, end_sample: endSample, format: "f32" };
  const options: RequestInit = signal ? { signal, priority: "low" } : {};
  const response = await request(apiUrl(`/projects/${id}/sound`, query), options);
  const samples = new Float32Array(await response.arrayBuffer());
  const channels = Number(response.headers.get("X-Channels") ?? 1);
  return { samples, channels, startSample, sampleCount: samples.length / channels };
}

function json<T>(method: string, path: string, body?: object): Promise<T> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return send<T>(method, path, text, "application/json");
}

async function send<T>(
  method: string,
  path: string,
  body?: BodyInit,
  type = "application/octet-stream",
): Promise<T> {
  const headers: Record<string, string> = body === undefined ? {} : { "Content-Type": type };
  const response = await request(`${ROOT}${path}`, { method, body, headers });
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function request(url: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, options);
  } catch {
    throw noAnswer();
  }
  if (!response.ok) throw errorOf(response.status, await response.text());
  return response;
}

function errorOf(status: number, text: string): ApiError {
  if (status === 401) {
    return new ApiError(
      "This browser has no access to the studio.",
      "Open the link that foleyflow serve printed last.",
      status,
    );
  }
  try {
    const problem = JSON.parse(text) as Problem;
    return new ApiError(problem.error, problem.hint ?? "", status);
  } catch {
    return new ApiError(`The server answered with status ${status}.`, "Try it again.", status);
  }
}

function noAnswer(): ApiError {
  return new ApiError(
    "The server does not answer.",
    "Check that foleyflow serve is still running. Your work is saved up to the last edit.",
    0,
  );
}
