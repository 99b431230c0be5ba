// The parts of the view of a single image: the picture with its arrows, and the panel of labels beside it.

import { el, icon } from "./dom.js";

/** The picture; `turn(1)` is called for the next one, `turn(-1)` for the one before. */
export function makeStage(turn) {
  const picture = el("img", { class: "big", alt: "", decoding: "async" });
  const overlay = el("img", { class: "big-evidence", alt: "" });
  const fit = el("div", { class: "fit" }, picture, overlay);
  const note = el("p", { class: "stage-note", hidden: true });
  const arrow = (name, label, step) =>
    el(
      "button",
      { type: "button", class: `turn ${name}`, "aria-label": label, on: { click: () => turn(step) } },
      icon(name),
    );
  const arrows = [arrow("previous", "Previous image (←)", -1), arrow("next", "Next image (→)", 1)];
  return { picture, overlay, fit, note, stage: el("div", { class: "stage" }, fit, note, ...arrows) };
}

/** Name of the image, its place in the list, a search, and room for the labels. */
export function makePanel() {
  const heading = el("h2", { class: "single-name" });
  const place = el("p", { class: "numbers muted" });
  const search = el("input", {
    class: "field",
    type: "search",
    placeholder: "Find or add a label",
    "aria-label": "Find or add a label",
    autocomplete: "off",
    spellcheck: "false",
  });
  const list = el("div", { class: "labels", role: "grid", tabindex: "0", "aria-label": "Labels of this image" });
  const head = el("div", { class: "panel-head" }, heading, place, search);
  return { heading, place, search, list, panel: el("div", { class: "panel" }, head, list) };
}
