"""The benchmark's tables and figure, from its CSV files."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmarks.markdown import markdown
from dupnet.figures import lines
from dupnet.files.atomic import atomic_path

FOUND = (
    "`dupnet find` on hard cuts of held-out parts: each crop has its own colours and JPEG quality, some "
    "ground is solid, and a tenth of the crops have a second version of another day. *compressed* and "
    "*noisy* are crops of 400 px saved again, at a JPEG quality of 18 to 49 or with noise of 2 to 8 "
    "levels. *Pairs* counts pairs of one day whose common region is at least 32 px wide and has texture; "
    "a pair counts as found only at the exact offset. *Other day* counts pairs in which at least 15 % of "
    "the common region differs; pairs with less are counted separately. *Of floor* is the processor time "
    "of `find` (the lower of two runs) divided by that of decoding every file in colour (the lowest of "
    "three runs). The latter varies by half from run to run, and so does the ratio."
)
METHODS = (
    "All methods on the same collections, in smaller versions, because features with RANSAC and hashes "
    "compare all pairs. Hashes and the other tools give no offset; their pairs count as found without "
    "one."
)
LOOKALIKES = "Images that look alike but show different ground: every accepted pair is false."
ON_NARROW = (32, 64, 96)
"""Lower bounds of the bins of the narrow side, by which recall is listed."""


def write(folder: Path) -> None:
    """Write ``free_offsets.md`` and ``free_offsets.png`` from the CSV files that are in ``folder``."""
    text = ["# Overlaps at any offset", ""]
    found, recall = folder / "free_offsets.csv", folder / "free_offsets_recall.csv"
    if found.exists():
        by_bin = pd.read_csv(recall)
        text += [FOUND, "", *find_table(pd.read_csv(found), by_bin), ""]
        text += ["By the share of the smaller image that is common:", "", *share_table(by_bin), ""]
    methods = folder / "free_offsets_methods.csv"
    if methods.exists():
        text += [METHODS, "", *methods_table(pd.read_csv(methods)), ""]
        with atomic_path(folder / "free_offsets.png") as beside:
            figure = recall_figure(pd.read_csv(folder / "free_offsets_methods_recall.csv"))
            figure.savefig(beside, dpi=110, format="png")
            plt.close(figure)
    lookalikes = folder / "free_offsets_lookalikes.csv"
    if lookalikes.exists():
        text += [LOOKALIKES, "", *lookalikes_table(pd.read_csv(lookalikes)), ""]
    with atomic_path(folder / "free_offsets.md") as beside:
        beside.write_text("\n".join(text), encoding="utf-8")


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.3f}" if whole else ""


def find_table(found: pd.DataFrame, recall: pd.DataFrame) -> list[str]:
    """Lines of Markdown: one row a source and layout, then one a source."""
    narrow = recall[recall["by"] == "narrow"].set_index(["source", "layout"]).sort_index()
    rows = [
        _find_row(str(name), str(layout), part, narrow.loc[[(name, layout)]])
        for (name, layout), part in found.groupby(["source", "layout"], sort=False)
    ]
    rows += [
        _find_row(f"**{name}**", "all", part, narrow.loc[[name]])
        for name, part in found.groupby("source", sort=False)
    ]
    headings = ["source", "layout", "images", "pairs", "recall", "32-63 px", "64-95 px", "from 96 px"]
    headings += [
        "wrong offset",
        "false",
        "other day accepted",
        "under 15 % changed, accepted",
        "of floor",
        "bytes an image",
    ]
    return markdown(headings, rows)


def _find_row(name: str, layout: str, part: pd.DataFrame, narrow: pd.DataFrame) -> list[str]:
    total = part.sum(numeric_only=True)
    by_side = []
    for number, low in enumerate(ON_NARROW):
        last = number == len(ON_NARROW) - 1
        inside = narrow[narrow["low"] >= low] if last else narrow[narrow["low"] == low]
        by_side.append(_share(inside["found"].sum(), inside["pairs"].sum()))
    accepted = int(total["other_day_accepted"] + total["other_day_altered"])
    return [
        name,
        layout,
        f"{total['images']:,.0f}",
        f"{total['pairs']:,.0f}",
        _share(total["found"], total["pairs"]),
        *by_side,
        f"{total['wrong_offset']:.0f}",
        f"{total['false'] + total['false_altered']:.0f}",
        f"{accepted} of {total['other_day']:,.0f}",
        f"{total['slightly_changed_accepted']:.0f} of {total['slightly_changed']:,.0f}",
        f"{total['cpu_seconds'] / total['floor_cpu_seconds']:.1f}",
        f"{np.average(part['cache_bytes_an_image'], weights=part['images']):,.0f}",
    ]


def share_table(recall: pd.DataFrame) -> list[str]:
    """Lines of Markdown: recall by common share, a row a source."""
    table = recall[recall["by"] == "share"]
    bins = table[["low", "high"]].drop_duplicates().itertuples(index=False)
    ends = [(one.low, one.high) for one in bins]
    rows = []
    for name, part in table.groupby("source", sort=False):
        total = part.groupby("low")[["found", "pairs"]].sum()
        shares = [_share(total.loc[low, "found"], total.loc[low, "pairs"]) for low, _ in ends]
        rows.append([str(name), *shares])
    return markdown(["source", *(f"{low:.0%} to {high:.0%}" for low, high in ends)], rows)


def methods_table(methods: pd.DataFrame) -> list[str]:
    """Lines of Markdown: a row a method, over all collections; below it what was left out, and why."""
    left_out = methods["left_out"].notna() if "left_out" in methods else np.zeros(len(methods), bool)
    rows = []
    for name, part in methods[~left_out].groupby("method", sort=False):
        total = part.sum(numeric_only=True)
        other_day = total["other_day_accepted"] + total["other_day_altered"]
        rows.append(
            [
                str(name),
                f"{total['images']:,.0f}",
                f"{total['pairs']:,.0f}",
                _share(total["found"], total["pairs"]),
                f"{total['wrong_offset']:.0f}" if part["tells_offsets"].all() else "tells none",
                f"{total['false'] + total['false_altered']:.0f}",
                f"{other_day:.0f} of {total['other_day']:,.0f}",
                f"{total['seconds']:,.1f}",
            ]
        )
    headings = ["method", "images", "pairs", "recall", "wrong offset", "false", "other day accepted"]
    headings += ["seconds"]
    reasons = methods[left_out].drop_duplicates("method") if "left_out" in methods else methods[:0]
    notes = [f"{row.method} was left out: {row.left_out}." for row in reasons.itertuples(index=False)]
    return [*markdown(headings, rows), *(line for note in notes for line in ("", note))]


def lookalikes_table(table: pd.DataFrame) -> list[str]:
    """Lines of Markdown: what was accepted among images that only look alike."""
    columns = ["collection", "images", "duplicate", "altered", "seconds"]
    rows = table[columns].round(1).astype(str).values.tolist()
    return markdown(["collection", "images", "false duplicates", "false altered", "seconds"], rows)


def recall_figure(recall: pd.DataFrame) -> plt.Figure:
    """Recall by the narrow side of the common region, a line a method, over all collections."""
    table = recall[recall["by"] == "narrow"].groupby(["method", "low"], sort=False)[["found", "pairs"]].sum()
    table = table[table["pairs"] > 0].reset_index()
    table = table.assign(recall=table["found"] / table["pairs"])
    label = "narrow side of the common region, from (px)"
    return lines(table, "low", "recall", "method", label, "pairs found", percent=True)
