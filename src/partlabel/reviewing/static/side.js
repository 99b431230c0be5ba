// The list of classes at the side: some dozens of real lines, whatever the number of classes.

import { byId, debounce, el, nameOf, setAttribute, setText } from "./dom.js";
import { count } from "./words.js";

const LINE = 44;
const SPARE = 4;

export class Side {
  /** `choose(id)` is called with a class id or "all". */
  constructor(session, choose) {
    this.session = session;
    this.choose = choose;
    this.scroller = byId("class-scroller");
    this.inner = byId("class-inner");
    this.chosen = "all";
    this.lines = [];
    this.search = byId("class-search");
    this.sort = byId("class-sort");
    this.scroller.addEventListener("scroll", () => this.render(), { passive: true });
    new ResizeObserver(() => this.render()).observe(this.scroller);
    this.search.addEventListener(
      "input",
      debounce(() => this.arrange(), 80),
    );
    this.sort.addEventListener("change", () => this.arrange());
    this.scroller.addEventListener("click", (event) => {
      const line = event.target.closest(".class-line");
      if (line) this.choose(line.dataset.id === "all" ? "all" : Number(line.dataset.id));
    });
    this.scroller.addEventListener("keydown", (event) => this.#key(event));
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && this.search.value.trim()) {
        this.arrange(); // typed faster than it is listed
        if (this.shown.length) this.choose(this.shown[0]);
      }
      if (event.key === "ArrowDown") {
        event.preventDefault();
        this.scroller.focus();
      }
    });
    this.cursor = null;
    this.arrange();
  }

  /** Sort and filter; done when asked for, never by itself while one works. */
  arrange() {
    const text = this.search.value.trim().toLocaleLowerCase();
    const { classes } = this.session;
    let found = text ? classes.filter(({ name }) => name.toLocaleLowerCase().includes(text)) : [...classes];
    if (this.sort.value === "open") found.sort((one, other) => other.open - one.open || one.id - other.id);
    if (this.sort.value === "name") {
      const { compare } = new Intl.Collator(undefined, { numeric: true });
      found.sort((one, other) => compare(one.name, other.name));
    }
    found = found.map(({ id }) => id);
    this.shown = text ? found : ["all", ...found];
    this.inner.style.height = `${this.shown.length * LINE}px`;
    byId("class-none").hidden = this.shown.length > 0;
    this.#reveal(Math.max(0, this.shown.indexOf(this.chosen)));
    this.render();
  }

  #key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    const place = this.shown.indexOf(this.cursor ?? this.chosen);
    if (event.key in steps) {
      const next = Math.max(0, Math.min(this.shown.length - 1, place + steps[event.key]));
      this.cursor = this.shown[next];
      this.#reveal(next);
      this.render();
    } else if (event.key === "Enter" || event.key === " ") this.choose(this.cursor ?? this.chosen);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #reveal(place) {
    const { scrollTop, clientHeight } = this.scroller;
    if (place * LINE < scrollTop) this.scroller.scrollTop = place * LINE;
    else if ((place + 1) * LINE > scrollTop + clientHeight) this.scroller.scrollTop = (place + 1) * LINE - clientHeight;
  }

  select(id) {
    this.chosen = id;
    this.cursor = id;
    const place = this.shown.indexOf(id);
    if (place >= 0) this.#reveal(place);
    this.render();
  }

  /** The class after (or before) the chosen one that has something open; null if there is none. */
  neighbour(direction) {
    const ids = this.shown.filter((id) => id !== "all");
    const start = ids.indexOf(this.chosen);
    for (let step = 1; step <= ids.length; step += 1) {
      const place = start < 0 ? (direction > 0 ? step - 1 : ids.length - step) : start + direction * step;
      const id = ids[((place % ids.length) + ids.length) % ids.length];
      if (this.session.byId.get(id).open > 0 && id !== this.chosen) return id;
    }
    return null;
  }

  render() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / LINE) - SPARE);
    const last = Math.min(
      this.shown.length,
      Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / LINE) + SPARE,
    );
    while (this.lines.length < last - first) {
      const line = makeLine();
      this.lines.push(line);
      this.inner.append(line);
    }
    this.lines.forEach((line, offset) => {
      const place = first + offset;
      line.hidden = place >= last;
      if (line.hidden) line.removeAttribute("id");
      else this.#fill(line, place);
    });
    const place = this.shown.indexOf(this.cursor ?? this.chosen);
    setAttribute(
      this.scroller,
      "aria-activedescendant",
      place >= first && place < last ? `class-${this.shown[place]}` : null,
    );
  }

  #fill(line, place) {
    const id = this.shown[place];
    const all = id === "all";
    const { name, cells, open } = all ? { name: "All classes", ...this.session.sums() } : this.session.byId.get(id);
    line.style.top = `${place * LINE}px`;
    setAttribute(line, "id", `class-${id}`);
    setAttribute(line, "data-id", id);
    setAttribute(line, "aria-selected", id === this.chosen ? "true" : "false");
    setAttribute(line, "aria-setsize", this.shown.length);
    setAttribute(line, "aria-posinset", place + 1);
    setAttribute(line, "aria-label", `${name}, ${count(open)} open of ${count(cells)}`);
    line.classList.toggle("cursor", id === (this.cursor ?? this.chosen));
    line.classList.toggle("done", cells > 0 && open === 0);
    line.classList.toggle("empty", cells === 0);
    line.classList.toggle("begun", open < cells);
    setText(line.parts.name, name);
    setAttribute(line.parts.name, "title", name);
    setText(line.parts.open, cells === 0 ? "–" : open === 0 ? "done" : count(open));
    line.parts.fill.style.setProperty("--share", String(cells ? (cells - open) / cells : 0));
  }
}

function makeLine() {
  const name = nameOf("");
  const open = el("span", { class: "class-open numbers" });
  const fill = el("div", { class: "meter-fill" });
  const line = el(
    "div",
    { class: "class-line", role: "option" },
    name,
    open,
    el("div", { class: "meter", "aria-hidden": "true" }, fill),
  );
  line.parts = { name, open, fill };
  return line;
}
