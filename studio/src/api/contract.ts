// The JSON of the HTTP API, as docs/http.md describes it. Names of fields are those of the API.

export type CueKind = "hit" | "roll" | "scrape";

export interface Cue {
  readonly id: string;
  readonly time_s: number;
  readonly kind: CueKind;
  readonly end_s?: number;
  readonly level_db?: number;
  readonly level_curve_db?: readonly number[];
  readonly material?: string;
  readonly striker?: string;
  readonly pitch_hz?: number;
  readonly decay_s?: number;
  readonly pan?: number;
  readonly seed?: number;
  readonly enabled: boolean;
  readonly confidence?: number;
}

/** Fields to set; null unsets one. */
export type CueFields = { -readonly [name in keyof Omit<Cue, "id">]?: Cue[name] | null };

export type Change =
  | { readonly id: string; readonly set: CueFields }
  | { readonly id: string; readonly another_take: true }
  | { readonly remove: string }
  | { readonly add: CueFields & { time_s: number } };

export interface SampleRange {
  readonly start_sample: number;
  readonly end_sample: number;
}

export interface Edit {
  readonly revision: number;
  readonly sound_revision: number | null;
  readonly cues: readonly Cue[];
  readonly removed: readonly string[];
  readonly changed?: readonly SampleRange[];
  readonly undo: string | null;
  readonly redo: string | null;
  readonly render_s?: number;
  readonly warnings?: readonly string[];
}

export interface Status {
  readonly version: string;
  readonly model: string;
  readonly device: string;
  readonly sample_rate_hz: number;
  readonly materials: readonly string[];
  readonly kinds: readonly CueKind[];
  readonly level_range_db: readonly [number, number];
  readonly limits: { readonly upload_bytes: number; readonly duration_s: number };
  readonly examples: readonly string[];
  readonly has_library: boolean;
  readonly video_formats: readonly string[];
  readonly sound_formats: readonly string[];
  readonly cue_formats: readonly { readonly suffix: string; readonly can_import: boolean }[];
}

export interface Problem {
  readonly error: string;
  readonly hint?: string | null;
}

export interface Take {
  readonly id: string;
  readonly name: string;
  readonly seed: number;
  readonly created_at: string;
  readonly revision: number;
  readonly scores: Readonly<Record<string, number>> | null;
  readonly channels: number;
  readonly is_current: boolean;
}

export interface Video {
  readonly name: string;
  readonly duration_s: number;
  readonly width: number;
  readonly height: number;
  readonly rate_hz: number;
  readonly has_audio: boolean;
  readonly start_time_code: string | null;
  readonly warnings: readonly string[];
  readonly playback: "original" | "proxy" | "preparing" | "none";
  readonly player_offset_s: number;
}

export interface SoundState {
  readonly sample_rate_hz: number;
  readonly channels: number;
  readonly sample_count: number;
  readonly revision: number;
}

export interface Settings {
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
  readonly sensitivity: number;
  readonly loudness_lufs: number | null;
  readonly library: boolean;
  readonly library_variation: boolean;
  readonly stereo: boolean;
  /** The id of a recording whose timbre all cues follow. */
  readonly reference: string | null;
  readonly reference_material: string | null;
}

/** A recording of the project. */
export interface Reference {
  readonly id: string;
  readonly name: string;
}

export interface Project {
  readonly id: string;
  readonly name: string;
  readonly created_at: string;
  readonly changed_at: string;
  readonly state: "analysing" | "ready" | "failed";
  readonly error: Problem | null;
  readonly video: Video;
  readonly analysed_until_s: number;
  readonly sound: SoundState | null;
  readonly revision: number;
  readonly cue_count: number;
  readonly undo: string | null;
  readonly redo: string | null;
  readonly settings: Settings;
  readonly takes: readonly Take[];
  readonly references: readonly Reference[];
  readonly warnings: readonly string[];
  readonly view: Readonly<Record<string, unknown>>;
}

export interface CueList {
  readonly revision: number;
  readonly duration_s: number;
  readonly cues: readonly Cue[];
}

export interface FrameList {
  readonly start_index: number;
  readonly count: number;
  readonly total: number;
  readonly times_s: readonly number[];
}

export interface Loudness {
  readonly integrated_lufs: number | null;
  readonly loudness_range_lu?: number | null;
  readonly largest_momentary_lufs?: number | null;
  readonly largest_short_term_lufs?: number | null;
  readonly true_peak_dbtp?: number | null;
}

export interface ExportRequest {
  readonly name?: string;
  readonly video?: boolean | string;
  readonly sound?: string | null;
  readonly mix?: "replace" | "mix" | "duck";
  readonly mix_level_lu?: number | null;
  readonly duck_depth_db?: number;
  readonly keep_original?: boolean;
  readonly stems?: "material" | "cue" | null;
  readonly cues?: readonly string[];
  readonly project?: "reaper" | null;
  readonly report?: boolean;
  readonly sidecar?: boolean;
}

export interface Export {
  readonly id: string;
  readonly name: string;
  readonly created_at: string;
  readonly revision: number;
  readonly files: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly url: string;
  }[];
  readonly loudness: Loudness | null;
  readonly warnings: readonly string[];
}

export type JobKind = "analyse" | "render" | "spot" | "takes" | "keep" | "export" | "proxy";

export interface Job {
  readonly id: string;
  readonly project: string;
  readonly kind: JobKind;
  readonly state: "waiting" | "running" | "done" | "failed" | "cancelled";
  readonly label: string;
  readonly progress: number | null;
  readonly seconds_left: number | null;
  readonly waiting_for: number;
  readonly error: Problem | null;
  readonly result: unknown;
}

export type SoundSource = "generated" | "library" | "original" | `take:${string}`;
