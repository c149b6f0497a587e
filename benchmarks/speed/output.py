"""The benchmark's table and figure, from its CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.markdown import markdown
from benchmarks.speed.drawing import draw
from dupnet.files.atomic import atomic_path
from dupnet.find.search import EXACT_UP_TO

ALLOWED_MB, ALLOWED_BYTES_PER_TILE = 1000, 300
"""Peak memory that `find` may take: 1 GB and 300 bytes a tile."""

ON_GRID, ANYWHERE, ADD = "dupnet find --grid 256", "dupnet find", "dupnet find --grid 256 --add"
"""What the tables call `find`, by what it searches."""

ENOUGH = 0.9999
"""Recall of planted pairs from which indexes are compared by their time."""

FLOOR = (
    "Plain crops of Derna on a grid of 256 px, 768 x 768 JPEG; each overlaps 11 to 23 others on average. The "
    "floor is the time to decode every file in colour with two threads. `find` searches whole tiles of the "
    "grid, or any offset; *allowed* is the memory limit that was set for the grid."
)
OTHER_TOOLS = (
    "Other tools on the tiles of {n_images:,} of these images (fastdup with ten neighbours a tile, all else "
    "by default); an overlap counts as found if all its tiles are paired."
)
SEARCH_ALONE = (
    "The search step only: random descriptors of 256 bytes, planted pairs (cosine 0.75 to 1), equal ones."
)
OTHER_INDEXES = (
    "Compared with other indexes, without equal descriptors: `find` collapses these before it searches, and "
    "faiss would return every pair of them."
)


def write(folder: Path) -> None:
    """Write ``speed.md`` and ``speed.png`` from the CSV files that are in ``folder``."""
    lines = ["# Speed and memory", ""]
    if (folder / "speed.csv").exists():
        speed = medians(pd.read_csv(folder / "speed.csv"))
        lines += find_table(speed)
        drawn = speed[speed["method"].isin(["floor", ON_GRID, ANYWHERE])]
        if drawn["n_images"].nunique() > 1:
            peers = folder / "speed_peers.csv"
            draw(drawn, pd.read_csv(peers) if peers.exists() else None, folder / "speed.png")
    if (folder / "speed_peers.csv").exists():
        lines += peers_table(pd.read_csv(folder / "speed_peers.csv"))
    if (folder / "speed_search.csv").exists():
        lines += [SEARCH_ALONE, "", *search_table(pd.read_csv(folder / "speed_search.csv"))]
    if (folder / "speed_indexes.csv").exists():
        indexes = pd.read_csv(folder / "speed_indexes.csv")
        lines += [OTHER_INDEXES, "", *search_table(indexes), choice_of_index(indexes), ""]
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
    rows = []
    for row in speed.to_dict("records"):
        allowed = ALLOWED_MB + ALLOWED_BYTES_PER_TILE * 9 * row["n_images"] / 1e6
        known = not np.isnan(row["recall"])
        rows.append(
            [
                f"{row['n_images']:,}",
                row["method"],
                f"{row['seconds']:.2f}",
                f"{row['seconds_of_floor']:.2f}",
                f"{row['n_images'] / row['seconds']:,.0f}",
                f"{row['peak_mb']:,.0f} MB",
                f"{allowed:,.0f} MB" if row["method"] == ON_GRID else "",
                f"{row['recall']:.5f}" if known else "",
                f"{row['false']:,.0f}" if known else "",
            ]
        )
    headings = ["images", "method", "seconds", "of floor", "images a second", "peak memory", "allowed"]
    lines = [FLOOR, "", *markdown([*headings, "recall", "false"], rows)]
    for method in (ON_GRID, ANYWHERE):
        own = speed[speed["method"] == method]
        if len(own) > 1:
            lines += ["", f"Time of `{method}` grows as N^{exponent(own):.2f}."]
    return [*lines, ""]


def peers_table(peers: pd.DataFrame) -> list[str]:
    """Lines of Markdown: other tools on one collection, or why there is no figure."""
    done = peers["left_out"].isna()
    rows = [
        [
            row["method"],
            f"{row['seconds']:,.1f}",
            f"{row['cpu_seconds']:,.1f}",
            f"{row['peak_mb']:,.0f} MB",
            f"{row['recall']:.5f}",
            f"{row['false']:,.0f}",
        ]
        for row in peers[done].to_dict("records")
    ]
    headings = ["method", "seconds", "processor seconds", "peak memory", "recall", "false"]
    left_out = peers[~done].itertuples(index=False)
    return [
        OTHER_TOOLS.format(n_images=int(peers["n_images"].max())),
        "",
        *markdown(headings, rows),
        "",
        *(f"{row.method} was left out: {row.left_out}.\n" for row in left_out),
    ]


def search_table(search: pd.DataFrame) -> list[str]:
    """Lines of Markdown: the search alone."""
    rows = [
        [
            f"{row['n_descriptors']:,}",
            row["index"],
            f"{row['seconds']:,.1f}",
            f"{row['cpu_seconds']:,.1f}",
            f"{row['peak_mb']:,.0f} MB",
            f"{row['recall']:.6f}",
        ]
        for row in search.to_dict("records")
    ]
    headings = [
        "descriptors",
        "index",
        "seconds",
        "processor seconds",
        "peak memory",
        "recall of planted pairs",
    ]
    return [*markdown(headings, rows), ""]


def choice_of_index(indexes: pd.DataFrame) -> str:
    """Why `find` searches as it does, in words, by what was measured."""
    enough = indexes[indexes["recall"] >= ENOUGH].sort_values("cpu_seconds")
    times = ", ".join(f"{row.index} {row.cpu_seconds:,.0f} s" for row in enough.itertuples(index=False))
    return (
        f"Processor time of those that find {ENOUGH:.2%} of the planted pairs: {times}. `find` compares "
        f"every pair up to {EXACT_UP_TO:,} different descriptors, which misses none; beyond, it compares "
        "those that share a bucket of a hash table. Fixed directions define the buckets: nothing is trained, "
        "and whether two tiles are compared depends only on these two. So the result does not depend on the "
        "order in which images were added, nor on the number of workers; k-means lists and graphs depend on "
        "all their entries."
    )
