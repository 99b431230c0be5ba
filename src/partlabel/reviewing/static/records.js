// The cells of the list on the screen: all ids at once, details in pages around what is looked at.

import { get } from "./api.js";

export const PAGE = 120;
const PAGES_KEPT = 24;

/** An order as the server gave it: ids stand where they stand until another order is asked for. */
export async function fetchOrder(filter, signal) {
  const { queue, show, search } = filter;
  const answer = await get("/api/order", { queue, class: filter.class, show, search }, signal);
  return { ids: Float64Array.from(answer.cells), total: answer.total, revision: answer.revision };
}

export class Records {
  constructor(onLoad, onTrouble) {
    this.onLoad = onLoad;
    this.onTrouble = onTrouble;
    this.set(new Float64Array(0), null);
  }

  set(ids, queue) {
    for (const request of this.requests?.values() ?? []) request.abort();
    this.ids = ids;
    this.queue = queue;
    this.pages = new Map(); // page number -> Map of cell -> record
    this.requests = new Map();
    this.range = [0, -1];
  }

  get length() {
    return this.ids.length;
  }

  /** The record at a place of the list, null while it is not loaded. */
  at(index) {
    const page = this.pages.get(Math.floor(index / PAGE));
    return page?.get(this.ids[index]) ?? null;
  }

  /** Whether the server said that it knows no such cell. */
  missing(index) {
    const page = this.pages.get(Math.floor(index / PAGE));
    return page !== undefined && !page.has(this.ids[index]);
  }

  /** Load what stands from `first` to `last`, and a page on both sides; forget what is far away. */
  want(first, last) {
    if (!this.length) return;
    const from = Math.max(0, Math.floor(first / PAGE) - 1);
    const to = Math.min(Math.floor((this.length - 1) / PAGE), Math.floor(last / PAGE) + 1);
    this.range = [from, to];
    for (const [page, request] of this.requests) {
      if (page >= from && page <= to) continue;
      this.requests.delete(page);
      request.abort();
    }
    const middle = Math.floor((first + last) / 2 / PAGE);
    const pages = Array.from({ length: to - from + 1 }, (_, index) => from + index);
    pages.sort((one, other) => Math.abs(one - middle) - Math.abs(other - middle));
    for (const page of pages) if (!this.pages.has(page) && !this.requests.has(page)) this.#load(page);
    this.#forget(middle);
  }

  /** Everything from `first` to `last` is loaded; resolves when it is. */
  async whole(first, last) {
    const from = Math.floor(first / PAGE);
    const to = Math.floor(last / PAGE);
    for (let page = from; page <= to; page += 1) {
      if (!this.pages.has(page)) await this.#fetch(page, undefined);
    }
  }

  async #load(page) {
    const request = new AbortController();
    const { ids } = this;
    this.requests.set(page, request);
    try {
      await this.#fetch(page, request.signal);
    } catch (error) {
      if (error.name === "AbortError" || this.ids !== ids) return;
      this.onTrouble(error);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const [from, to] = this.range;
      if (this.ids === ids && this.requests.get(page) === request && page >= from && page <= to) this.#load(page);
      return;
    }
    if (this.requests.get(page) === request) this.requests.delete(page);
  }

  async #fetch(page, signal) {
    const { ids } = this;
    const cells = Array.from(ids.subarray(page * PAGE, (page + 1) * PAGE));
    const answer = await get("/api/cells", { queue: this.queue, ids: cells.join(",") }, signal);
    if (this.ids !== ids) return;
    this.pages.set(page, new Map(answer.cells.map((record) => [record.cell, { ...record, upto: answer.seq }])));
    this.onTrouble(null);
    this.onLoad(page * PAGE, page * PAGE + cells.length - 1);
  }

  #forget(middle) {
    if (this.pages.size <= PAGES_KEPT) return;
    const far = [...this.pages.keys()].sort((one, other) => Math.abs(other - middle) - Math.abs(one - middle));
    for (const page of far.slice(0, this.pages.size - PAGES_KEPT)) this.pages.delete(page);
  }
}
