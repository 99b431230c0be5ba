// What the server says of the session, with the counts kept up while verdicts are given.

import { get, RequestError } from "./api.js";

/**
 * What is reviewed, as a short string: the server's own word for it, or a number made of the journal's path and of the
 * names of the classes. Numbers of cells mean something in this review only.
 */
export function subjectOf(answer) {
  if (answer.subject) return answer.subject;
  const text = JSON.stringify([answer.journal, answer.images, answer.classes.map(({ name }) => name)]);
  let [high, low] = [0x811c9dc5, 0x1b873593];
  for (let place = 0; place < text.length; place += 1) {
    high = Math.imul(high ^ text.charCodeAt(place), 0x01000193);
    low = Math.imul(low ^ text.charCodeAt(place), 0x85ebca6b);
  }
  return `${(high >>> 0).toString(16)}${(low >>> 0).toString(16)}`;
}

export class Session {
  constructor(answer) {
    this.take(answer);
  }

  static async load() {
    return new Session(await get("/api/session"));
  }

  take(answer) {
    Object.assign(this, answer);
    this.word = subjectOf(answer);
    this.doubted = false;
    this.byId = new Map(this.classes.map((entry) => [entry.id, entry]));
  }

  /** What the server says now; throws, as it would, if another review has this address. */
  async check() {
    const answer = await get("/api/session");
    if (subjectOf(answer) !== this.word) throw new RequestError("another review has this address", 409);
    this.doubted = false;
    return answer;
  }

  /** After the server was away, who answers may be another one: look before anything is sent. */
  async sure() {
    if (this.doubted) await this.check();
  }

  /** Verdicts changed: [cell, from, to] each. */
  count(steps) {
    for (const [cell, from, to] of steps) {
      const entry = this.byId.get(cell % this.classes.length);
      if (!entry) continue;
      for (const [verdict, step] of [
        [from, -1],
        [to, 1],
      ]) {
        const key = verdict ?? "open";
        entry[key] = Math.max(0, Math.min(entry.cells, entry[key] + step));
      }
    }
  }

  /** Counts over all classes. */
  sums() {
    const sums = { cells: 0, open: 0, present: 0, absent: 0, unsure: 0, implied: 0 };
    for (const entry of this.classes) for (const key of Object.keys(sums)) sums[key] += entry[key];
    return sums;
  }
}
