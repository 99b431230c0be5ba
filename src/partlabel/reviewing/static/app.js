// One window of a review: its parts, what they tell each other, and what each key does.

import { actions } from "./actions.js";
import { buildBar, showBar } from "./bar.js";
import { Changes } from "./changes.js";
import { byId, setAttribute, setText } from "./dom.js";
import { GridView } from "./gridview.js";
import {
  againstParts,
  buildFilters,
  hideToast,
  showCounts,
  showFilters,
  showProgress,
  showQuestion,
  showSaving,
  toast,
} from "./head.js";
import { Side } from "./side.js";
import { SingleView } from "./single.js";
import { showEmpty, showLoading, showTrouble } from "./states.js";
import { Verdicts } from "./verdicts.js";
import { firstFilter, wire } from "./wiring.js";
import { count, many } from "./words.js";

export class App {
  constructor(session, client) {
    Object.assign(this, { session, client, mode: "grid", readTrouble: null });
    this.classCount = session.classes.length;
    this.filter = firstFilter(session);
    this.verdicts = new Verdicts(client, session);
    this.gridView = new GridView(this);
    this.side = new Side(session, (id) => this.chooseClass(id));
    this.single = new SingleView(this);
    this.actions = actions(this);
    this.onMoved = debounceFrame(() => this.#moved());
    this.changes = new Changes(this);
  }

  async start() {
    const { session } = this;
    document.title = `${session.title} · partlabel review`;
    setText(byId("title"), session.title);
    byId("title").title = session.title;
    buildFilters(this, (part, focus = true) => this.setFilter(part, focus));
    buildBar(this);
    wire(this);
    showProgress(session.progress);
    showSaving(this);
    this.counts();
    this.showConflicts();
    byId("app").classList.add("ready");
    this.changes.poll(session.seq);
    await this.load();
    this.focusView();
  }

  toggleSide(open = !byId("classes").classList.contains("open")) {
    byId("classes").classList.toggle("open", open);
    byId("side-shade").hidden = !open;
    setAttribute(byId("classes-toggle"), "aria-expanded", open ? "true" : "false");
    if (open) this.side.scroller.focus();
  }

  act(name, extend = false) {
    this.actions[name]?.(extend);
  }

  className(id) {
    return this.session.byId.get(id)?.name ?? "";
  }

  thumbSize(width) {
    const pixels = width * Math.min(2, devicePixelRatio || 1);
    return pixels <= 200 ? 160 : pixels <= 400 ? 320 : 640;
  }

  /** Whether the list asks for presence, for absence, or for both; judged by what is loaded of it. */
  kindsAsked() {
    const kinds = new Set();
    const [first, last] = this.gridView.grid.seen();
    for (let index = first; index <= last; index += 1) {
      const record = this.gridView.records.at(index);
      if (record) kinds.add(record.suggests ?? "present");
    }
    return kinds.size > 1 ? "mixed" : ([...kinds][0] ?? "present");
  }

  /** Another order: from its beginning where there is a better one, else with the same tile in view. */
  reload() {
    const { active, records } = this.gridView;
    return this.load(this.mode === "grid" && this.changes.isNewer ? null : (records.ids[active] ?? null));
  }

  setFilter(part, focus = true) {
    this.filter = { ...this.filter, ...part };
    if (focus) this.focusView();
    return this.load();
  }

  chooseClass(id) {
    this.toggleSide(false);
    return this.setFilter({ class: id });
  }

  /** Ask for the order of the filter; the only thing that changes which pictures stand where. */
  async load(cell = null) {
    const { filter } = this;
    hideToast();
    history.replaceState(
      null,
      "",
      `#${new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== ""))}`,
    );
    showFilters(filter);
    this.side.select(filter.class);
    this.counts();
    const slow = setTimeout(() => showLoading(this), 250);
    try {
      if (!(await this.gridView.open(filter, cell))) return;
      this.failed = false;
      this.onReadTrouble(null);
      if (this.gridView.length) byId("state").hidden = true;
      else showEmpty(this);
      if (this.mode === "single") this.#openSingle();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === undefined) throw error;
      this.failed = true;
      this.onReadTrouble(error);
      showTrouble(this, error);
    } finally {
      clearTimeout(slow);
      this.changes.newer();
      this.onMoved();
    }
  }

  setMode(mode) {
    if (mode === this.mode || (mode === "single" && !this.gridView.length)) return;
    this.mode = mode;
    byId("app").dataset.mode = mode;
    byId("grid-view").hidden = mode !== "grid";
    byId("single-view").hidden = mode !== "single";
    setAttribute(byId("grid-mode"), "aria-pressed", mode === "grid" ? "true" : "false");
    setAttribute(byId("single-mode"), "aria-pressed", mode === "single" ? "true" : "false");
    if (mode === "single") this.#openSingle();
    else {
      this.gridView.grid.layout();
      this.#backToGrid();
    }
    this.focusView();
    this.onMoved();
  }

  #openSingle() {
    if (!this.gridView.length) return this.setMode("grid");
    const cell = this.gridView.records.ids[this.gridView.active];
    this.single.evidence = this.gridView.evidence || this.single.evidence;
    return this.single.open(Math.floor(cell / this.classCount), cell);
  }

