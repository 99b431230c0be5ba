// The lines of labels beside a single image.

import { el, icon, nameOf, setAttribute, setText } from "./dom.js";
import { chance, related, sides, spoken, VERDICTS } from "./words.js";

/** Labels in groups, as they are when the image comes; a verdict later moves none of them. */
export function groupsOf(records, stateOf) {
  const groups = {
    Suggested: [],
    Judged: [],
    Implied: [],
    "Known as present": [],
    "Known as absent": [],
    "Never looked at": [],
  };
  for (const record of records) {
    const { verdict, implied } = stateOf(record);
    if (verdict !== null) groups.Judged.push(record);
    else if (implied) groups.Implied.push(record);
    else if (record.kind !== "unlabelled") groups.Suggested.push(record);
    else if (record.known === "present") groups["Known as present"].push(record);
    else if (record.known === "absent") groups["Known as absent"].push(record);
    else groups["Never looked at"].push(record);
  }
  groups.Suggested.sort((one, other) => (other.probability ?? 0) - (one.probability ?? 0));
  return Object.entries(groups).map(([title, found]) => ({
    title,
    records: found,
    quiet: !["Suggested", "Judged"].includes(title),
  }));
}

export function makeLabel(id) {
  const name = nameOf("");
  const sign = el("span", { class: "sign" });
  const note = el("span", { class: "probability numbers" });
  const buttons = el("span", { class: "label-buttons" });
  for (const verdict of VERDICTS) {
    const button = el("button", {
      type: "button",
      tabindex: "-1",
      class: `quick-${verdict}`,
      "data-verdict": verdict,
      "aria-label": verdict,
      title: verdict,
    });
    button.append(icon(verdict));
    buttons.append(button);
  }
  const line = el(
    "div",
    { class: "label", role: "row" },
    el("div", { class: "label-cell", role: "gridcell", id }, name, el("span", { class: "label-facts" }, sign, note)),
    el("div", { class: "label-cell", role: "gridcell" }, buttons),
  );
  line.parts = { name, sign, note, cell: line.firstChild, buttons };
  return line;
}

export function fillLabel(line, { record, state, className, otherName, active, me, found }) {
  line.classList.toggle("active", active);
  setAttribute(line, "aria-selected", active ? "true" : "false");
  setAttribute(line, "data-verdict", state.verdict);
  setAttribute(
    line,
    "data-state",
    state.conflict
      ? "conflict"
      : state.failed
        ? "failed"
        : state.pending
          ? "pending"
          : state.against
            ? "against"
            : state.verdict
              ? "saved"
              : state.implied
                ? "implied"
                : "open",
  );
  setAttribute(line.parts.cell, "aria-label", spoken(record, className, state, otherName));
  setText(line.parts.name, className);
  setAttribute(line.parts.name, "title", className);
  const told = related(state, otherName);
  setText(line.parts.note, told || chance(record));
  setAttribute(line.parts.note, "title", told || null);
  const [text, sign] = words(record, state, me, found);
  const chip = line.parts.sign;
  if (chip.textContent !== text || chip.dataset.sign !== sign) {
    chip.dataset.sign = sign;
    chip.replaceChildren(...(sign ? [icon(sign)] : []), el("span", { class: "sign-text", text }));
  }
  for (const button of line.parts.buttons.children)
    setAttribute(button, "aria-pressed", button.dataset.verdict === state.verdict ? "true" : "false");
}

/** What stands below a name; that it is known, only where the title of its group does not say so (`found`). */
function words(record, state, me, found) {
  if (state.conflict) return [sides(state.conflict, me).join(" · "), "conflict"];
  if (state.failed) return ["not saved", "conflict"];
  if (state.against) return [state.verdict, "conflict"];
  if (state.verdict) return [state.verdict, state.verdict];
  if (state.implied) return [state.implied.state, "implied"];
  if (record.kind === "doubtful") return [`known as ${record.known}, doubtful`, ""];
  if (record.known !== "unknown") return [found ? `known as ${record.known}` : "", ""];
  if (record.suggests) return [`is it ${record.suggests}?`, ""];
  if (record.kind === "audit") return ["drawn for the audit", ""];
  return ["", ""];
}
