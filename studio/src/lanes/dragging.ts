// Dragging with the pointer: start, moves and end, with Escape to cancel.

export interface DragHandlers {
  /** After the pointer has moved by more than a few pixels, and for every move after it. */
  readonly move: (event: PointerEvent, dx_px: number, dy_px: number) => void;
  readonly drop: (event: PointerEvent, dx_px: number, dy_px: number) => void;
  readonly cancel: () => void;
  /** The pointer was released without having moved. */
  readonly click?: (event: PointerEvent) => void;
}

export const DRAG_STARTS_PX = 4;

/** Follows the pointer from a `pointerdown` until it is released. */
export function drag(start: PointerEvent, handlers: DragHandlers): void {
  const target = start.currentTarget as HTMLElement;
  let isMoving = false;
  const distance = (event: PointerEvent): [number, number] => {
    return [event.clientX - start.clientX, event.clientY - start.clientY];
  };
  const onMove = (event: PointerEvent) => {
    if (event.pointerId !== start.pointerId) return;
    const [dx, dy] = distance(event);
    isMoving ||= Math.hypot(dx, dy) >= DRAG_STARTS_PX;
    if (isMoving) handlers.move(event, dx, dy);
  };
  const onUp = (event: PointerEvent) => {
    if (event.pointerId !== start.pointerId) return;
    end();
    if (isMoving) handlers.drop(event, ...distance(event));
    else handlers.click?.(event);
  };
  const onCancel = () => {
    end();
    handlers.cancel();
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    event.preventDefault();
    onCancel();
  };
  const end = () => {
    if (target.hasPointerCapture(start.pointerId)) target.releasePointerCapture(start.pointerId);
    target.removeEventListener("pointermove", onMove);
    target.removeEventListener("pointerup", onUp);
    target.removeEventListener("pointercancel", onCancel);
    window.removeEventListener("keydown", onKey, true);
  };
  target.setPointerCapture(start.pointerId);
  target.addEventListener("pointermove", onMove);
  target.addEventListener("pointerup", onUp);
  target.addEventListener("pointercancel", onCancel);
  window.addEventListener("keydown", onKey, true);
}

/** The position of the pointer within an element. */
export function placeIn(element: HTMLElement, event: MouseEvent): { x: number; y: number } {
  const box = element.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}
