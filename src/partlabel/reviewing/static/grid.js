// The grid: as many rows as fit, and a few more, are real; all others are room to scroll through.

import { el, setAttribute } from "./dom.js";
import { makeTile, retryPicture } from "./tile.js";

export const SIZES = [96, 128, 160, 200, 256, 336];
const CAPTION = 53; // with the line of the probability
const GAP = 12; // between tiles, and around them
const SHAPE = 0.84; // height of a picture by its width, before whole rows are made to fit the screen
const FLATTEST = 0.62;
const STEEPEST = 1.3;
const CUT = 8; // pixels of a tile that may be out of sight while it counts as seen
const SPARE_ROWS = 3;
const TALLEST = 16_000_000; // pixels; taller than this, some browsers lose count
const FAST = 0.75; // screens per frame from which on pictures wait until the scrolling rests
const REST = 90; // milliseconds

export class Grid {
  /**
   * `show(tile, index, wait)` fills a tile, `want(first, last)` loads what will be needed, `onScroll()` hears of moves.
   */
  constructor(scroller, canvas, { show, want, onScroll }) {
    Object.assign(this, { scroller, canvas, show, want, onScroll });
    this.length = 0;
    this.size = 160;
    this.columns = 1;
    this.tileWidth = 160;
    this.frameHeight = 134;
    this.rowsPerScreen = 1;
    this.rows = new Map(); // row number -> element
    this.spare = [];
    this.lastTop = 0;
    this.fast = false;
    this.frame = 0;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(scroller);
  }

  get pitch() {
    return this.frameHeight + CAPTION + GAP;
  }

  get rowCount() {
    return Math.min(Math.ceil(this.length / this.columns), Math.floor(TALLEST / this.pitch));
  }

  /** How many cells can be reached by scrolling. */
  get reachable() {
    return Math.min(this.length, this.rowCount * this.columns);
  }

  /** Another list: from its beginning. */
  setLength(length) {
    this.length = length;
    this.#drop();
    this.layout(0);
  }

  setSize(size, keep) {
    this.size = size;
    this.layout(keep);
  }

  /** Measure and place; what was at the top, or `keep`, is seen afterwards. Whole rows fill the screen, if they can. */
  layout(keep = null) {
    const width = this.scroller.clientWidth - 2 * GAP;
    const room = this.scroller.clientHeight - GAP - 2;
    if (width <= 0 || room <= 0) return;
    const before = `${this.columns} ${this.tileWidth} ${this.frameHeight}`;
    const first = keep ?? this.firstSeen();
    const columns = Math.max(1, Math.floor((width + GAP) / (this.size + GAP)));
    this.tileWidth = Math.floor((width - GAP * (columns - 1)) / columns);
    const rows = Math.max(1, Math.round(room / (SHAPE * this.tileWidth + CAPTION + GAP)));
    const height = Math.floor(room / rows) - CAPTION - GAP;
    this.frameHeight = Math.round(Math.max(FLATTEST * this.tileWidth, Math.min(STEEPEST * this.tileWidth, height)));
    this.rowsPerScreen = Math.max(1, Math.floor((room + CUT) / this.pitch));
    if (columns !== this.columns) this.#drop(true);
    this.columns = columns;
    const { style } = this.canvas;
    // no sliver of a next row below the last whole one
    const rest = this.scroller.clientHeight - GAP - this.rowsPerScreen * this.pitch;
    this.scroller.parentElement.style.setProperty("--rest", rest > 0 && rest <= CUT ? `${rest}px` : "0px");
    style.setProperty("--columns", String(columns));
    style.setProperty("--tile", `${this.tileWidth}px`);
    style.setProperty("--frame", `${this.frameHeight}px`);
    style.height = `${this.rowCount ? GAP + this.rowCount * this.pitch : 0}px`;
    setAttribute(this.scroller, "aria-rowcount", this.rowCount);
    setAttribute(this.scroller, "aria-colcount", columns);
    if (before !== `${this.columns} ${this.tileWidth} ${this.frameHeight}`) {
      for (const [number, row] of this.rows) row.style.top = `${this.#topOf(number)}px`;
      this.scroller.scrollTop = Math.floor(first / columns) * this.pitch;
    } else if (keep === 0) this.scroller.scrollTop = 0;
    this.lastTop = this.scroller.scrollTop;
    this.render(true);
    this.onScroll();
  }

