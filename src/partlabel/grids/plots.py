"""A plot of one measure: a panel for each data set and masking, a row for each method, the best mean rank on top."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partlabel.drawing.figure import COLOURS, axes_of, columns_of, png, rows_of
from partlabel.grids.ranks import Setting, standings
from partlabel.grids.summary import Results


def measure_plot(results: Results, measure: str) -> bytes | None:
    """A PNG of means with their deviation over seeds; None if there is no result.

    A filled dot is a mean over several seeds, its bar one sample standard deviation to each side; an open dot is one
    seed. Settings without any result have no panel.
    """
    standing = standings(results, measure)
    methods = [method for method, stands in standing.items() if stands.ranks]
    settings = [setting for setting in results.settings if any(setting in standing[method].ranks for method in methods)]
    if not settings:
        return None

    def draw(figure: Figure) -> None:
        for axes, setting in zip(axes_of(figure, len(settings), share_y=True), settings, strict=True):
            _draw_panel(axes, results, measure, setting, methods)
        figure.supxlabel(f"{measure}, % (filled: mean ± sd over seeds; open: one seed)", fontsize=8)

    height = 0.8 + 0.19 * len(methods)
    label_width = 0.065 * max(map(len, methods))
    return png((0.6 + label_width + 2.2 * columns_of(len(settings)), 0.3 + height * rows_of(len(settings))), draw)


def _draw_panel(axes: Axes, results: Results, measure: str, setting: Setting, methods: list[str]) -> None:
    for place, method in enumerate(methods):
        entry = results.entry(*setting, method, measure)
        if entry.mean is None:
            continue
        axes.errorbar(
            100 * entry.mean,
            place,
            xerr=None if entry.sd is None else 100 * entry.sd,
            fmt="o",
            markersize=4,
            color=COLOURS[0],
            markerfacecolor="white" if entry.sd is None else COLOURS[0],
            capsize=2,
            linewidth=1,
        )
    axes.set_title("\n".join(setting))
    axes.set_yticks(range(len(methods)), labels=methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
