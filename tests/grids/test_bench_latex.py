"""Tables in LaTeX."""

from collections.abc import Callable

from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid
from partlabel.grids.latex import escaped, to_latex
from partlabel.grids.summary import Results


def test_means_spreads_and_the_best_in_bold(bare_grid: Callable[..., Grid], record: Callable[..., Record]) -> None:
    grid = bare_grid(["a_1", "b & c", "d"], ["10 % known", "x"], "title = 'A #1'\nseeds = [0, 1]\nmeasures = ['mAP']")
    values = {("a_1", 0): 0.5, ("a_1", 1): 0.6, ("b & c", 0): 0.4, ("b & c", 1): 0.4, ("d", 0): 0.9}
    records = {Cell("squares", "10 % known", label, seed): record(value) for (label, seed), value in values.items()}
    lines = to_latex(Results(grid, records)).splitlines()
    assert r"Method & 10 \% known & x \\" in lines
    assert r"a\_1 & \textbf{55.0} $\pm$ 7.1 & -- \\" in lines
    assert r"b \& c & 40.0 $\pm$ 0.0 & -- \\" in lines
    assert r"d & 90.0 & -- \\" in lines  # one seed of two: not compared
    assert r"\caption{A \#1: mAP (\%) on squares.}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert [lines.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_whatever_latex_would_read_is_escaped() -> None:
    assert escaped("50% & $x_1^2$ {~} # \\ <a>") == (
        r"50\% \& \$x\_1\textasciicircum{}2\$ \{\textasciitilde{}\} \# \textbackslash{} \textless{}a\textgreater{}"
    )


def test_a_title_of_several_lines_stays_a_comment(bare_grid: Callable[..., Grid]) -> None:
    text = to_latex(Results(bare_grid(["a"], top='title = "a\\nb"\nseeds = [0]'), {}))
    assert text.startswith("% a b\n\n% \\usepackage{booktabs}\n")
