"""The label graph that a method learned, drawn."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from partlabel.drawing.figure import COLOURS, svg
from partlabel.report.plots import Plot
from partlabel.runs.learned_graph import Edge

MOST_EDGES = 20


def graph_plot(edges: Sequence[Edge]) -> Plot | None:
    """A line an edge, from its weight when training began to the one that was learned; None where there is no edge."""
    if not edges:
        return None
    names = [f"{edge.source} → {edge.target}" for edge in edges]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(edges))
        starts, weights = [edge.start for edge in edges], [edge.weight for edge in edges]
        axes.hlines(places, starts, weights, color="#888888", linewidth=1)
        axes.plot(starts, places, "o", color=COLOURS[5], label="at the start")
        axes.plot(weights, places, "s", color=COLOURS[1], label="learned")
        axes.axvline(0, color="#888888", linewidth=0.5)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set(xlabel="weight")
        axes.legend()

    words = "; ".join(
        f"{name}: {edge.start:.3g}, then {edge.weight:.3g}" for name, edge in zip(names, edges, strict=True)
    )
    return Plot(svg((6.4, 1.2 + 0.22 * len(edges)), draw), f"Largest weights of the label graph. {words}.")
