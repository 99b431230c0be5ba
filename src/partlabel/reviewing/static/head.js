// What frames the pictures: order and filters, progress, whether all is saved, notices.

import { byId, debounce, el, icon, nameOf, setAttribute, setText } from "./dom.js";
import { count, many, QUEUE_HINTS, question } from "./words.js";

const SHOWS = [
  ["open", "Open"],
  ["all", "All"],
  ["present", "Present"],
  ["absent", "Absent"],
  ["unsure", "Unsure"],
];

/** Fill the filters; `change(part)` is called with what was chosen. */
export function buildFilters(app, change) {
  const queue = byId("queue");
  for (const { id, name } of app.session.queues)
    queue.append(el("option", { value: id, text: name, title: QUEUE_HINTS[id] ?? name }));
  let byKey = false; // whoever goes through the orders with the arrow keys stays there
  queue.addEventListener("keydown", () => (byKey = true));
  queue.addEventListener("pointerdown", () => (byKey = false));
  queue.addEventListener("change", () => change({ queue: queue.value }, !byKey));
  for (const [id, name] of app.session.has_relations ? [...SHOWS, ["implied", "Implied"]] : SHOWS) {
    const button = el("button", {
      type: "button",
      class: "segment",
      "data-show": id,
      "aria-pressed": "false",
      text: name,
    });
    button.addEventListener("click", () => change({ show: id }));
    byId("show").append(button);
  }
  const search = byId("search");
  search.addEventListener(
    "input",
    debounce(() => change({ search: search.value.trim() }, false), 250),
  );
  for (const holder of document.querySelectorAll("[data-icon]")) holder.prepend(icon(holder.dataset.icon));
}

export function showFilters(filter) {
  byId("queue").value = filter.queue;
  const search = byId("search");
  if (document.activeElement !== search) search.value = filter.search;
  for (const button of byId("show").children)
    setAttribute(button, "aria-pressed", button.dataset.show === filter.show ? "true" : "false");
}

/** Words with names in them, as nodes: each name keeps its direction to itself. */
export function phrase(parts) {
  return parts
    .filter((part) => part !== null && part !== "")
    .map((part) => {
      if (typeof part === "string") return document.createTextNode(part);
      return part.hint ? el("span", { class: "hint", text: part.hint }) : nameOf(part.name, "name strong");
    });
}

/** The line above the pictures: the question, or how to settle a conflict on the tile where one is. */
export function showQuestion(app, record) {
  const text = byId("question");
  const actions = byId("question-actions");
  const conflict = record ? app.verdicts.conflicts.get(record.cell) : null;
  const { implied, against } = record ? app.verdicts.state(record) : {};
  const related = !conflict && (implied ?? against);
  const single = app.mode === "single" && record;
  const asked = single ? (record.suggests ?? "present") : app.kindsAsked();
  const one = single ? record.class : app.filter.class;
  const [first, last] = app.mode === "single" ? [0, 0] : app.gridView.range();
  const chosen = last - first + 1;
  const key = conflict
    ? `conflict ${record.cell} ${conflict.seq}`
    : related
      ? JSON.stringify(related)
      : `question ${one} ${asked} ${chosen}`;
  if (text.dataset.key === key) return;
  text.dataset.key = key;
  text.classList.toggle("warn", Boolean(conflict || (related && against)));
  if (conflict) {
    const who = conflict.who && conflict.who !== app.session.who ? { name: conflict.who } : "another window";
    const className = { name: app.className(record.class) };
    text.replaceChildren(
      ...phrase([
        className,
        `: you say ${conflict.mine ?? "no verdict"}, `,
        who,
        ` says ${conflict.verdict ?? "no verdict"}.`,
      ]),
    );
    const button = (words, key_, call) =>
      el(
        "button",
        { type: "button", class: "button small", on: { click: call } },
        `${words} `,
        el("kbd", { text: key_ }),
      );
    actions.replaceChildren(
      button("Keep theirs", "t", () => app.settle("theirs")),
      button("Keep mine", "m", () => app.settle("mine")),
    );
    app.say(text.textContent);
  } else if (related) {
    const parts = against ? againstParts(app, record.cell, against) : impliedParts(app, record, implied);
    text.replaceChildren(...phrase(parts));
    actions.replaceChildren();
    app.say(text.textContent);
  } else {
    text.replaceChildren(...phrase(question(asked, one === "all" ? null : { name: app.className(one) }, chosen)));
    actions.replaceChildren();
  }
}

