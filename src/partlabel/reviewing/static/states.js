// What stands in place of the pictures while there are none: loading, nothing left, trouble.

import { byId, el, icon } from "./dom.js";
import { phrase } from "./head.js";
import { count } from "./words.js";

function show(sign, title, text, ...buttons) {
  const place = byId("state");
  place.hidden = false;
  place.replaceChildren(
    el("div", { class: `state-sign ${sign}` }, icon(sign)),
    el("h2", { class: "state-title" }, ...title),
    el("p", { class: "state-text" }, ...text),
    el("div", { class: "state-buttons" }, ...buttons),
  );
}

const button = (words, key, call, main = false) =>
  el(
    "button",
    { type: "button", class: main ? "button main-button" : "button", on: { click: call } },
    `${words} `,
    key ? el("kbd", { text: key }) : "",
  );

export function showLoading() {
  show("skip", ["Loading …"], []);
}

export function showTrouble(app, error) {
  show(
    "conflict",
    ["The pictures could not be loaded"],
    [error.message],
    button("Try again", "r", () => app.act("refresh"), true),
  );
}

/** Why the list is empty, and where to go from here. */
export function showEmpty(app) {
  const { filter, session } = app;
  const all = filter.class === "all";
  const entry = all ? session.sums() : session.byId.get(filter.class);
  const name = all ? null : { name: entry.name };
  const implied = filter.show === "implied";
  const next = button("Next class", "n", () => app.act("nextClass"), true);
  if (filter.search) {
    show(
      "absent",
      ["Nothing found"],
      ["No image of this list has that in its name."],
      button("Clear the search", "", () => app.setFilter({ search: "" }), true),
    );
  } else if (filter.show !== "open" && filter.show !== "all") {
    show(
      "unsure",
      phrase([implied ? "Nothing is " : "Nothing is judged ", filter.show, ...(name ? [" for ", name] : [])]),
      [implied ? "What follows from verdicts is listed here." : "What you judge so is listed here."],
      button("Show open ones", "", () => app.setFilter({ show: "open" }), true),
    );
  } else if (entry && entry.cells > 0 && entry.open === 0) {
    const title = all
      ? [`All ${count(entry.cells)} are ${entry.implied ? "settled" : "judged"}`]
      : [`All ${count(entry.cells)} for `, name, ` are ${entry.implied ? "settled" : "judged"}`];
    const sums = ["present", "absent", "unsure", ...(entry.implied ? ["implied"] : [])]
      .map((standing) => `${count(entry[standing])} ${standing}`)
      .join(", ");
    show(
      "present",
      phrase(title),
      [`${sums}.`],
      ...(app.side.neighbour(1) === null ? [] : [next]),
      button("Look at them again", "", () => app.setFilter({ show: "all" })),
    );
  } else {
    show(
      "present",
      phrase(["Nothing to judge here", ...(name ? [" for ", name] : [])]),
      ["This order holds no such cell."],
      next,
    );
  }
}
