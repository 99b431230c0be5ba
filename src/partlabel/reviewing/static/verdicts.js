// What the person said about each cell, what the server has of it, and where others said something else.

import { Outbox } from "./outbox.js";

const UNDO_STEPS = 500;
const UNDO_CELLS = 20000; // of the steps that survive a reload

/**
 * Events: "cells" (detail: cells whose look may have changed), "status" (the outbox),
 * "counted" (detail: [cell, from, to]), "conflict" (detail: cell), "related" (detail: cells just given a verdict that
 * another cell contradicts).
 */
export class Verdicts extends EventTarget {
  constructor(client, session) {
    super();
    this.latest = new Map(); // cell -> {verdict, seq, who}: what the server has, newer than what a loaded record says
    this.mine = new Map(); // cell -> verdict that this window gave and the server took
    this.conflicts = new Map(); // cell -> {verdict, seq, who, when, mine}
    this.failed = new Map(); // cell -> {verdict, message}
    this.related = new Map(); // image -> {seq, cells}: what relations say of its cells, newer than the loaded records
    this.session = session;
    this.actionsKey = `partlabel-actions:${session.word}:${client}`;
    this.actions = this.#keptActions();
    this.outbox = new Outbox(client, session);
    this.outbox.onAnswer = (answer) => this.#answered(answer);
    this.outbox.onFailed = (cell, verdict, message) => {
      this.failed.set(cell, { verdict, message });
      this.#changed([cell]);
    };
    this.outbox.onStatus = () => this.dispatchEvent(new Event("status"));
    this.outbox.adopt();
  }

  /**
   * What a tile shows: {verdict, pending, failed, conflict, who, implied, against}. `implied`: what the cell follows
   * from, where it has no verdict; `against`: what contradicts its verdict.
   */
  state(record) {
    const state = this.#given(record);
    const relation = this.#relation(record);
    state.implied = relation?.kind === "implied" && state.verdict === null ? relation : null;
    const stands = !state.pending && !state.conflict && !state.failed;
    state.against = relation?.kind === "against" && state.verdict === relation.state && stands ? relation : null;
    return state;
  }

