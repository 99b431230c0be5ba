"""The tables of a grid in LaTeX, for the package booktabs: one for each data set and measure."""

from partlabel.grids.summary import Entry, Results

_ESCAPED = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def to_latex(results: Results) -> str:
    """Mean ± sample standard deviation in %, the best mean of each column in bold; entries without a result are dashes.

    Bold is by the printed decimal, among the entries that stand on all seeds.
    """
    grid = results.grid
    parts = [f"% {_one_line(grid.title)}", r"% \usepackage{booktabs}"]
    for data in grid.data:
        for measure in grid.measures:
            parts.append(_table(results, data, measure))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """A label as LaTeX prints it."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def _table(results: Results, data: str, measure: str) -> str:
    grid = results.grid
    entries = {
        method: [results.entry(data, masking, method, measure) for masking in grid.maskings] for method in grid.rows
    }
    best = [_best([row[column] for row in entries.values()], len(grid.seeds)) for column in range(len(grid.maskings))]
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escaped(grid.title)}: {escaped(measure)} (\\%) on {escaped(data)}.}}",
        f"\\begin{{tabular}}{{l{'r' * len(grid.maskings)}}}",
        r"\toprule",
        _row(["Method", *map(escaped, grid.maskings)]),
        r"\midrule",
        *(
            _row([escaped(method), *(_cell(entry, top) for entry, top in zip(row, best, strict=True))])
            for method, row in entries.items()
        ),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _best(entries: list[Entry], seeds: int) -> str | None:
    means = [entry.mean for entry in entries if entry.mean is not None and len(entry.seeds) == seeds]
    return f"{100 * max(means):.1f}" if means else None


def _cell(entry: Entry, best: str | None) -> str:
    if entry.mean is None:
        return "--"
    mean = f"{100 * entry.mean:.1f}"
    spread = "" if entry.sd is None else f" $\\pm$ {100 * entry.sd:.1f}"
    shown = f"\\textbf{{{mean}}}" if mean == best else mean
    return shown + spread


def _row(values: list[str]) -> str:
    return " & ".join(values) + r" \\"


def _one_line(text: str) -> str:
    return " ".join(text.split())
