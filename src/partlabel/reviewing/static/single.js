// One image, large, with all its labels.

import { get } from "./api.js";
import { byId, debounce, el, nameOf, setAttribute, setText } from "./dom.js";
import { fillLabel, groupsOf, makeLabel } from "./labels.js";
import { makePanel, makeStage } from "./stage.js";
import { count, percent } from "./words.js";

const FOUND = 60;

export class SingleView {
  constructor(app) {
    this.app = app;
    this.view = byId("single-view");
    this.image = null;
    this.answer = null;
    this.lines = []; // label elements in the order shown
    this.active = 0;
    this.evidence = false;
    this.#build();
  }

  #build() {
    Object.assign(
      this,
      makeStage((step) => this.turn(step)),
      makePanel(),
    );
    this.view.append(this.stage, this.panel);
    this.picture.addEventListener("load", () => {
      this.stage.classList.add("loaded");
      this.note.hidden = true;
    });
    this.picture.addEventListener("error", () => this.#say("This image could not be loaded."));
    this.overlay.addEventListener("error", () => {
      this.overlay.removeAttribute("src");
      if (this.evidence) this.#say("No evidence map for this label.");
    });
    this.search.addEventListener(
      "input",
      debounce(() => this.#list(), 80),
    );
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.search.value = "";
        this.#list();
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        this.goTo(this.active + (event.key === "ArrowDown" ? 1 : -1));
      } else if (event.key === "Enter" && this.search.value.trim()) {
        event.stopPropagation();
        if (this.listed !== this.#sought()) this.#list(); // typed faster than it is listed
        this.judge("present");
      }
    });
    this.list.addEventListener("click", (event) => {
      const line = event.target.closest(".label");
      if (!line) return;
      this.goTo(this.lines.indexOf(line));
      const quick = event.target.closest("button");
      if (quick) this.judge(quick.dataset.verdict);
      this.focus();
    });
    this.list.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
  }

  #say(text) {
    setText(this.note, text);
    this.note.hidden = false;
    this.app.say(text);
  }

  /** Show an image; `cell` is the label to begin with. */
  async open(image, cell = null) {
    this.image = image;
    this.answer = null;
    this.stage.classList.remove("loaded");
    this.note.hidden = true;
    this.overlay.removeAttribute("src");
    this.picture.removeAttribute("src");
    this.picture.setAttribute("src", `/image/${image}`);
    this.search.value = "";
    this.#head();
    let answer;
    try {
      answer = await get(`/api/image/${image}`);
    } catch (error) {
      if (this.image === image) this.#failed(error);
      return;
    }
    if (this.image !== image) return;
    for (const record of answer.cells) record.upto = answer.seq;
    this.answer = answer;
    this.fit.style.setProperty("--ratio", String((answer.width || 1) / (answer.height || 1)));
    this.groups = groupsOf(answer.cells, (record) => this.app.verdicts.state(record));
    this.#head();
    this.#list();
    const wanted = cell === null ? -1 : this.lines.findIndex((line) => line.record.cell === cell);
    this.goTo(wanted >= 0 ? wanted : Math.max(0, this.#nextOpen(-1) ?? 0));
    this.#prefetch();
  }

  #failed(error) {
    this.app.onReadTrouble(error);
    this.#say(error.message);
    setTimeout(() => !this.answer && !this.view.hidden && this.open(this.image), 2000);
  }

  #head() {
    const images = this.app.gridView.images();
    const place = images.indexOf(this.image);
    const name = this.answer?.name ?? "…";
    this.heading.replaceChildren(nameOf(name));
    this.picture.alt = this.answer ? `image ${name}` : "";
    setText(this.place, place < 0 ? "" : `image ${count(place + 1)} of ${count(images.length)} in this list`);
  }

  #prefetch() {
    const images = this.app.gridView.images();
    const next = images[images.indexOf(this.image) + 1];
    if (next !== undefined) new Image().src = `/image/${next}`;
  }

  #sought() {
    return this.search.value.trim().toLocaleLowerCase();
  }

  /** The lines: groups as they were when the image came, or what the search finds among all classes. */
  #list() {
    if (!this.answer) return;
    const text = this.#sought();
    this.listed = text;
    const groups = text ? [this.#found(text)] : this.groups;
    this.lines = [];
    this.list.replaceChildren(...groups.filter(({ records }) => records.length).map((group) => this.#group(group)));
    if (!this.lines.length)
      this.list.append(
        el("p", {
          class: "muted labels-none",
          text: text ? "No class of this name." : "No labels are known of this image; find one above to add it.",
        }),
      );
    this.goTo(0, false);
  }

  #group({ title, records, quiet }) {
    const lines = records.map((record) => {
      const line = makeLabel(`label-${this.lines.length}`);
      line.record = record;
      this.lines.push(line);
      return line;
    });
    const group = el("div", {
      class: quiet ? "label-group quiet" : "label-group",
      role: "rowgroup",
      "aria-label": title,
    });
    group.append(el("h3", { class: "group-title", text: `${title} (${count(records.length)})` }), ...lines);
    return group;
  }

  #found(text) {
    const records = [];
    const here = new Map(this.answer.cells.map((record) => [record.class, record]));
    for (const entry of this.app.session.classes) {
      if (!entry.name.toLocaleLowerCase().includes(text)) continue;
      if (records.length === FOUND) return { title: `First ${FOUND} found`, records };
      records.push(here.get(entry.id) ?? this.#blank(entry.id));
    }
    return { title: "Found", records };
  }

  #blank(id) {
    const record = {
      cell: this.image * this.app.classCount + id,
      image: this.image,
      class: id,
      name: this.answer.name,
      kind: "unlabelled",
      suggests: null,
      known: "unknown",
      probability: null,
      verdict: null,
      seq: null,
    };
    this.answer.cells.push(record);
    return record;
  }

  refresh() {
    this.lines.forEach((line, index) => {
      const { record } = line;
      const state = this.app.verdicts.state(record);
      fillLabel(line, {
        record,
        state,
        otherName: this.app.className((state.implied ?? state.against)?.class),
        className: this.app.className(record.class),
        active: index === this.active,
        me: this.app.session.who,
        found: this.search.value !== "",
      });
    });
  }

  activeRecord() {
    return this.lines[this.active]?.record ?? null;
  }

  goTo(index, reveal = true) {
    this.active = Math.max(0, Math.min(this.lines.length - 1, index));
    this.refresh();
    setAttribute(this.list, "aria-activedescendant", this.lines.length ? `label-${this.active}` : null);
    if (reveal) this.lines[this.active]?.scrollIntoView({ block: "nearest" });
    this.#showEvidence();
    this.app.onMoved();
  }

  #nextOpen(from) {
    for (let index = from + 1; index < this.lines.length; index += 1) {
      const { record } = this.lines[index];
      if (
        record.kind !== "unlabelled" &&
        this.app.verdicts.standing(record) === null &&
        record.known === "unknown"
      )
        return index;
    }
    return null;
  }

  judge(verdict) {
    const record = this.activeRecord();
    if (!record) return;
    this.app.verdicts.give([[record, verdict]]);
    this.#keep(record);
    const name = this.app.className(record.class);
    const next = this.#nextOpen(this.active);
    this.arrived = next; // not by the person's own step
    if (next !== null) this.goTo(next);
    else if (this.#nextOpen(-1) === null && record.kind !== "unlabelled")
      this.app.toast({ name }, `: ${verdict}. All suggestions of this image are judged · → next image`);
    this.app.say(`${name} ${verdict}, ${record.name}`);
  }

  /** Go on where the label that came next follows from the verdict just given. */
  passSettled() {
    const record = this.activeRecord();
    if (this.arrived !== this.active || !record || !this.app.verdicts.state(record).implied) return;
    this.arrived = this.#nextOpen(this.active);
    if (this.arrived !== null) this.goTo(this.arrived);
  }

  /** A label that was found and judged is listed from now on. */
  #keep(record) {
    if (this.groups.some(({ records }) => records.includes(record))) return;
    if (this.groups[0].title !== "Added") this.groups.unshift({ title: "Added", records: [] });
    this.groups[0].records.push(record);
  }

  skip() {
    const next = this.#nextOpen(this.active);
    if (next !== null) this.goTo(next);
    else this.turn(1);
  }

  /** To another image of the list. */
  turn(step) {
    const images = this.app.gridView.images();
    const place = images.indexOf(this.image) + step;
    if (place < 0 || place >= images.length) {
      this.app.toast(step > 0 ? "This is the last image of the list." : "This is the first image of the list.");
      return;
    }
    this.app.showImage(images[place]);
  }

  toggleEvidence(on = !this.evidence) {
    this.evidence = on;
    this.#showEvidence();
  }

  #showEvidence() {
    const record = this.activeRecord();
    const source = this.evidence && record && this.answer ? `/evidence/${this.image}/${record.class}` : null;
    if (source !== this.overlay.getAttribute("src")) this.note.hidden = true;
    setAttribute(this.overlay, "src", source);
    setAttribute(
      this.overlay,
      "alt",
      source ? `evidence for ${this.app.className(record.class)}, ${percent(record.probability)}` : "",
    );
  }

  focus() {
    this.list.focus({ preventScroll: true });
  }
}