  /** What relations say of a cell: the newer one of the record and of what was heard since. */
  #relation(record) {
    const heard = this.related.get(Math.floor(record.cell / this.session.classes.length));
    if (heard && heard.seq >= (record.upto ?? -1)) return heard.cells.get(record.cell) ?? null;
    return record.relation ?? null;
  }

  #given(record) {
    const wish = this.outbox.wish(record.cell);
    const conflict = this.conflicts.get(record.cell) ?? null;
    const failed = this.failed.get(record.cell) ?? null;
    const saved = this.saved(record);
    if (wish) return { verdict: wish.verdict, pending: true, failed: null, conflict: null, who: null };
    if (conflict) return { verdict: conflict.mine, pending: false, failed: null, conflict, who: conflict.who };
    if (failed) return { verdict: failed.verdict, pending: false, failed: failed.message, conflict: null, who: null };
    return { verdict: saved.verdict, pending: false, failed: null, conflict: null, who: saved.who ?? null };
  }

  /** What the server has: the newer one of the record and of what was heard since. */
  saved(record) {
    const heard = this.latest.get(record.cell);
    return heard && heard.seq >= (record.seq ?? -1) ? heard : record;
  }

  /** How a cell stands among those that are asked: its verdict, "implied", or null while it is open. */
  standing(record) {
    const { verdict, implied } = this.state(record);
    return verdict ?? (implied ? "implied" : null);
  }

  /** Give verdicts: `pairs` of [record, verdict] (null: none) are one action, which one undo takes back. */
  give(pairs) {
    const action = [];
    for (const [record, verdict] of pairs) {
      const before = this.conflicts.get(record.cell)?.verdict ?? this.state(record).verdict;
      const from = before ?? this.standing(record);
      action.push({ cell: record.cell, before, after: verdict, from });
      this.#wish(record, verdict);
    }
    if (!action.length) return [];
    this.actions.push(action.map(({ cell, before, after }) => ({ cell, before, after })));
    if (this.actions.length > UNDO_STEPS) this.actions.shift();
    this.#keepActions();
    this.#counted(action.map(({ cell, from, after }) => [cell, from, after]));
    this.#changed(action.map(({ cell }) => cell));
    this.outbox.send();
    return action;
  }

  /** Take the last action back. Returns its cells, or null where there is none. */
  undo() {
    const action = this.actions.pop();
    if (!action) return null;
    this.#keepActions();
    for (const { cell, before } of action) this.#wish({ cell, seq: null, verdict: null }, before);
    this.#counted(action.map(({ cell, before, after }) => [cell, after, before]));
    this.#changed(action.map(({ cell }) => cell));
    this.outbox.send();
    return action.map(({ cell }) => cell);
  }

  /** The actions of this window before it was loaded again. */
  #keptActions() {
    try {
      return JSON.parse(sessionStorage.getItem(this.actionsKey) ?? "[]");
    } catch {
      return []; // storage is forbidden
    }
  }

  /** Keep the last actions in this window; a copy of it has another name, and so none of them. */
  #keepActions() {
    let [start, cells] = [this.actions.length, 0];
    while (start && (cells += this.actions[start - 1].length) <= UNDO_CELLS) start -= 1;
    try {
      sessionStorage.setItem(this.actionsKey, JSON.stringify(this.actions.slice(start)));
    } catch {
      // storage is full or forbidden: the window still holds them
    }
  }

  #wish(record, verdict) {
    const conflict = this.conflicts.get(record.cell);
    const seen = conflict ? conflict.seq : (this.saved(record).seq ?? null);
    this.conflicts.delete(record.cell);
    this.failed.delete(record.cell);
    this.outbox.put(record.cell, verdict, seen, Boolean(conflict));
  }

  /** In a conflict: the other verdict stands. */
  keepTheirs(cell) {
    const conflict = this.conflicts.get(cell);
    if (!conflict) return;
    this.conflicts.delete(cell);
    this.mine.delete(cell);
    this.latest.set(cell, conflict);
    this.#counted([[cell, conflict.mine, conflict.verdict]]);
    this.#changed([cell]);
  }

  /** In a conflict: mine is sent again, over theirs. */
  keepMine(cell) {
    const conflict = this.conflicts.get(cell);
    if (conflict) this.give([[{ cell, verdict: null, seq: null }, conflict.mine]]);
  }

  /** Verdicts of others, as the server tells them. */
  heard(changes) {
    const cells = [];
    for (const change of changes) {
      const { cell, seq, who } = change;
      const verdict = plain(change.verdict);
      if ((this.latest.get(cell)?.seq ?? -1) >= seq) continue;
      const mine = this.mine.get(cell);
      this.latest.set(cell, { verdict, seq, who });
      if (this.outbox.wish(cell)) continue; // the server will say whether it is a conflict
      if (mine !== undefined && mine !== verdict) this.#conflict(cell, { verdict, seq, who, when: null, mine });
      else if (this.conflicts.has(cell)) this.#conflict(cell, { ...this.conflicts.get(cell), verdict, seq, who });
      cells.push(cell);
    }
    if (cells.length) this.#changed(cells);
  }

  #conflict(cell, conflict) {
    if (conflict.mine === conflict.verdict) {
      this.conflicts.delete(cell);
      return;
    }
    this.conflicts.set(cell, conflict);
    this.dispatchEvent(new CustomEvent("conflict", { detail: cell }));
  }

  /** What relations say of some images, as the server tells it. */
  hearRelated(images) {
    for (const { image, seq, cells } of images) {
      if ((this.related.get(image)?.seq ?? -1) > seq) continue;
      this.related.set(image, { seq, cells: new Map(cells.map((relation) => [relation.cell, relation])) });
    }
  }

  #answered({ accepted, conflicts, related, sent }) {
    this.hearRelated(related);
    for (const { cell, verdict, seq } of accepted) {
      const saved = plain(verdict);
      const heard = this.latest.get(cell);
      this.mine.set(cell, saved);
      if (!heard || heard.seq < seq) this.latest.set(cell, { verdict: saved, seq, who: null });
      else if (heard.seq > seq && heard.verdict !== saved) this.#conflict(cell, { ...heard, mine: saved });
    }
    for (const { cell, verdict, seq, who, when } of conflicts) {
      const theirs = plain(verdict);
      if (!((this.latest.get(cell)?.seq ?? -1) > seq)) this.latest.set(cell, { verdict: theirs, seq, who });
      if (!this.outbox.wish(cell))
        this.#conflict(cell, { verdict: theirs, seq, who, when, mine: sent.get(cell) ?? null });
    }
    this.#changed([...accepted, ...conflicts].map(({ cell }) => cell));
    const contradicted = accepted.map(({ cell }) => cell).filter((cell) => this.againstOf(cell));
    if (related.length) this.dispatchEvent(new CustomEvent("related", { detail: contradicted }));
  }

  /** What contradicts the verdict of a cell that may not be loaded. */
  againstOf(cell) {
    return this.state({ cell, verdict: null, seq: null }).against;
  }

  #changed(cells) {
    this.dispatchEvent(new CustomEvent("cells", { detail: cells }));
  }

  #counted(steps) {
    this.dispatchEvent(new CustomEvent("counted", { detail: steps.filter(([, from, to]) => from !== to) }));
  }
}

/** The server says "none" for a verdict taken back; here that is null. */
const plain = (verdict) => (verdict === "none" || verdict === undefined ? null : verdict);
