// What the page says. Names of classes and images are put in as they are; callers set them as text.

export const VERDICTS = ["present", "absent", "unsure"];

const whole = new Intl.NumberFormat("en");

/** 12345 -> 12,345 */
export const count = (number) => whole.format(number);

/** "1 picture", "2 pictures" */
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** 0.947 -> "94.7 %", 0.52 -> "52 %"; never 0 % or 100 % unless it is so. */
export function percent(probability) {
  if (probability === null || probability === undefined) return "";
  const value = 100 * probability;
  if (value > 99.9 && value < 100) return "> 99.9 %";
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return value > 90 || value < 10 ? `${value.toFixed(1)} %` : `${Math.round(value)} %`;
}

/**
 * The model's probability that the class is there; said so while the question is whether it is absent. Not in an audit:
 * there it would sway the judge.
 */
export function chance(record, verdict = null) {
  if (record.kind === "audit") return "";
  const text = percent(record.probability);
  return text && record.suggests === "absent" && !verdict ? `${text} present` : text;
}

/** What is asked about a cell, on its tile. */
export function askShort(record) {
  if (record.suggests === "absent") return "absent?";
  return "present?";
}

/** What relations say of a cell, beside its sign: what it follows from, or what contradicts its verdict. */
export function related({ implied, against }, otherName) {
  const one = implied ?? against;
  if (!one) return "";
  const other = one.other === "absent" ? `${otherName} (absent)` : otherName;
  return implied ? `implied by ${other}` : `against ${other}${one.known ? ", known" : ""}`;
}

/** What a screen reader says about a cell. */
export function spoken(record, className, state, otherName = "") {
  const parts = [record.suggests === "absent" ? `${className} absent?` : `${className}?`];
  const sure = chance(record);
  if (sure) parts[0] += ` ${sure}`;
  if (record.kind === "doubtful") parts.push(`known as ${record.known}, doubtful`);
  parts.push(`image ${record.name}`);
  if (state.conflict)
    parts.push(`conflict: yours ${state.verdict ?? "none"}, theirs ${state.conflict.verdict ?? "none"}`);
  else if (state.failed) parts.push(`${state.verdict}, not saved: ${state.failed}`);
  else if (state.verdict) parts.push(`judged ${state.verdict}${state.pending ? ", not saved yet" : ""}`);
  else if (state.implied) parts.push(state.implied.state);
  else parts.push("not judged");
  const told = related(state, otherName);
  if (told) parts.push(told);
  if (state.marked) parts.push("marked as an exception");
  return parts.join(", ");
}

/** The question above the grid, in parts: the class name is a part of its own. `chosen`: how many it is about. */
export function question(kinds, className, chosen = 1) {
  const where = chosen > 1 ? `these ${count(chosen)} pictures` : "the picture";
  const all = chosen > 1 ? `Are these ${count(chosen)} labels` : "Is each label";
  if (className === null) return [kinds === "absent" ? `${all} absent?` : `${all} right?`];
  if (kinds === "absent")
    return ["Is ", className, ` absent from ${where}?`, { hint: "  a: yes, it is not there · p: no, it is there" }];
  if (kinds === "mixed") return ["Is ", className, ` in ${where}?`, { hint: "  Some tiles ask whether it is absent." }];
  return ["Is ", className, ` in ${where}?`];
}

/** Both sides of a conflict, as short as a tile needs it: [mine, theirs]. */
export function sides(conflict, me) {
  return [`you: ${conflict.mine ?? "none"}`, `${whoElse(conflict.who, me)}: ${conflict.verdict ?? "none"}`];
}

/** Who gave a verdict, said to the person `me`. */
export const whoElse = (who, me) => (!who || who === me ? "another window" : who);

export const QUEUE_HINTS = {
  file: "listed cells, in the order of the file, which has no probabilities",
  probability: "suggestions, most probable first",
  unsure_first: "suggestions, least certain first",
  value: "cells whose verdicts teach the model most: rare classes, uncertain cells, no two of one burst",
  doubtful: "known labels that the model contradicts",
  audit: "a random draw, in its fixed order",
  images: "all cells, in the order of the table",
};

export const KEYS = [
  [
    "Verdict",
    [
      [["p", "1", "Enter"], "present"],
      [["a", "2"], "absent"],
      [["u", "3"], "unsure"],
      [["s", "Space"], "skip: go on without a verdict"],
      [["z", "Ctrl Z"], "undo the last verdict or range"],
    ],
  ],
  [
    "Many at once",
    [
      [["Shift ←↑↓→", "Shift click"], "choose a range; the next verdict is for all of it"],
      [["x"], "mark an exception"],
      [["Shift Enter"], "all suggestions fully on this screen are right but the marked ones"],
      [["Esc"], "no range; pressed again, no marks"],
    ],
  ],
  [
    "Moving",
    [
      [["←", "↑", "↓", "→"], "move"],
      [["Page Up", "Page Down"], "a screen"],
      [["Home", "End"], "first, last"],
      [["n", "b"], "next, previous class"],
    ],
  ],
  [
    "View",
    [
      [["g", "i"], "grid, single image"],
      [["e"], "evidence: where the model sees it"],
      [["+", "−"], "size of thumbnails"],
      [["/"], "find: images in the grid, a label in the single image"],
      [["r"], "take the newest order"],
      [["t", "m"], "in a conflict: keep theirs, keep mine"],
      [["?"], "this page"],
    ],
  ],
];
