// What others did, and what the server has to say, asked for every two seconds.

import { get } from "./api.js";
import { byId, debounce, el } from "./dom.js";
import { showLearning, showProgress } from "./head.js";

const PAUSE = 2000;
const LONGEST_PAUSE = 10000;

export class Changes {
  constructor(app) {
    this.app = app;
    this.revision = app.session.revision;
    this.told = new Set((app.session.announcements ?? []).map(({ id }) => id)); // its order is on the screen
    const wait = app.session.has_relations ? 400 : 4000; // only the server knows how many cells follow
    this.recount = debounce(() => this.#recount(), wait);
  }

  /** Ask for ever. */
  async poll(after) {
    let seq = after;
    let pause = PAUSE;
    while (!this.app.verdicts.outbox.trouble?.replaced) {
      await this.#rest(pause);
      try {
        await this.app.session.sure();
        const answer = await get(
          "/api/changes",
          { after: seq, client: this.app.client, subject: this.app.session.subject },
          AbortSignal.timeout(15000),
        );
        pause = PAUSE;
        if (answer.seq < seq) this.recount(); // another journal than before
        seq = answer.seq;
        this.#heard(answer);
        this.app.onReadTrouble(null);
      } catch (error) {
        pause = Math.min(LONGEST_PAUSE, 1.5 * pause);
        if (error.status !== undefined) this.app.onReadTrouble(error);
      }
    }
  }

  #rest(pause) {
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, pause);
    });
  }

  #heard(answer) {
    this.app.verdicts.hearRelated(answer.related ?? []);
    if (answer.changes?.length) {
      this.app.verdicts.heard(answer.changes);
      this.recount();
    }
    this.revision = answer.revision ?? this.revision;
    this.newer();
    if (answer.progress !== undefined) showProgress(answer.progress);
    showLearning(answer.learning);
    for (const { id, text } of answer.announcements ?? []) {
      if (!this.told.has(id)) this.app.toast(text);
      this.told.add(id);
    }
  }

  get isNewer() {
    const shown = this.app.gridView.revision;
    return shown !== null && shown !== this.revision;
  }

  /** Say whether the server has another order than the one on the screen. */
  newer() {
    const newer = this.isNewer;
    const button = byId("refresh");
    if (newer && !button.classList.contains("newer")) this.app.say("A better order is there: press r to take it.");
    if (newer === button.classList.contains("newer")) return;
    button.classList.toggle("newer", newer);
    button.replaceChildren(newer ? "Better order " : "Refresh ", el("kbd", { text: "r" }));
  }

  /** Counts as the server has them, once all is sent. */
  async #recount() {
    const { app } = this;
    if (app.verdicts.outbox.size) {
      this.recount();
      return;
    }
    try {
      const answer = await app.session.check();
      if (app.verdicts.outbox.size) {
        this.recount();
        return;
      }
      app.session.take(answer);
      app.counts();
      app.showConflicts();
      showProgress(app.session.progress);
    } catch (error) {
      if (error.status !== undefined) app.onReadTrouble(error);
    }
  }
}
