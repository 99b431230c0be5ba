// One tile of the grid: made once, filled again and again with what stands at its place.

import { el, icon, nameOf, setAttribute, setText } from "./dom.js";
import { askShort, chance, related, sides, spoken, VERDICTS } from "./words.js";

const QUICK_WORDS = { present: "Present", absent: "Absent", unsure: "Unsure" };

/** An empty tile; its parts are kept on it, so that filling asks the document nothing. */
export function makeTile() {
  const picture = el("img", { class: "thumb", alt: "", draggable: "false", decoding: "async" });
  const evidence = el("img", { class: "evidence", alt: "", draggable: "false" });
  const broken = el("span", { class: "broken", text: "picture not loaded" });
  const quick = el("div", { class: "quick" });
  for (const verdict of VERDICTS) {
    const button = el("button", {
      type: "button",
      tabindex: "-1",
      class: `quick-${verdict}`,
      "data-verdict": verdict,
      "aria-label": QUICK_WORDS[verdict],
      title: QUICK_WORDS[verdict],
    });
    button.append(icon(verdict));
    quick.append(button);
  }
  const flag = el("span", { class: "flag" }, icon("mark"), el("span", { text: "not this one" }));
  const frame = el("div", { class: "frame" }, picture, evidence, broken, flag, quick);
  const sign = el("span", { class: "sign" });
  const note = el("span", { class: "probability numbers" });
  const bar = el("div", { class: "bar-track", "aria-hidden": "true" }, el("div", { class: "bar-fill" }));
  const name = nameOf("");
  const tile = el(
    "div",
    { role: "gridcell", class: "tile" },
    frame,
    bar,
    el("div", { class: "caption" }, el("div", { class: "line" }, sign, note), name),
  );
  Object.assign(tile, { parts: { picture, evidence, broken, sign, note, name, bar: bar.firstChild }, place: -1 });
  picture.addEventListener("load", () => tile.classList.add("loaded"));
  picture.addEventListener("error", () => {
    if (picture.hasAttribute("src")) tile.classList.add("no-picture");
  });
  evidence.addEventListener("error", () => evidence.removeAttribute("src"));
  return tile;
}

/**
 * Show a cell on a tile.
 *
 * `look` says {index, cell, image, record, state, className, otherName, showClass, active, chosen, marked, size,
 * evidence, me}; `otherName` is the class that relations to this one are about.
 */
export function fillTile(tile, look) {
  const { index, record, state } = look;
  tile.place = index;
  setAttribute(tile, "id", `tile-${index}`);
  setAttribute(tile, "aria-selected", look.chosen || look.active ? "true" : "false");
  tile.classList.toggle("active", look.active);
  tile.classList.toggle("chosen", look.chosen);
  tile.classList.toggle("marked", look.marked);
  setPicture(tile, look);
  if (!record) {
    setAttribute(tile, "aria-label", look.missing ? "not in this session any more" : "loading");
    setAttribute(tile, "data-verdict", null);
    setAttribute(tile, "data-state", look.missing ? "missing" : "loading");
    setSign(tile, look.missing ? "gone" : "");
    setText(tile.parts.note, "");
    setText(tile.parts.name, "");
    tile.parts.bar.style.removeProperty("--share");
    return;
  }
  setAttribute(tile, "aria-label", spoken(record, look.className, { ...state, marked: look.marked }, look.otherName));
  setAttribute(tile, "data-verdict", state.verdict);
  setAttribute(tile, "data-asks", record.suggests ?? "present");
  setAttribute(tile, "data-state", stateName(state));
  showState(tile, record, state, look);
  const told = related(state, look.otherName);
  setText(tile.parts.note, state.conflict ? "" : told || chance(record, state.verdict));
  setAttribute(tile.parts.note, "title", told || null);
  const shown = state.conflict ? sides(state.conflict, look.me)[1] : look.showClass ? look.className : record.name;
  setText(tile.parts.name, shown);
  setAttribute(tile.parts.name, "title", `${look.className}\n${record.name}`);
  tile.parts.bar.style.setProperty("--share", String(record.kind === "audit" ? 0 : (record.probability ?? 0)));
}

function stateName(state) {
  if (state.conflict) return "conflict";
  if (state.failed) return "failed";
  if (state.pending) return "pending";
  if (state.against) return "against";
  if (state.implied) return "implied";
  return state.verdict ? "saved" : "open";
}

function showState(tile, record, state, look) {
  if (state.conflict) setSign(tile, sides(state.conflict, look.me)[0], "conflict");
  else if (state.failed) setSign(tile, "not saved", "conflict");
  else if (state.against) setSign(tile, state.verdict, "conflict");
  else if (state.verdict) setSign(tile, state.verdict, state.verdict);
  else if (state.implied) setSign(tile, state.implied.state, "implied");
  else if (record.kind === "doubtful") setSign(tile, `${record.known}, doubtful`);
  else setSign(tile, askShort(record));
}

function setSign(tile, text, sign = "") {
  const { sign: chip } = tile.parts;
  if (chip.textContent === text && chip.dataset.sign === sign) return;
  chip.dataset.sign = sign;
  chip.replaceChildren(...(sign ? [icon(sign)] : []), el("span", { class: "sign-text", text }));
}

function setPicture(tile, look) {
  const { picture, evidence } = tile.parts;
  const source = look.wait ? null : `/thumb/${look.image}?size=${look.size}`;
  const shownImage = picture.dataset.image;
  if (shownImage !== String(look.image) && picture.hasAttribute("src")) {
    picture.removeAttribute("src"); // never yesterday's picture under today's label
    tile.classList.remove("loaded", "no-picture");
  }
  picture.dataset.image = String(look.image);
  if (source && picture.getAttribute("src") !== source) {
    tile.classList.remove("no-picture");
    picture.setAttribute("src", source);
  }
  const map = look.evidence && look.record ? `/evidence/${look.image}/${look.record.class}` : null;
  setAttribute(evidence, "src", map);
}

/** Ask for a picture that did not come once more. */
export function retryPicture(tile) {
  if (!tile.classList.contains("no-picture")) return;
  const { picture } = tile.parts;
  const source = picture.getAttribute("src");
  picture.removeAttribute("src");
  tile.classList.remove("no-picture");
  if (source) picture.setAttribute("src", source);
}
