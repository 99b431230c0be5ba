// What each action does, in the grid and in the single image.

import { byId } from "./dom.js";
import { toggleHelp } from "./help.js";

export function actions(app) {
  const { gridView, single } = app;
  const inGrid = () => app.mode === "grid";
  const judge = (verdict) => () => (inGrid() ? gridView.judging.judge(verdict) : single.judge(verdict));
  const move = (columns, rows) => (extend) => gridView.move(columns, rows, extend);
  return {
    present: judge("present"),
    absent: judge("absent"),
    unsure: judge("unsure"),
    skip: () => (inGrid() ? gridView.judging.skip() : single.skip()),
    undo: () => undo(app),
    mark: () => inGrid() && gridView.length && gridView.judging.mark(),
    allSeen: () => inGrid() && gridView.length && gridView.judging.judgeAllSeen(),
    left: (extend) => (inGrid() ? move(-1, 0)(extend) : single.turn(-1)),
    right: (extend) => (inGrid() ? move(1, 0)(extend) : single.turn(1)),
    up: (extend) => (inGrid() ? move(0, -1)(extend) : single.goTo(single.active - 1)),
    down: (extend) => (inGrid() ? move(0, 1)(extend) : single.goTo(single.active + 1)),
    pageUp: (extend) => (inGrid() ? gridView.page(-1, extend) : single.goTo(single.active - 8)),
    pageDown: (extend) => (inGrid() ? gridView.page(1, extend) : single.goTo(single.active + 8)),
    home: (extend) => (inGrid() ? gridView.goTo(0, extend) : single.goTo(0)),
    end: (extend) => (inGrid() ? gridView.goTo(gridView.length - 1, extend) : single.goTo(single.lines.length - 1)),
    grid: () => app.setMode("grid"),
    single: () => app.setMode("single"),
    evidence: () => evidence(app),
    nextClass: () => neighbour(app, 1),
    previousClass: () => neighbour(app, -1),
    refresh: () => app.reload(),
    larger: () => inGrid() && gridView.resize(1),
    smaller: () => inGrid() && gridView.resize(-1),
    search: () => search(app),
    help: toggleHelp,
    clear: () => clear(app),
    theirs: () => app.settle("theirs"),
    mine: () => app.settle("mine"),
    focus: () => {
      app.toggleSide(false);
      app.focusView();
    },
  };
}

function undo(app) {
  const cells = app.verdicts.undo();
  if (cells === null) {
    app.toast("Nothing to undo in this window.");
    return;
  }
  if (app.mode === "grid") app.gridView.goToCell(cells);
  app.toast(cells.length === 1 ? "Undone: 1 verdict" : `Undone: ${cells.length} verdicts`);
}

function evidence(app) {
  if (!app.session.has_evidence) {
    app.toast("There are no evidence maps: start partlabel review with a run.");
    return;
  }
  if (app.mode === "grid") app.gridView.toggleEvidence();
  else app.single.toggleEvidence();
  app.onMoved();
}

function clear(app) {
  if (byId("classes").classList.contains("open")) {
    app.toggleSide(false);
    app.focusView();
  } else if (app.mode === "grid") app.gridView.judging.clear();
}

function neighbour(app, direction) {
  const id = app.side.neighbour(direction);
  if (id === null) app.toast("No other class has anything open.");
  else app.chooseClass(id);
}

function search(app) {
  if (app.mode === "single") {
    app.single.search.focus();
    return;
  }
  const toggle = byId("filters-toggle");
  if (toggle.offsetParent !== null && toggle.getAttribute("aria-expanded") === "false") toggle.click();
  byId("search").focus();
  byId("search").select();
}
