"""Average ranks over datasets and IPCs, as a critical-difference diagram."""

from __future__ import annotations

from collections.abc import Iterator

from scikit_posthocs import critical_difference_diagram

from reports.figures.figure import Drawing, Figure
from reports.figures.style import palette, panels
from reports.frames.names import Column
from reports.frames.results import Results
from reports.statistics.ranks import FEWEST_BLOCKS, FEWEST_METHODS, average_ranks


def draw(results: Results) -> Iterator[Drawing]:
    """Yield the diagram; nothing if there are too few methods, or pairs of dataset and IPC."""
    ranks = average_ranks(results)
    if ranks is None:
        return
    names = results.names
    labels = {method: names.column(Column(str(method))) for method in ranks.ranks.index}
    colors = {names.column(column): color for column, color in palette(map(Column, labels), results).items()}
    canvas, (axes,) = panels(1, width=7.0, height=0.25 * len(labels) + 1.4)
    canvas.set_layout_engine("constrained", rect=(0.15, 0.0, 0.7, 1.0))  # labels are outside of the axes
    pairs = ranks.pairs.rename(index=labels, columns=labels)
    critical_difference_diagram(ranks.ranks.rename(labels), pairs, ax=axes, color_palette=colors)
    axes.set_title(
        f"average rank over {ranks.blocks} pairs of dataset and IPC (Friedman's test: p = {ranks.p:.2g})", fontsize=9
    )
    data = ranks.ranks.rename_axis("method").rename("average_rank").reset_index()
    yield Drawing(canvas, data.assign(blocks=ranks.blocks, p_friedman=ranks.p))


FIGURE = Figure(
    name="ranks",
    title="Average ranks",
    section="accuracy",
    caption=(
        "Rank 1 has the highest mean test accuracy. A bar joins methods whose ranks do not differ (Nemenyi's test at 5 %). "
        f"Given for at least {FEWEST_METHODS} methods over at least {FEWEST_BLOCKS} pairs of dataset and IPC that all of them "
        "have, under one protocol at each."
    ),
    draw=draw,
)
