// The overlay with all keys.

import { post } from "./api.js";
import { byId, el, icon } from "./dom.js";
import { KEYS } from "./words.js";

const HELP = [
  "A verdict is saved at once, in the journal of this session: a dashed frame is on its way, a full one is kept.",
  "Nothing on the screen moves by itself; press r to take a newer order. A double click opens a picture.",
].join(" ");

function build(dialog) {
  const close = el(
    "button",
    { type: "button", class: "icon-button", "aria-label": "Close", on: { click: () => dialog.close() } },
    icon("close"),
  );
  const head = el("div", { class: "dialog-head" }, el("h2", { id: "help-title", text: "Keys" }), close);
  const groups = KEYS.map(([title, rows]) => {
    const list = el("dl", { class: "keys" });
    for (const [keys, meaning] of rows) {
      const shown = el("dt");
      for (const key of keys) shown.append(el("kbd", { text: key }), " ");
      list.append(shown, el("dd", { text: meaning }));
    }
    return el("section", {}, el("h3", { text: title }), list);
  });
  const note = el("p", { class: "muted", text: HELP });
  dialog.append(head, el("div", { class: "dialog-body" }, ...groups, anotherBrowser(), note));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "?") dialog.close();
  });
}

/** An address for another browser of this machine. */
function anotherBrowser() {
  const address = el("input", { class: "field", readonly: true, hidden: true, "aria-label": "Address" });
  const said = el("p", { class: "muted", role: "status", text: "Somebody else at this machine can judge as well." });
  const make = async () => {
    try {
      const { path } = await post("/api/link", {});
      address.value = new URL(path, location.origin).href;
      address.hidden = false;
      address.select();
      said.textContent = "It works once. A newer one takes its place.";
      await navigator.clipboard.writeText(address.value);
      said.textContent = "Copied. It works once. A newer one takes its place.";
    } catch (error) {
      if (address.hidden) said.textContent = `No address: ${error.message}.`;
    }
  };
  const button = el("button", { type: "button", class: "button small", text: "Copy a new address", on: { click: make } });
  return el("section", { id: "link" }, el("h3", { text: "In another browser" }), said, button, address);
}

export function toggleHelp() {
  const dialog = byId("help");
  if (!dialog.firstChild) build(dialog);
  if (dialog.open) dialog.close();
  else dialog.showModal();
}
