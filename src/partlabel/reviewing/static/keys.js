// Keys to actions. Letters count by what they write; on other scripts, by where they lie.

const ACTIONS = {
  p: "present",
  1: "present",
  Enter: "present",
  a: "absent",
  2: "absent",
  u: "unsure",
  3: "unsure",
  s: "skip",
  " ": "skip",
  z: "undo",
  x: "mark",
  g: "grid",
  i: "single",
  e: "evidence",
  n: "nextClass",
  b: "previousClass",
  r: "refresh",
  t: "theirs",
  m: "mine",
  "/": "search",
  "?": "help",
  "+": "larger",
  "=": "larger",
  "-": "smaller",
  "−": "smaller",
  Escape: "clear",
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  PageUp: "pageUp",
  PageDown: "pageDown",
  Home: "home",
  End: "end",
};

const JUDGES = new Set(["present", "absent", "unsure", "skip", "mark", "allSeen", "theirs", "mine"]);
const MOVES = new Set(["left", "right", "up", "down", "pageUp", "pageDown", "home", "end"]);
const REPEATABLE = new Set([...MOVES, "larger", "smaller", "nextClass", "previousClass"]);

/** The action of a key event and whether Shift extends it, or null. */
export function actionOf(event) {
  if (event.isComposing || event.altKey) return null;
  let { key } = event;
  if (key.length === 1 && key.charCodeAt(0) > 127 && /^Key[A-Z]$/.test(event.code)) key = event.code.slice(3);
  if (key.length === 1) key = key.toLowerCase();
  if (event.ctrlKey || event.metaKey) return key === "z" && !event.shiftKey ? { name: "undo", extend: false } : null;
  if (event.shiftKey && key === "Enter") return { name: "allSeen", extend: false };
  const name = ACTIONS[key];
  if (!name || (event.repeat && !REPEATABLE.has(name))) return name ? { name: "nothing", extend: false } : null;
  return { name, extend: event.shiftKey && MOVES.has(name) };
}

/** Call `act(name, extend)` for keys that are not meant for a field, a button or a dialog. */
export function listen(act) {
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if (document.querySelector("dialog[open]")) {
      return;
    }
    const field = target.closest?.("input, select, textarea");
    if (field) {
      if (event.key === "Escape" || (event.key === "Enter" && field.tagName === "INPUT")) {
        field.blur();
        act("focus", false);
        event.preventDefault();
      }
      return;
    }
    const presses = (event.key === "Enter" || event.key === " ") && !event.shiftKey;
    if (presses && target.closest?.("button, a")) return;
    const action = actionOf(event);
    if (!action || (JUDGES.has(action.name) && target.closest?.("#classes"))) return;
    event.preventDefault();
    if (action.name !== "nothing") act(action.name, action.extend);
  });
}
