// The picture: single frames while paused, and kept in time with the sound while playing.

import { apiUrl } from "../api/client";
import type { Video } from "../api/contract";
import { el } from "../page/dom";
import { type FrameTimes, insideFrame } from "../time/frames";

/** Above this difference to the sound the video jumps; below it plays faster or slower. */
const JUMP_S = 0.35;
const TOLERATED_S = 0.025;

export class Picture {
  readonly element: HTMLElement;
  private readonly video = el("video", {
    muted: true,
    playsinline: true,
    preload: "auto",
    disablepictureinpicture: true,
    tabindex: "-1",
    "aria-label": "Picture of the video",
  });
  private readonly still = el("img", { class: "still", alt: "Picture of the video", hidden: true });
  private readonly note = el("p", { class: "picture-note", role: "status", hidden: true });
  private wanted_s = 0;
  private offset_s = 0;
  private isUsable = false;
  private playback = "";
  private stillTimer = 0;
  /** Called with the time of each frame that becomes visible, in seconds of the clip. */
  onFrame: (time_s: number) => void = () => {};

  constructor(
    private readonly project: string,
    private readonly frames: () => FrameTimes,
  ) {
    this.element = el("div", { class: "picture" }, this.video, this.still, this.note);
    this.video.muted = true;
    this.video.addEventListener("seeked", () => this.seekIfNeeded());
    this.video.addEventListener("loadeddata", () => this.show(this.wanted_s));
    this.video.addEventListener("error", () => {
      if (this.video.hasAttribute("src")) this.useStills("This browser can't play the video.");
    });
    this.watchFrames();
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  /** Takes over how the video can be played. */
  update(video: Video): void {
    this.offset_s = video.player_offset_s;
    const isReady = video.playback === "original" || video.playback === "proxy";
    if (isReady && this.playback !== video.playback) {
      this.isUsable = true;
      this.playback = video.playback;
      this.load();
      this.video.hidden = false;
      this.still.hidden = true;
      this.note.hidden = true;
    } else if (video.playback === "preparing") {
      this.useStills(
        "A copy that the browser can play is being made. Until then, single pictures.",
      );
    } else if (video.playback === "none") {
      this.useStills("The browser can't play this video. You see single pictures instead.");
    }
  }

  /** Shows the frame of a time. */
  show(time_s: number): void {
    this.wanted_s = time_s;
    if (!this.isUsable) {
      this.showStill();
      return;
    }
    if (!this.video.seeking) this.seekIfNeeded();
  }

  play(position_s: number): void {
    this.wanted_s = position_s;
    if (!this.isUsable) return;
    this.video.currentTime = position_s + this.offset_s;
    this.video.playbackRate = 1;
    this.video.play().catch(() => {});
  }

  pause(position_s: number): void {
    if (this.isUsable) this.video.pause();
    this.show(position_s);
  }

  /** Keeps a playing video in time with the sound; call it some ten times a second. */
  follow(position_s: number): void {
    this.wanted_s = position_s;
    if (!this.isUsable) {
      this.showStill();
      return;
    }
    if (this.video.seeking || this.video.paused) return;
    const late_s = position_s + this.offset_s - this.video.currentTime;
    if (Math.abs(late_s) > JUMP_S) this.video.currentTime = position_s + this.offset_s;
    else if (Math.abs(late_s) > TOLERATED_S) {
      this.video.playbackRate = 1 + Math.max(-0.25, Math.min(0.25, 1.5 * late_s));
    } else this.video.playbackRate = 1;
  }

  close(): void {
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.clearTimeout(this.stillTimer);
    this.isUsable = false;
    this.unload();
  }

  /** A hidden tab gives back its connection for the video, which other tabs may need. */
  private readonly onVisibility = () => {
    if (!this.isUsable || !this.video.paused) return;
    if (document.hidden) this.unload();
    else if (!this.video.hasAttribute("src")) this.load();
  };

  private load(): void {
    this.video.src = apiUrl(`/projects/${this.project}/video`, { playback: this.playback });
  }

  private unload(): void {
    this.video.removeAttribute("src");
    this.video.load();
  }

  private seekIfNeeded(): void {
    if (!this.video.paused || this.video.readyState < 1) return;
    const target_s = insideFrame(this.frames(), this.wanted_s) + this.offset_s;
    if (Math.abs(this.video.currentTime - target_s) > 1e-4) this.video.currentTime = target_s;
  }

  private watchFrames(): void {
    if (!("requestVideoFrameCallback" in this.video)) {
      const video = this.video as HTMLVideoElement;
      video.addEventListener("timeupdate", () => this.onFrame(video.currentTime - this.offset_s));
      return;
    }
    const next = (_now: number, frame: VideoFrameCallbackMetadata) => {
      this.element.dataset.shown = frame.mediaTime.toFixed(6);
      this.onFrame(frame.mediaTime - this.offset_s);
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }

  private useStills(reason: string): void {
    this.isUsable = false;
    this.video.hidden = true;
    this.still.hidden = false;
    this.note.hidden = false;
    this.note.textContent = reason;
    this.showStill();
  }

  /** Shows a single picture, at most five a second. */
  private showStill(): void {
    if (this.stillTimer) return;
    this.stillTimer = window.setTimeout(() => {
      this.stillTimer = 0;
      if (this.isUsable) return;
      const start_s = this.wanted_s;
      const query = { start_s, end_s: start_s + 0.002, count: 1, height: 360 };
      const url = apiUrl(`/projects/${this.project}/thumbnails`, query);
      if (this.still.getAttribute("src") !== url) this.still.src = url;
    }, 200);
  }
}
