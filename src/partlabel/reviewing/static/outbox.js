// Verdicts on their way: nothing leaves here before the server said that it is written down.

import { post } from "./api.js";

const BATCH = 500;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;

export class Outbox {
  constructor(client, session) {
    this.client = client;
    this.session = session;
    this.storageKey = `partlabel-unsent:${session.word}`;
    this.waiting = new Map(); // cell -> {verdict, seen, force}, in the order of sending
    this.flying = new Map();
    this.trouble = null; // the error of the last try
    this.wait = 0;
    this.busy = false;
    this.onAnswer = this.onFailed = this.onStatus = () => {};
  }

  /** What is not acknowledged yet on a cell. */
  wish(cell) {
    return this.waiting.get(cell) ?? this.flying.get(cell) ?? null;
  }

  /** How many cells are not acknowledged. */
  get size() {
    let size = this.waiting.size;
    for (const cell of this.flying.keys()) if (!this.waiting.has(cell)) size += 1;
    return size;
  }

  put(cell, verdict, seen, force) {
    const before = this.waiting.get(cell);
    this.waiting.delete(cell);
    this.waiting.set(cell, { verdict, seen: before ? before.seen : seen, force: force || (before?.force ?? false) });
  }

  /** Send what waits, now. */
  send() {
    this.#keep();
    this.onStatus();
    if (!this.busy) this.#pump();
  }

  /** Try again at once, after a failure. */
  retry() {
    this.wake?.();
  }

  async #pump() {
    this.busy = true;
    await Promise.resolve(); // what is given in the same moment goes together
    let batch = BATCH;
    while (this.waiting.size && !this.trouble?.replaced) {
      this.flying = new Map([...this.waiting].slice(0, batch));
      for (const cell of this.flying.keys()) this.waiting.delete(cell);
      let answer;
      try {
        await this.session.sure();
        answer = await post("/api/verdicts", this.#body());
      } catch (error) {
        if (error.replaced)
          this.stop(error); // the numbers of these cells mean others there
        else if (error.transient || error.refused) await this.#later(error);
        else if (this.flying.size > 1) {
          this.#takeBack();
          batch = 1; // one of them is not taken: find out which
        } else this.#refuse(error);
        continue;
      }
      batch = Math.min(BATCH, 2 * batch);
      this.#landed(answer);
    }
    this.busy = Boolean(this.trouble?.replaced);
    this.onStatus();
  }

  /** Send no more; what waits stays in the browser, for when its review is opened at this address again. */
  stop(error) {
    this.#takeBack();
    this.busy = true;
    this.trouble = error;
    this.onStatus();
  }

  #body() {
    const verdicts = [...this.flying].map(([cell, { verdict, seen, force }]) => ({
      cell,
      verdict: verdict ?? "none",
      seen,
      force,
    }));
    return { client: this.client, subject: this.session.subject, verdicts };
  }

  #landed(answer) {
    const sent = new Map([...this.flying].map(([cell, { verdict }]) => [cell, verdict]));
    this.flying = new Map();
    if (!this.trouble?.replaced) this.trouble = null;
    this.wait = 0;
    this.#keep();
    const { accepted = [], conflicts = [], related = [] } = answer;
    this.onAnswer({ accepted, conflicts, related, sent });
    this.onStatus();
  }

  #refuse(error) {
    const [[cell, { verdict }]] = this.flying;
    this.flying = new Map();
    this.#keep();
    this.onFailed(cell, verdict, error.message);
    this.onStatus();
  }

  /** What flew waits again, before what came later; a later verdict on the same cell replaces it. */
  #takeBack() {
    const later = this.waiting;
    this.waiting = new Map([...this.flying].filter(([cell]) => !later.has(cell)));
    for (const [cell, wish] of later) this.waiting.set(cell, wish);
    this.flying = new Map();
  }

  async #later(error) {
    this.#takeBack();
    this.session.doubted = true;
    this.trouble = error;
    this.wait = Math.min(this.wait ? 2 * this.wait : FIRST_WAIT, LONGEST_WAIT);
    this.onStatus();
    await new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, this.wait);
    });
    this.wake = null;
  }

  /** Keep what is not acknowledged in the browser, for the case that the window closes. */
  #keep() {
    const key = `${this.storageKey}:${this.client}`;
    try {
      const unsent = new Map([...this.flying, ...this.waiting]);
      if (!unsent.size) localStorage.removeItem(key);
      else
        localStorage.setItem(key, JSON.stringify([...unsent].map(([cell, wish]) => [cell, wish.verdict, wish.seen])));
    } catch {
      // storage is full or forbidden: the window still holds them, and warns before it closes
    }
  }

  /** Take over what windows that are gone could not send. Returns nothing; what is found is sent. */
  async adopt() {
    const found = Object.keys(localStorage).filter((key) => key.startsWith(`${this.storageKey}:`));
    for (const key of found) {
      const client = key.slice(this.storageKey.length + 1);
      if (client !== this.client && !(await isGone(client))) continue;
      try {
        for (const [cell, verdict, seen] of JSON.parse(localStorage.getItem(key) ?? "[]")) {
          if (!this.wish(cell)) this.put(cell, verdict, seen, false);
        }
      } catch {
        // not ours to read
      }
      if (client !== this.client) localStorage.removeItem(key);
    }
    if (this.waiting.size) this.send();
  }
}

/** Whether the window of that client no longer lives: a living one holds a lock of its name. */
function isGone(client) {
  if (!navigator.locks) return Promise.resolve(false);
  return navigator.locks.request(`partlabel-${client}`, { ifAvailable: true }, (lock) => lock !== null);
}

/** A name for this window that survives a reload, and is not that of a copy of this window. */
export async function clientName() {
  const fresh = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  let name = sessionStorage.getItem("partlabel-client") ?? fresh();
  if (navigator.locks) {
    if (!(await holdLock(name))) {
      name = fresh();
      await holdLock(name);
    }
  }
  sessionStorage.setItem("partlabel-client", name);
  return name;
}

/** Hold a lock as long as this window lives; false if another window has it. */
function holdLock(name) {
  return new Promise((resolve) => {
    navigator.locks.request(`partlabel-${name}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
  });
}
