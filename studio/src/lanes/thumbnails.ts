// Pictures along the time axis, in tiles of sixteen that are fetched when they become visible.

import { apiUrl } from "../api/client";
import { el, fitCanvas, oncePerFrame, whenQuiet } from "../page/dom";
import type { Session } from "../page/session";
import { endOf, timeToX } from "../time/axis";

const TILE_PICTURES = 16;
const MOST_TILES = 200;
/** Tiles that are fetched at once; edits need a connection to the server, too. */
const MOST_LOADING = 2;

export function thumbnailLane(session: Session): { element: HTMLElement; close: () => void } {
  const canvas = el("canvas", { class: "thumbnails", "aria-hidden": "true" });
  const tiles = new Map<string, HTMLImageElement>();
  let loading = 0;
  const { width, height, duration_s } = session.project.value.video;
  const ratio = Math.min(Math.max(width / Math.max(height, 1), 0.4), 3);

  /** Seconds of each picture: a power of two, so that pictures are not too narrow. */
  const step = (): number => {
    const { span_s, width_px } = session.axis.value;
    const wanted_s = (canvas.clientHeight * ratio * span_s) / width_px;
    return 2 ** Math.round(Math.log2(Math.max(wanted_s, 1 / 32)));
  };

  const load = (key: string, start_s: number, end_s: number, count: number) => {
    const image = new Image();
    tiles.set(key, image);
    if (tiles.size > MOST_TILES) tiles.delete(tiles.keys().next().value!);
    const shown_px = canvas.clientHeight * Math.min(window.devicePixelRatio || 1, 2);
    const query = {
      start_s,
      end_s,
      count,
      height: Math.min(360, Math.max(24, Math.round(shown_px / 24) * 24)),
    };
    loading += 1;
    image.onload = () => {
      loading -= 1;
      draw();
      loadNext();
    };
    // A stretch that is not analysed yet is tried again when the axis or the project changes.
    image.onerror = () => {
      loading -= 1;
      tiles.delete(key);
    };
    image.src = apiUrl(`/projects/${session.id}/thumbnails`, query);
  };

  const visit = (
    visitTile: (key: string, start_s: number, end_s: number, count: number) => void,
  ) => {
    const axis = session.axis.value;
    const step_s = step();
    const length_s = step_s * TILE_PICTURES;
    const last_s = Math.min(endOf(axis), duration_s);
    for (let index = Math.floor(axis.start_s / length_s); index * length_s < last_s; index += 1) {
      const start_s = index * length_s;
      const count = Math.min(TILE_PICTURES, Math.ceil((duration_s - start_s) / step_s));
      const end_s = Math.min(start_s + count * step_s, duration_s);
      visitTile(`${step_s} ${index}`, start_s, end_s, count);
    }
  };

  const draw = oncePerFrame(() => {
    const { context, height: high } = fitCanvas(canvas);
    const axis = session.axis.value;
    const drawTile = (key: string) => {
      const image = tiles.get(key);
      if (!image?.complete || image.naturalWidth === 0) return;
      const [step_s, index] = key.split(" ").map(Number) as [number, number];
      const start_s = index * step_s * TILE_PICTURES;
      const count = Math.min(TILE_PICTURES, Math.ceil((duration_s - start_s) / step_s));
      const end_s = Math.min(start_s + count * step_s, duration_s);
      drawPictures(context, image, count, high, (part) => {
        return timeToX(axis, start_s + ((end_s - start_s) * part) / count);
      });
    };
    // Tiles of other zoom levels first, so that there is a picture while the exact ones load.
    for (const key of tiles.keys()) drawTile(key);
    visit((key) => drawTile(key));
  });

  /** Loads tiles that are visible now; those that were scrolled past are never fetched. */
  const loadNext = () => {
    if (canvas.clientHeight === 0) return; // not on the page yet
    visit((key, start_s, end_s, count) => {
      if (loading < MOST_LOADING && !tiles.has(key)) load(key, start_s, end_s, count);
    });
  };
  const loadVisible = whenQuiet(loadNext, 120);
  const update = () => {
    draw();
    loadVisible();
  };
  const stops = [session.axis.watch(update), session.project.watch(loadVisible)];
  return {
    element: canvas,
    close: () => {
      for (const stop of stops) stop();
    },
  };
}

/** Each picture fills its part of the axis; what does not fit into it is cut off. */
function drawPictures(
  context: CanvasRenderingContext2D,
  image: HTMLImageElement,
  count: number,
  height: number,
  edge: (part: number) => number,
): void {
  const wide = image.naturalWidth / count;
  for (let part = 0; part < count; part += 1) {
    const left = edge(part);
    const width = edge(part + 1) - left;
    if (left + width < 0 || left > context.canvas.width) continue;
    const scale = Math.max(width / wide, height / image.naturalHeight);
    const [shownWide, shownHigh] = [width / scale, height / scale];
    context.drawImage(
      image,
      part * wide + (wide - shownWide) / 2,
      (image.naturalHeight - shownHigh) / 2,
      shownWide,
      shownHigh,
      left,
      0,
      width - 1,
      height,
    );
  }
}
