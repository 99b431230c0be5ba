// What a verdict does in the grid: on one tile, on a range, on all that is seen.

import { count, many, VERDICTS } from "./words.js";

const LARGEST_ACTION = 2000;

export class Judging {
  constructor(view) {
    this.view = view;
    this.app = view.app;
  }

  /** Give a verdict on what is chosen, and go to the next open tile. */
  async judge(verdict) {
    if (!this.view.length || this.loading) return;
    const [first, last] = this.view.range();
    if (last - first >= LARGEST_ACTION) {
      this.app.toast(`A range may hold ${count(LARGEST_ACTION)} pictures; this one holds ${count(last - first + 1)}.`);
      return;
    }
    const { ids } = this.view.records;
    this.loading = true;
    await this.#whole(first, last);
    this.loading = false;
    if (ids !== this.view.records.ids) return;
    const pairs = [];
    for (let index = first; index <= last; index += 1) {
      const record = this.view.records.at(index);
      if (record) pairs.push([record, verdict]);
    }
    if (!pairs.length) {
      this.app.toast("Still loading; try again in a moment.");
      return;
    }
    for (const [record] of pairs) this.view.marks.delete(record.cell);
    this.app.verdicts.give(pairs);
    this.#after(pairs, first, last);
  }

  async #whole(first, last) {
    for (let index = first; index <= last; index += 1) {
      if (this.view.records.at(index) || this.view.records.missing(index)) continue;
      this.app.toast("Loading the range …");
      try {
        await this.view.records.whole(first, last);
      } catch (error) {
        this.app.onReadTrouble(error);
      }
      return;
    }
  }

  #after(pairs, first, last) {
    const next = this.nextOpen(last);
    const sums = VERDICTS.map((verdict) => [verdict, pairs.filter(([, given]) => given === verdict).length]).filter(
      ([, sum]) => sum,
    );
    if (pairs.length > 1) {
      this.app.toast(`${sums.map(([verdict, sum]) => `${count(sum)} ${verdict}`).join(", ")} · z takes it back`);
    } else {
      const [[record, verdict]] = pairs;
      this.app.say(`${this.app.className(record.class)} ${verdict}, ${record.name}`);
    }
    this.#on(next, first === last ? this.view.active : last);
  }

  #on(next, otherwise) {
    this.arrived = next; // not by the person's own step
    if (next !== null) this.view.goTo(next, false, true, true);
    else {
      this.view.goTo(otherwise);
      this.app.onListEnd(this.openCount());
    }
  }

  /** Go on where the tile that came next follows from the verdict just given. */
  passSettled() {
    const { active } = this.view;
    const record = this.view.activeRecord();
    if (this.arrived !== active || !record || !this.app.verdicts.state(record).implied) return;
    this.#on(this.nextOpen(active), active);
  }

  /** How many loaded tiles of the list are open still. */
  openCount() {
    let open = 0;
    for (let index = 0; index < this.view.length && open < 1000; index += 1) if (this.#isOpen(index)) open += 1;
    return open;
  }

  #isOpen(index) {
    if (this.view.records.missing(index)) return false;
    const record = this.view.records.at(index) ?? { cell: this.view.records.ids[index], verdict: null, seq: null };
    return this.app.verdicts.standing(record) === null;
  }

  /** The next open place after one, null if there is none. */
  nextOpen(from) {
    for (let index = from + 1; index < this.view.grid.reachable; index += 1) if (this.#isOpen(index)) return index;
    return null;
  }

  skip() {
    const [, last] = this.view.range();
    const next = this.nextOpen(last);
    if (next !== null) this.view.goTo(next, false, true, true);
    else this.app.onListEnd(this.openCount());
  }

  mark() {
    const [first, last] = this.view.range();
    const cells = Array.from(this.view.records.ids.subarray(first, last + 1));
    const all = cells.every((cell) => this.view.marks.has(cell));
    for (const cell of cells) {
      if (all) this.view.marks.delete(cell);
      else this.view.marks.add(cell);
    }
    this.view.grid.refresh(first, last);
    this.app.say(all ? "mark removed" : many(cells.length, "exception marked", "exceptions marked"));
    this.app.onMoved();
  }

  /** Leave the range; without one, take the marks away. */
  clear() {
    if (this.view.anchor === null) this.view.marks.clear();
    this.view.anchor = null;
    this.view.grid.refresh();
    this.app.onMoved();
  }

  /**
   * What Shift+Enter would do: pairs of [record, verdict], or null while something on the screen is not loaded. Only
   * what is suggested can be right.
   */
  allSeen() {
    const [first, last] = this.view.grid.seen();
    const pairs = [];
    for (let index = first; index <= last; index += 1) {
      const record = this.view.records.at(index);
      if (!record) {
        if (this.view.records.missing(index)) continue;
        return null;
      }
      const right = record.suggests;
      if (!right) continue;
      const wrong = right === "present" ? "absent" : "present";
      const state = this.app.verdicts.state(record);
      if (this.view.marks.has(record.cell)) pairs.push([record, wrong]);
      else if (state.verdict === null && !state.conflict && !state.implied) pairs.push([record, right]);
    }
    return pairs;
  }

  #whyNone() {
    const { grid, records } = this.view;
    const [first, last] = grid.seen();
    for (let index = first; index <= last; index += 1)
      if (records.at(index)?.suggests) return "No suggestion on this screen is open.";
    return "Nothing is suggested here; judge pictures, or a range of them (Shift and arrows).";
  }

  judgeAllSeen() {
    const pairs = this.allSeen();
    if (pairs === null) this.app.toast("Still loading; try again in a moment.");
    else if (!pairs.length) this.app.toast(this.#whyNone());
    else {
      const [first, last] = this.view.grid.seen();
      for (const [record] of pairs) this.view.marks.delete(record.cell);
      this.app.verdicts.give(pairs);
      this.view.anchor = null;
      this.#after(pairs, first, last);
    }
  }
}
