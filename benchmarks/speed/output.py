"""The benchmark's table and figure, from its CSV files."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dupnet.figures import scaling
from dupnet.files import atomic_path

ALLOWED_MB, ALLOWED_BYTES_PER_TILE = 1000, 300
"""Peak memory that `find` may take: 1 GB and 300 bytes a tile."""


def write(folder: Path) -> None:
    """Write ``speed.md`` and ``speed.png`` from the CSV files that are in ``folder``."""
    lines = ["# Speed and memory", ""]
    if (folder / "speed.csv").exists():
        speed = medians(pd.read_csv(folder / "speed.csv"))
        lines += find_table(speed)
        drawn = speed[speed["method"].isin(["floor", "dupnet find"])]
        if drawn["n_images"].nunique() > 1:
            with atomic_path(folder / "speed.png") as beside:
                figure = scaling(drawn)
                figure.savefig(beside, dpi=110)
                plt.close(figure)
    if (folder / "speed_search.csv").exists():
        lines += search_table(pd.read_csv(folder / "speed_search.csv"))
    with atomic_path(folder / "speed.md") as beside:
        beside.write_text("\n".join(lines), encoding="utf-8")


def medians(speed: pd.DataFrame) -> pd.DataFrame:
    """One row a method and size: medians over the runs; seconds as a multiple of the floor's."""
    by = ["n_images", "method"]
    table = speed.groupby(by, sort=False).median(numeric_only=True).reset_index()
    floor = table[table["method"] == "floor"].set_index("n_images")
    for column in ("seconds", "cpu_seconds"):
        table[f"{column}_of_floor"] = table[column] / table["n_images"].map(floor[column])
    return table


def exponent(table: pd.DataFrame) -> float:
    """The power of N with which seconds grow."""
    return float(np.polyfit(np.log(table["n_images"]), np.log(table["seconds"]), 1)[0])


def find_table(speed: pd.DataFrame) -> list[str]:
    """Lines of Markdown: every method, as a multiple of the floor."""
    lines = [
        "Plain crops of Derna, 768 x 768 JPEG. The floor: decode every file in colour with two threads.",
        "",
        "| images | method | seconds | of floor | images a second | peak memory | allowed | recall | false |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in speed.to_dict("records"):
        allowed = ALLOWED_MB + ALLOWED_BYTES_PER_TILE * 9 * row["n_images"] / 1e6
        known = not np.isnan(row["recall"])
        cells = [
            f"{row['n_images']:,}",
            row["method"],
            f"{row['seconds']:.2f}",
            f"{row['seconds_of_floor']:.2f}",
            f"{row['n_images'] / row['seconds']:,.0f}",
            f"{row['peak_mb']:,.0f} MB",
            f"{allowed:,.0f} MB" if row["method"] == "dupnet find" else "",
            f"{row['recall']:.5f}" if known else "",
            f"{row['false']:,.0f}" if known else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    own = speed[speed["method"] == "dupnet find"]
    if len(own) > 1:
        lines += ["", f"Time of `dupnet find` grows as N^{exponent(own):.2f}."]
    return [*lines, ""]


def search_table(search: pd.DataFrame) -> list[str]:
    """Lines of Markdown: the search alone."""
    lines = [
        "The search alone: random descriptors of 256 bytes, planted pairs (cosine 0.75 to 1), equal ones.",
        "",
        "| descriptors | index | seconds | processor seconds | peak memory | recall of planted pairs |",
        "|---|---|---|---|---|---|",
    ]
    for row in search.to_dict("records"):
        cells = [
            f"{row['n_descriptors']:,}",
            row["index"],
            f"{row['seconds']:,.1f}",
            f"{row['cpu_seconds']:,.1f}",
            f"{row['peak_mb']:,.0f} MB",
            f"{row['recall']:.6f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
