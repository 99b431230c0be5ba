// The grid as a place to judge: where one is, what is chosen and marked, and what a verdict does.

import { byId, setAttribute } from "./dom.js";
import { Grid, SIZES } from "./grid.js";
import { Judging } from "./judging.js";
import { fetchOrder, Records } from "./records.js";
import { fillTile } from "./tile.js";

export class GridView {
  constructor(app) {
    this.app = app;
    this.records = new Records(
      (first, last) => this.#loaded(first, last),
      (error) => app.onReadTrouble(error),
    );
    this.grid = new Grid(byId("scroller"), byId("canvas"), {
      show: (tile, index, wait) => this.#show(tile, index, wait),
      want: (first, last) => this.records.want(first, last),
      onScroll: () => app.onMoved(),
    });
    this.active = 0;
    this.anchor = null; // the other end of a range
    this.marks = new Set(); // cells
    this.evidence = false;
    this.revision = null;
    this.total = 0;
    this.grid.size = Number(localStorage.getItem("partlabel-size")) || (innerWidth < 600 ? 128 : 200);
    this.judging = new Judging(this);
    this.#listen();
  }

  #listen() {
    const { scroller } = this.grid;
    scroller.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (!tile) return;
      const quick = event.target.closest("button");
      if (quick) {
        this.goTo(tile.place, false, false);
        this.judging.judge(quick.dataset.verdict);
      } else this.goTo(tile.place, event.shiftKey);
      scroller.focus({ preventScroll: true });
    });
    scroller.addEventListener("dblclick", (event) => {
      if (event.target.closest(".tile") && !event.target.closest("button")) this.app.setMode("single");
    });
    scroller.addEventListener("mousedown", (event) => {
      if (event.shiftKey || event.target.closest("button")) event.preventDefault(); // chooses tiles, not text
    });
  }

  /** Ask for an order and show it from its beginning, or with `cell` in view. */
  async open(filter, cell = null) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const order = await fetchOrder(filter, request.signal);
    if (request !== this.request) return false;
    this.revision = order.revision;
    this.total = order.total;
    this.imageOrder = null;
    this.marks.clear();
    this.anchor = null;
    this.active = 0;
    this.records.set(order.ids, filter.queue);
    this.grid.setLength(order.ids.length);
    const place = cell === null ? -1 : order.ids.indexOf(cell);
    if (place >= 0) this.goTo(place);
    this.point();
    return true;
  }

  get length() {
    return this.records.length;
  }

  activeRecord() {
    return this.length ? this.records.at(this.active) : null;
  }

  /** First and last place that a verdict is for. */
  range() {
    if (this.anchor === null) return [this.active, this.active];
    return [Math.min(this.anchor, this.active), Math.max(this.anchor, this.active)];
  }

  #show(tile, index, wait) {
    const { app } = this;
    const cell = this.records.ids[index];
    const record = this.records.at(index);
    const [first, last] = this.range();
    const state = record ? app.verdicts.state(record) : null;
    fillTile(tile, {
      index,
      cell,
      record,
      wait,
      image: Math.floor(cell / app.classCount),
      state,
      otherName: app.className((state?.implied ?? state?.against)?.class),
      missing: this.records.missing(index),
      className: app.className(cell % app.classCount),
      showClass: app.filter.class === "all",
      active: index === this.active,
      chosen: this.anchor !== null && index >= first && index <= last,
      marked: this.marks.has(cell),
      evidence: this.evidence && index === this.active,
      size: app.thumbSize(this.grid.tileWidth),
      me: app.session.who,
    });
  }

  #loaded(first, last) {
    this.grid.refresh(first, last);
    this.app.onMoved();
  }

  /** Move to a place; `extend` keeps the other end of the range where it is. */
  goTo(index, extend = false, scroll = true, turn = false) {
    if (!this.length) return;
    const [first, last] = this.range();
    const before = this.active;
    if (extend) this.anchor ??= this.active;
    else this.anchor = null;
    this.active = Math.max(0, Math.min(this.grid.reachable - 1, index));
    if (scroll) this.grid.reveal(this.active, turn);
    const touched = [first, last, before, this.active, ...this.range()];
    this.grid.refresh(Math.min(...touched), Math.max(...touched));
    this.point();
    this.app.onMoved();
  }

  /** Tell screen readers which tile has the focus, as long as it is a real one. */
  point() {
    const real = this.length && this.grid.tile(this.active);
    setAttribute(this.grid.scroller, "aria-activedescendant", real ? `tile-${this.active}` : null);
  }

  move(columns, rows, extend = false) {
    const next = this.active + columns + rows * this.grid.columns;
    if (rows && (next < 0 || next >= this.grid.reachable)) {
      if (rows > 0 && Math.floor(this.active / this.grid.columns) < this.grid.rowCount - 1)
        this.goTo(this.grid.reachable - 1, extend);
      return;
    }
    this.goTo(next, extend);
  }

  page(direction, extend = false) {
    const { grid } = this;
    const next = this.active + direction * grid.rowsPerScreen * grid.columns;
    const place = Math.max(0, Math.min(grid.reachable - 1, next));
    this.goTo(place, extend, true, direction > 0);
  }

  /** Go to the first of some cells that is in the list. */
  goToCell(cells) {
    const wanted = new Set(cells);
    const place = this.records.ids.findIndex((cell) => wanted.has(cell));
    if (place >= 0) this.goTo(place);
    return place >= 0;
  }

  /** The images of the list, each once, in its order. */
  images() {
    if (!this.imageOrder) {
      const { classCount } = this.app;
      this.imageOrder = [...new Set(Array.from(this.records.ids, (cell) => Math.floor(cell / classCount)))];
    }
    return this.imageOrder;
  }

  resize(step) {
    const place = SIZES.indexOf(
      SIZES.reduce((best, size) => (Math.abs(size - this.grid.size) < Math.abs(best - this.grid.size) ? size : best)),
    );
    const size = SIZES[Math.max(0, Math.min(SIZES.length - 1, place + step))];
    localStorage.setItem("partlabel-size", String(size));
    this.grid.setSize(size, this.active);
    this.grid.reveal(this.active);
    this.point();
    this.app.say(`thumbnails ${size} pixels`);
  }

  toggleEvidence(on = !this.evidence) {
    this.evidence = on;
    this.grid.refresh(this.active, this.active);
  }

  focus() {
    this.grid.scroller.focus({ preventScroll: true });
  }
}
