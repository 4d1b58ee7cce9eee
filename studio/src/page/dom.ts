// Creating elements of the document.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, unknown>;

/**
 * An element with attributes and children. `onclick` and the like are listeners, other functions
 * and objects are not accepted; false, null and undefined leave an attribute out.
 */
export function el<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) {
      element.addEventListener(key.slice(2), value as EventListener);
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter(isShown));
  return element;
}

/** A button; `key` is the keyboard command that does the same. */
export function button(
  label: string,
  onclick: () => void,
  attributes: Attributes & { key?: string } = {},
): HTMLButtonElement {
  const { key, ...others } = attributes;
  const title = others.title ?? label;
  return el(
    "button",
    { type: "button", onclick, ...others, title: key ? `${title} (${key})` : others.title },
    label,
  );
}

/** A label around a field. */
export function field(label: string, control: HTMLElement, hint?: string): HTMLElement {
  return el(
    "label",
    { class: "field" },
    el("span", { class: "field-name" }, label),
    control,
    hint ? el("small", {}, hint) : null,
  );
}

export function select(
  options: readonly (readonly [value: string, label: string])[],
  value: string,
  onchange: (value: string) => void,
  attributes: Attributes = {},
): HTMLSelectElement {
  const control = el(
    "select",
    attributes,
    ...options.map(([key, label]) => el("option", { value: key }, label)),
  );
  control.value = value;
  control.addEventListener("change", () => onchange(control.value));
  return control;
}

/** A field for a number; null is an empty one. */
export function number(
  name: string,
  value: number | null,
  step: number,
  onchange: (value: number | null) => void,
  attributes: Attributes = {},
): HTMLInputElement {
  const input = el("input", { type: "number", name, step, ...attributes });
  if (value !== null) input.value = String(Number(value.toFixed(4)));
  // The steps of the arrows are relative to a whole number, but any number is accepted.
  input.addEventListener("change", () => {
    onchange(input.value === "" ? null : input.valueAsNumber);
  });
  return input;
}

export function checkbox(
  label: string,
  checked: boolean,
  onchange: (checked: boolean) => void,
  attributes: Attributes = {},
): HTMLLabelElement {
  const control = el("input", { type: "checkbox", ...attributes });
  control.checked = checked;
  control.addEventListener("change", () => onchange(control.checked));
  return el("label", { class: "checkbox" }, control, label);
}

/** Makes a canvas as large as its box in device pixels; the context then counts CSS pixels. */
export function fitCanvas(canvas: HTMLCanvasElement): {
  context: CanvasRenderingContext2D;
  width: number;
  height: number;
} {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const wide = Math.max(1, Math.round(width * ratio));
  const high = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const context = canvas.getContext("2d", { alpha: true })!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** The value of a custom property of the style sheet, such as `--wave`. */
export function styleValue(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Runs a function once in the next animation frame, however often it is asked for. */
export function oncePerFrame(run: () => void): () => void {
  let isPlanned = false;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    requestAnimationFrame(() => {
      isPlanned = false;
      run();
    });
  };
}

/** Runs a function when it has not been asked for during `delay_ms`. */
export function whenQuiet(run: () => void, delay_ms: number): () => void {
  let timer = 0;
  return () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(run, delay_ms);
  };
}

function isShown(child: Child): child is Node | string {
  return child !== null && child !== undefined && child !== false;
}
