# SPDX-License-Identifier: Apache-2.0
"""Bars for the documentation, as small SVG files that stay the same when the numbers do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

OURS = "#0b6e99"
OTHERS = "#9aa5ad"
#: Text is left to the reader's fonts, and identifiers are not random.
SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9}

MINUTE = 60
HOUR = 3600


def duration(seconds: float) -> str:
    """Write seconds as people do: ``3 h 26 min``, ``8 min 29 s``, ``27 s``, ``3.7 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes // MINUTE} h {minutes % MINUTE:02} min"


def draw_bars(path: Path, panels: Mapping[str, Mapping[str, float | None]], *, ours: Sequence[str], title: str) -> None:
    """
    Draw seconds as horizontal bars on a logarithmic scale, a panel beside the other.

    :param path: the SVG file.
    :param panels: for each panel's heading the seconds by name; ``None`` where nothing was measured. All panels have
        the same names in the same order.
    :param ours: the names that stand out.
    :param title: above all.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    names = list(next(iter(panels.values())))
    values = [value for panel in panels.values() for value in panel.values() if value is not None]
    with mpl.rc_context(SETTINGS):
        size = (2.2 + 2.6 * len(panels), 0.9 + 0.28 * len(names))
        figure, grid = plt.subplots(1, len(panels), sharey=True, figsize=size, layout="constrained", squeeze=False)
        figure.suptitle(title, fontsize=10)
        for axes, (heading, seconds) in zip(grid[0], panels.items(), strict=True):
            _draw_panel(axes, [seconds[name] for name in names], [OURS if name in ours else OTHERS for name in names])
            axes.set_title(heading, fontsize=9)
            # Room for what is written behind the longest bar.
            axes.set_xlim(min(0.8, min(values) / 2), max(values) * 14)
        grid[0][0].set_yticks(range(len(names)), labels=names)
        grid[0][0].invert_yaxis()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)
    # What it writes has blanks at the ends of lines.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _draw_panel(axes: Axes, seconds: Sequence[float | None], colors: Sequence[str]) -> None:
    axes.set_xscale("log")
    for place, (value, color) in enumerate(zip(seconds, colors, strict=True)):
        if value is not None:
            axes.barh(place, value, color=color, height=0.7)
            axes.annotate(
                duration(value), (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes.minorticks_off()
    axes.set_xticks([1, 60, 3600], labels=["1 s", "1 min", "1 h"])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