  #backToGrid() {
    const { image } = this.single;
    const { ids } = this.gridView.records;
    const own = this.single.activeRecord()?.cell;
    let place = own === undefined ? -1 : ids.indexOf(own);
    if (place < 0) place = ids.findIndex((cell) => Math.floor(cell / this.classCount) === image);
    this.gridView.goTo(Math.max(0, place));
  }

  showImage(image) {
    const { ids } = this.gridView.records;
    const cell = ids.find((id) => Math.floor(id / this.classCount) === image);
    return this.single.open(image, cell ?? null);
  }

  focusView() {
    if (this.mode === "single") this.single.focus();
    else this.gridView.focus();
  }

  activeRecord() {
    return this.mode === "grid" ? this.gridView.activeRecord() : this.single.activeRecord();
  }

  /** To the next cell with a verdict that another one, or a known cell, contradicts. */
  async nextConflict() {
    const cells = [...this.verdicts.conflicts.keys(), ...this.session.contradictions];
    const cell = cells[(cells.indexOf(this.activeRecord()?.cell) + 1) % cells.length];
    if (cell === undefined) return;
    if (this.mode === "grid" && this.gridView.goToCell([cell])) {
      this.focusView();
      return;
    }
    await this.setFilter({ class: cell % this.classCount, show: "all", search: "" });
    if (this.gridView.goToCell([cell])) return;
    this.setMode("single"); // it is not among the cells that are asked
    if (this.mode === "single") this.single.open(Math.floor(cell / this.classCount), cell);
  }

  /** The server has told what follows from verdicts, and which of those just given are contradicted. */
  onRelated(contradicted) {
    if (contradicted.length) {
      const against = this.verdicts.againstOf(contradicted[0]);
      const more = contradicted.length > 1 ? ` and ${many(contradicted.length - 1, "more verdict")}` : "";
      this.toast(...againstParts(this, contradicted[0], against), more ? `${more} contradicted` : "");
    }
    (this.mode === "grid" ? this.gridView.judging : this.single).passSettled();
    this.changes.recount();
  }

  settle(side) {
    const record = this.activeRecord();
    if (!record || !this.verdicts.conflicts.has(record.cell)) return;
    if (side === "theirs") this.verdicts.keepTheirs(record.cell);
    else this.verdicts.keepMine(record.cell);
    this.say(side === "theirs" ? "kept theirs" : "kept yours");
    this.focusView();
  }

  /** Say something to screen readers; the same words twice are said twice. */
  say(text) {
    const live = byId("live");
    setText(live, live.textContent === text ? `${text}\u00a0` : text);
  }

  /** A notice of text and {name}. */
  toast(...parts) {
    toast(parts, (words) => this.say(words));
  }

  #moved() {
    this.gridView.point();
    showQuestion(this, this.activeRecord());
    showBar(this);
  }

  refresh() {
    this.gridView.grid.refresh();
    this.single.refresh();
    this.showConflicts();
    this.onMoved();
  }

  showConflicts() {
    const { size } = this.verdicts.conflicts;
    const against = this.session.contradictions.length;
    byId("conflicts-button").hidden = size + against === 0;
    setText(byId("conflicts-button"), size ? many(size, "conflict") : many(against, "contradiction"));
  }

  counts() {
    showCounts(this);
    this.side.render();
  }

  /** No open tile comes after the one judged. */
  onListEnd(open) {
    const all = this.filter.class === "all" ? "this list" : { name: this.className(this.filter.class) };
    const { grid, total } = this.gridView;
    if (grid.reachable < total) this.toast("The end of what fits into one list; press r for what comes after.");
    else if (open) this.toast(`The end of the list; ${count(open)} above ${open === 1 ? "is" : "are"} still open.`);
    else this.toast("All of ", all, " judged · n: next class");
    if (!open) this.gridView.grid.refresh();
  }

  /** Reading failed, or works (null). */
  onReadTrouble(error) {
    if (error?.replaced) {
      this.verdicts.outbox.stop(error);
      return;
    }
    if (error) this.session.doubted = true;
    const before = this.readTrouble;
    this.readTrouble = error;
    if (before !== error) showSaving(this);
    if (before && !error) {
      this.gridView.grid.retryPictures();
      this.verdicts.outbox.retry();
      if (this.failed) this.load();
    }
  }
}

/** Call at most once per frame. */
function debounceFrame(call) {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      call();
    });
  };
}