  #topOf(row) {
    return GAP + row * this.pitch;
  }

  #scrolled() {
    const top = this.scroller.scrollTop;
    this.fast = Math.abs(top - this.lastTop) > FAST * this.scroller.clientHeight;
    this.lastTop = top;
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.render(false);
        this.onScroll();
      });
    }
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      if (!this.waiting) return;
      this.fast = false;
      this.render(true);
    }, REST);
  }

  /** Rows that are real now. */
  #window() {
    const top = this.scroller.scrollTop;
    const first = Math.floor(top / this.pitch) - SPARE_ROWS;
    const last = Math.floor((top + this.scroller.clientHeight) / this.pitch) + SPARE_ROWS;
    return [Math.max(0, first), Math.min(this.rowCount - 1, last)];
  }

  /** Bring the real rows to where one looks; `all`: fill those again that are there already. */
  render(all) {
    const [first, last] = this.#window();
    for (const [number, row] of this.rows) {
      if (number >= first && number <= last) continue;
      this.rows.delete(number);
      this.spare.push(row);
    }
    for (let number = first; number <= last; number += 1) {
      let row = this.rows.get(number);
      if (!row) {
        row = this.spare.pop() ?? this.#makeRow();
        row.style.top = `${this.#topOf(number)}px`;
        setAttribute(row, "aria-rowindex", number + 1);
        row.hidden = false;
        this.rows.set(number, row);
        this.#fill(number, row);
      } else if (all) this.#fill(number, row);
    }
    for (const row of this.spare) retire(row);
    while (this.spare.length > 2 * SPARE_ROWS) this.spare.pop().remove();
    this.waiting = this.fast;
    if (!this.fast && last >= first)
      this.want(first * this.columns, Math.min(this.length, (last + 1) * this.columns) - 1);
  }

  #makeRow() {
    const row = el("div", { role: "row", class: "row" });
    for (let column = 0; column < this.columns; column += 1) {
      const tile = makeTile();
      setAttribute(tile, "aria-colindex", column + 1);
      row.append(tile);
    }
    this.canvas.append(row);
    return row;
  }

  #fill(number, row) {
    let index = number * this.columns;
    for (const tile of row.children) {
      tile.hidden = index >= this.length;
      if (!tile.hidden) this.show(tile, index, this.fast);
      index += 1;
    }
  }

  #drop(entirely = false) {
    for (const row of this.rows.values()) {
      retire(row);
      this.spare.push(row);
    }
    this.rows.clear();
    if (entirely) for (const row of this.spare.splice(0)) row.remove();
  }

  /** The tile at a place of the list, if it is real now. */
  tile(index) {
    const row = this.rows.get(Math.floor(index / this.columns));
    return row?.children[index % this.columns] ?? null;
  }

  /** Fill the tiles from `first` to `last` again, those that are real. */
  refresh(first = 0, last = this.length - 1) {
    for (const [number, row] of this.rows) {
      if ((number + 1) * this.columns > first && number * this.columns <= last) this.#fill(number, row);
    }
  }

  retryPictures() {
    for (const row of this.rows.values()) for (const tile of row.children) retryPicture(tile);
  }

  /** The first place whose tile is seen in full. */
  firstSeen() {
    const row = Math.max(0, Math.ceil((this.scroller.scrollTop - GAP - CUT) / this.pitch));
    return Math.min(Math.max(0, this.length - 1), row * this.columns);
  }

  /** First and last place of those whose tile is seen in full; of the first row if none is. */
  seen() {
    if (!this.length) return [0, -1];
    const first = this.firstSeen();
    const row = first / this.columns;
    const last = Math.floor((this.scroller.scrollTop + this.scroller.clientHeight + CUT) / this.pitch);
    return [first, Math.min(this.reachable, Math.floor(Math.max(row + 1, last)) * this.columns) - 1];
  }

  /** Scroll as little as needed to see a place; `turn`: a whole screen, with that place in the first row. */
  reveal(index, turn = false) {
    const row = Math.floor(index / this.columns);
    const { scrollTop, clientHeight } = this.scroller;
    if (row * this.pitch < scrollTop - CUT) this.scroller.scrollTop = row * this.pitch;
    else if ((row + 1) * this.pitch > scrollTop + clientHeight + CUT) {
      this.scroller.scrollTop = (turn ? row : row + 1 - this.rowsPerScreen) * this.pitch;
    } else return;
    this.lastTop = this.scroller.scrollTop;
    this.fast = false;
    this.render(false);
  }
}

/** Out of sight, and without the names by which its tiles are found. */
function retire(row) {
  if (row.hidden) return;
  row.hidden = true;
  for (const tile of row.children) tile.removeAttribute("id");
}