/** Which cell contradicts a verdict, in parts. */
export function againstParts(app, cell, { state, class: other, other: otherState, known }) {
  return [
    { name: app.className(cell % app.classCount) },
    `: ${state} contradicts `,
    { name: app.className(other) },
    `: ${otherState}${known ? " (known)" : ""}.`,
    {
      hint: known
        ? "  Both stay as they are; the export asks which is right."
        : "  Change one; until then neither settles others.",
    },
  ];
}

/** What a cell without a verdict follows from, in parts. */
function impliedParts(app, record, { state, class: other, other: otherState }) {
  const name = { name: app.className(other) };
  return [
    { name: app.className(record.class) },
    `: ${state}, implied by `,
    name,
    otherState === "absent" ? " (absent)." : ".",
    { hint: "  It is not asked; a verdict of your own would count instead." },
  ];
}

export function showCounts(app) {
  const sums = app.session.sums();
  const settled = sums.cells - sums.open;
  setText(byId("overall-text"), `${count(settled)} / ${count(sums.cells)}`);
  setAttribute(byId("overall"), "aria-label", `${judgedOf(sums)} in all classes`);
  byId("overall-fill").style.setProperty("--share", String(sums.cells ? settled / sums.cells : 0));
  const one = app.filter.class === "all" ? sums : app.session.byId.get(app.filter.class);
  setText(byId("list-progress"), one ? judgedOf(one) : "");
}

/** What follows from verdicts is none. */
function judgedOf({ cells, open, implied }) {
  const judged = `${count(cells - open - implied)} of ${count(cells)} judged`;
  return implied ? `${judged}, ${count(implied)} implied` : judged;
}

export function showProgress(progress) {
  const place = byId("session-progress");
  place.hidden = !progress;
  if (!progress) return;
  const share = progress.needed ? Math.min(1, progress.judged / progress.needed) : 0;
  const fill = el("div", { class: "meter-fill" });
  fill.style.setProperty("--share", String(share));
  const numbers = progress.needed ? `${count(progress.judged)} of ${count(progress.needed)}` : "";
  place.replaceChildren(
    el("span", { text: progress.text }),
    el("div", { class: "meter", "aria-hidden": "true" }, fill),
    el("span", { class: "numbers muted", text: numbers }),
  );
}

/** What a model that learns does now. */
export function showLearning(text) {
  const place = byId("learning");
  place.hidden = !text;
  setText(place, text ? `${text} …` : "");
}

/** Saved, on the way, or in trouble; a banner where the person should know. */
export function showSaving(app) {
  const { outbox } = app.verdicts;
  const { size, trouble } = outbox;
  const failed = app.verdicts.failed.size;
  const state = failed ? "failed" : trouble && size ? "trouble" : size ? "pending" : "saved";
  setAttribute(byId("save-state"), "data-state", state);
  const words = {
    failed: `${count(failed)} not saved`,
    trouble: `${count(size)} unsent`,
    pending: "saving …",
    saved: "all saved",
  };
  setText(byId("save-text"), words[state]);
  const error = trouble ?? app.readTrouble;
  const banner = byId("banner");
  const unsent = size
    ? ` ${many(size, "verdict is", "verdicts are")} not saved yet; they are kept here and will be sent.`
    : "";
  let text = "";
  if (trouble?.replaced) text = replacedText(size);
  else if (error?.refused)
    text = `The server was started again and does not know this window. Open the address that it printed.${unsent}`;
  else if (error?.status) text = `The server has a problem: ${error.message}.${unsent} Trying again …`;
  else if (error) text = `The server cannot be reached.${unsent} Trying again …`;
  else if (failed)
    text = `The server did not take ${many(failed, "verdict")}: ${[...app.verdicts.failed.values()][0].message}`;
  setText(byId("banner-text"), text);
  banner.hidden = !text;
  byId("banner-button").hidden = !error;
  setText(byId("banner-button"), trouble?.replaced ? "Load the new one" : "Try now");
}

function replacedText(size) {
  const kept = size
    ? ` ${many(size, "verdict")} could not be saved, and will be when the old one is opened at this address again.`
    : "";
  return `Another review is running at this address now, so this window shows an old one.${kept}`;
}

let toastTimer = 0;

/** A short notice beside the question, of text and {name}; also said to screen readers. */
export function toast(parts, say) {
  const place = byId("toast");
  place.replaceChildren(...phrase(parts));
  place.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(hideToast, 4500);
  say(place.textContent);
}

export function hideToast() {
  byId("toast").hidden = true;
}
