// Elements are made here, from text alone: nothing that came from a file is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  present: ["M4 10.5l4 4 8-9"],
  absent: ["M5 5l10 10", "M15 5L5 15"],
  unsure: ["M7 7.4a3 3 0 1 1 4.6 2.5c-1 .7-1.6 1.2-1.6 2.5", "M10 15.6v.1"],
  skip: ["M5 5l6 5-6 5", "M14.5 5v10"],
  undo: ["M7 4L3.5 7.5 7 11", "M4 7.5h7.5a4.5 4.5 0 0 1 0 9H9"],
  mark: ["M5.5 17V4", "M5.5 4.5h9l-2.2 3.2 2.2 3.3h-9"],
  all: ["M2.5 10.5l3.5 3.5 6-8", "M9.5 13l1 1 7-8.5"],
  evidence: ["M2.5 10S5 5 10 5s7.5 5 7.5 5-2.5 5-7.5 5-7.5-5-7.5-5z", "M10 7.8a2.2 2.2 0 1 0 .01 0"],
  menu: ["M3.5 6h13", "M3.5 10h13", "M3.5 14h13"],
  theme: ["M10 3a7 7 0 1 0 .01 0", "M10 3.5v13", "M11.5 5v10", "M13 5.5v9"],
  help: ["M7 7.4a3 3 0 1 1 4.6 2.5c-1 .7-1.6 1.2-1.6 2.5", "M10 15.6v.1"],
  minus: ["M5 10h10"],
  plus: ["M5 10h10", "M10 5v10"],
  grid: ["M3.5 3.5h5v5h-5z", "M11.5 3.5h5v5h-5z", "M3.5 11.5h5v5h-5z", "M11.5 11.5h5v5h-5z"],
  image: ["M3 4h14v12H3z", "M3.5 14l4-4 3 3 2.5-2.5 3.5 3.5"],
  previous: ["M12.5 4.5L7 10l5.5 5.5"],
  next: ["M7.5 4.5L13 10l-5.5 5.5"],
  close: ["M5 5l10 10", "M15 5L5 15"],
  implied: ["M3 10h12", "M11 5.5l4.5 4.5-4.5 4.5"],
  conflict: ["M10 3l7.5 13.5h-15z", "M10 8v4", "M10 14.2v.1"],
};

export const byId = (id) => document.getElementById(id);

/** An element with properties (`class`, `text`, `on`, and attributes) and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A drawn sign; the words beside it say the same. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const path of PATHS[name] ?? []) {
    const stroke = document.createElementNS(SVG, "path");
    stroke.setAttribute("d", path);
    svg.append(stroke);
  }
  return svg;
}

/** A name from a file: its own direction, and its controls reach no further than itself. */
export const nameOf = (text, className = "name") => el("bdi", { class: className, dir: "auto", text, title: text });

/** Set text only where it differs, so that screen readers and layout are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute only where it differs. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Call at most once per `wait` milliseconds after the last call. */
export function debounce(call, wait) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), wait);
  };
}

/** Buttons of a toolbar keep the keyboard where it was: pressing one with the mouse takes no focus. */
export function keepsFocus(element) {
  element.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) event.preventDefault();
  });
  element.addEventListener("mousedown", (event) => {
    if (event.target.closest("button")) event.preventDefault();
  });
}
