// The buttons below the pictures: every key that judges, for the mouse and the finger.

import { byId, el, icon, keepsFocus, setAttribute, setText } from "./dom.js";
import { count } from "./words.js";

const BUTTONS = [
  ["present", "Present", "p", "present"],
  ["absent", "Absent", "a", "absent"],
  ["unsure", "Unsure", "u", "unsure"],
  ["skip", "Skip", "s", "skip"],
  ["undo", "Undo", "z", "undo"],
  ["mark", "Mark", "x", "mark"],
  ["allSeen", "All here present", "⇧ ↵", "all"],
  ["evidence", "Evidence", "e", "evidence"],
];

export function buildBar(app) {
  const bar = byId("bar");
  keepsFocus(bar);
  for (const [action, words, key, sign] of BUTTONS) {
    const button = el("button", {
      type: "button",
      class: `button action ${action}`,
      "data-action": action,
      on: { click: () => app.act(action, false) },
    });
    button.append(icon(sign), el("span", { class: "action-words", text: words }), el("kbd", { text: key }));
    bar.append(button);
  }
}

/** What the buttons say depends on what is chosen, marked and seen. */
export function showBar(app) {
  const grid = app.mode === "grid";
  const { gridView } = app;
  const button = (action) => byId("bar").querySelector(`[data-action="${action}"]`);
  const words = (action, text) => setText(button(action).querySelector(".action-words"), text);
  const pairs = grid ? gridView.judging.allSeen() : [];
  words("allSeen", allWords(app, pairs));
  button("allSeen").disabled = !grid || !pairs?.length;
  button("mark").disabled = !grid || !gridView.length;
  button("evidence").hidden = !app.session.has_evidence;
  button("undo").disabled = !app.verdicts.actions.length;
  const evidence = grid ? gridView.evidence : app.single.evidence;
  setAttribute(button("evidence"), "aria-pressed", evidence ? "true" : "false");
  const nothing = grid ? !gridView.length : !app.single.activeRecord();
  for (const action of ["present", "absent", "unsure", "skip"]) button(action).disabled = nothing;
}

function allWords(app, pairs) {
  if (!pairs?.length) return "All here";
  const { marks } = app.gridView;
  const marked = pairs.filter(([record]) => marks.has(record.cell)).length;
  const suggested = new Set(pairs.map(([record]) => record.suggests));
  const what = suggested.size > 1 ? "as suggested" : [...suggested][0];
  return marked
    ? `${count(pairs.length - marked)} ${what}, ${count(marked)} not`
    : `All ${count(pairs.length)} ${what}`;
}
