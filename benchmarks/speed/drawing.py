"""The figure of the benchmark: time by the number of images, and other tools beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from dupnet import figures
from dupnet.files.atomic import atomic_path

__all__ = ["draw"]

FLOOR = "decode every file"


def draw(speed: pd.DataFrame, peers: pd.DataFrame | None, path: Path) -> None:
    """Seconds of `find` and of decoding by size; below, those of other tools on one collection.

    Parameters
    ----------
    speed
        Medians by method and size: ``method, n_images, seconds``.
    peers
        ``speed_peers.csv``, if it was measured.
    path
        The PNG to write.
    """
    known = pd.DataFrame() if peers is None else peers[peers["left_out"].isna()].sort_values("seconds")
    has_peers = len(known) > 0
    with figures.style():
        figure = figures.new_figure(height=5.6 if has_peers else 3.4)
        panels = figure.subplots(1 + has_peers, 1, height_ratios=[3, 0.5 * len(known) + 0.4][: 1 + has_peers])
        _by_size(panels[0] if has_peers else panels, speed)
        if has_peers:
            _beside(panels[1], known)
        with atomic_path(path) as beside:
            figure.savefig(beside, format="png", dpi=150, metadata={"Software": None})


def _by_size(axes: Axes, speed: pd.DataFrame) -> None:
    for number, (method, rows) in enumerate(speed.groupby("method", sort=False)):
        ordered = rows.sort_values("n_images")
        name = FLOOR if method == "floor" else str(method)
        axes.plot(ordered["n_images"], ordered["seconds"], "osD^"[number % 4] + "-", label=name)
    sizes = sorted(speed["n_images"].unique())
    axes.set(xscale="log", yscale="log", xlabel="images of 768 x 768 px", ylabel="seconds")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.3g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, which="major")
    axes.set_title("Images on one grid, two cores")
    axes.legend()


def _beside(axes: Axes, peers: pd.DataFrame) -> None:
    """One tool a bar, the quickest first, with its seconds and what it got wrong."""
    overlaps = peers["overlaps"].max()
    for level, row in enumerate(peers.to_dict("records")):
        colour = figures.COLOURS["accent" if str(row["method"]).startswith("dupnet find") else "undecidable"]
        axes.barh(level, row["seconds"], color=colour)
        missed = round((1 - row["recall"]) * overlaps)
        wrong = ", ".join(
            f"{count:,.0f} {what}" for count, what in ((missed, "missed"), (row["false"], "false")) if count
        )
        axes.text(row["seconds"], level, f" {row['seconds']:.1f} s{wrong and ', '}{wrong}", va="center")
    axes.set_yticks(range(len(peers)), [name.replace(", every", ",\nevery") for name in peers["method"]])
    axes.set_ylim(len(peers) - 0.4, -0.6)
    axes.set_xlim(0, 1.7 * peers["seconds"].max())
    axes.set_xlabel(f"seconds for {int(peers['n_images'].max()):,} of these images")
