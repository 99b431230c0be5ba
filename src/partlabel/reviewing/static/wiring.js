// How the parts of the window hear of each other, and of its buttons.

import { byId, keepsFocus, setAttribute } from "./dom.js";
import { showSaving } from "./head.js";
import { listen } from "./keys.js";

const SHOWN = ["open", "all", "present", "absent", "unsure", "implied"];

/** What to show first: what the address says, else the first class with something open; by value, all classes. */
export function firstFilter(session) {
  const given = new URLSearchParams(location.hash.slice(1));
  const { queues, classes } = session;
  const queue = queues.some(({ id }) => id === given.get("queue")) ? given.get("queue") : queues[0]?.id;
  const open = queue === "value" ? { id: "all" } : classes.find(({ open }) => open > 0);
  const first = open ?? classes.find(({ cells }) => cells > 0) ?? classes[0];
  const id = /^\d+$/.test(given.get("class") ?? "") ? Number(given.get("class")) : null;
  const chosen = given.get("class") === "all" ? "all" : session.byId.has(id) ? id : (first?.id ?? "all");
  const show = SHOWN.includes(given.get("show")) ? given.get("show") : "open";
  return { queue, class: chosen, show, search: given.get("search") ?? "" };
}

/** Connect everything. */
export function wire(app) {
  listen((name, extend) => app.act(name, extend));
  hearVerdicts(app);
  pressButtons(app);
  addEventListener("beforeunload", (event) => {
    const { size, trouble } = app.verdicts.outbox;
    if (!size || trouble?.replaced) return;
    event.preventDefault();
    event.returnValue = true;
  });
  document.addEventListener("visibilitychange", () => !document.hidden && app.changes.wake?.());
}

function hearVerdicts(app) {
  const { verdicts } = app;
  verdicts.addEventListener("cells", () => app.refresh());
  verdicts.addEventListener("status", () => showSaving(app));
  verdicts.addEventListener("counted", ({ detail }) => {
    app.session.count(detail);
    app.counts();
    app.changes.recount();
  });
  verdicts.addEventListener("related", ({ detail }) => app.onRelated(detail));
  verdicts.addEventListener("conflict", ({ detail }) => {
    app.say(`Conflict: another verdict on ${app.className(detail % app.classCount)}`);
    app.showConflicts();
  });
}

function pressButtons(app) {
  keepsFocus(document.querySelector(".top"));
  keepsFocus(document.querySelector(".tools"));
  const on = (id, call) => byId(id).addEventListener("click", call);
  const acts = {
    "help-button": "help",
    refresh: "refresh",
    smaller: "smaller",
    larger: "larger",
    "grid-mode": "grid",
    "single-mode": "single",
  };
  for (const [id, name] of Object.entries(acts)) on(id, () => app.act(name));
  on("conflicts-button", () => app.nextConflict());
  on("banner-button", () => {
    if (app.verdicts.outbox.trouble?.replaced) location.reload();
    app.verdicts.outbox.retry();
    app.changes.wake?.();
  });
  on("filters-toggle", () => {
    const open = byId("filters").classList.toggle("open");
    setAttribute(byId("filters-toggle"), "aria-expanded", open ? "true" : "false");
  });
  on("classes-toggle", () => app.toggleSide());
  on("side-shade", () => app.toggleSide(false));
}
