"""``python -m benchmarks.transforms [--raw DIR]``: changed images found and invented, and what it costs.

Held-out parts of Derna and Kitsap are cut into images that are each changed in one way
(:mod:`benchmarks.transforms.sets`), some of another day. `dupnet find` searches them without and with the
option that is for them, ``transforms.csv``, by common share ``transforms_recall.csv``. Smaller collections of
the first source, beside pHash in eight orientations, SIFT with RANSAC and other tools:
``transforms_methods.csv``. All that there is goes into ``transforms.md``. Pixels are never written there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.free_offsets import sets as held_out
from benchmarks.free_offsets.__main__ import METHOD_SECONDS, PEERS, LeftOut, run_peer
from benchmarks.markdown import markdown
from benchmarks.speed.measure import measured
from benchmarks.transforms.counting import against_truth, counts, joined_versions, recall_by_share
from benchmarks.transforms.sets import KINDS, cut, truth_of, whole_day
from dupnet.files.atomic import write_csv
from dupnet.find.results import read_table

OPTIONS: dict[str, tuple[str, ...]] = {
    "quarter turns, mirror": ("turned",),
    "chips, turned": ("turned",),
    "labelling service": ("turned", "rescaled"),
}
"""Options of each kind; ``rescaled`` of the others."""

SIDE = 2600
"""Side in pixels of the part of an acquisition that is cut, at most."""

SIFT, PHASH = "SIFT + RANSAC", "pHash, eight orientations"

MODULES = {PHASH: ["benchmarks.transforms.hashes"], SIFT: ["benchmarks.free_offsets.features", SIFT]}

Row = dict[str, Any]
Picture = npt.NDArray[np.uint8]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transforms", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="to fetch acquisitions into")
    parser.add_argument("--sources", nargs="+", default=["derna", "kitsap"], choices=["derna", "kitsap"])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--n-images", type=int, default=48, help="of a collection (0: skip)")
    parser.add_argument("--compared", type=int, default=20, help="of one for every method (0: skip)")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument(
        "--peer-python",
        nargs="+",
        default=[sys.executable],
        metavar="PYTHON",
        help="interpreters, of which one has imagededup and one fastdup (see benchmarks/speed/peers.py)",
    )
    parser.add_argument("--work", type=Path, default=Path("output/benchmark/transforms"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    sources = held_out.sources(options.raw, None)
    tables: dict[str, list[pd.DataFrame]] = {"": [], "_recall": [], "_methods": []}
    for name in options.sources:
        picture = _part(sources[name]().picture)
        other_day = whole_day(picture, options.seed)
        for kind in options.kinds:
            about = pd.DataFrame({"source": [name], "kind": [kind]})
            for suffix, found in _of_kind(name, kind, picture, other_day, options).items():
                tables[suffix].append(about.merge(found, how="cross"))
                write_csv(pd.concat(tables[suffix]), options.out / f"transforms{suffix}.csv")
    write(options.out)
    return 0


def _part(picture: Picture) -> Picture:
    top, left = (max(0, (length - SIDE) // 2) for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])


def _of_kind(
    source: str, kind: str, picture: Picture, other_day: Picture, options: argparse.Namespace
) -> dict[str, pd.DataFrame]:
    found: dict[str, pd.DataFrame] = {}
    for n_images, suffix in ((options.n_images, ""), (options.compared, "_methods")):
        if not n_images or (suffix and source != options.sources[0]):
            continue
        folder = options.work / f"{source}-{list(KINDS).index(kind)}{suffix}"
        shutil.rmtree(folder, ignore_errors=True)
        images = cut(picture, other_day, kind, folder, n_images, options.seed)
        truth = truth_of(images, (picture != other_day).any(axis=2))
        names = OPTIONS.get(kind, ("rescaled",))
        if suffix:
            found[suffix] = _methods(kind, folder, images, truth, names, options.peer_python)
        else:
            row, table = _of_find(folder, images, truth, names)
            found |= {"": pd.DataFrame([row]), "_recall": recall_by_share(table)}
            print(
                source, kind, {key: row[key] for key in ("recall", "false", "other_day_accepted")}, flush=True
            )
    return found


def _of_find(
    folder: Path, images: pd.DataFrame, truth: pd.DataFrame, names: Sequence[str]
) -> tuple[Row, pd.DataFrame]:
    """`dupnet find` without the options and with them: outcomes and cost."""
    plain = measured(["find", folder / "images", folder / "plain"])
    spent = measured(["find", folder / "images", folder / "found", *names])
    found = read_table(folder / "found" / "overlaps.csv")
    table = against_truth(truth, found, images)
    ms = [1000 * one["task_cpu_seconds"] / len(images) for one in (plain, spent)]
    accepted = found[found["verdict"].isin(["duplicate", "altered"])]
    versions, joined = joined_versions(
        images, accepted[["image1", "image2"]].itertuples(index=False, name=None)
    )
    before = read_table(folder / "plain" / "overlaps.csv")
    upright = found[(found[["yy", "yx", "xy", "xx"]] == [1, 0, 0, 1]).all(axis=1)]
    return {
        "images": len(images),
        "options": " ".join(f"--{name}" for name in names),
        **counts(table),
        "versions": versions,
        "versions_joined": joined,
        "upright_as_before": before.equals(upright[list(before)].reset_index(drop=True)),
        "cpu_ms_an_image_without": round(ms[0], 1),
        "cpu_ms_an_image": round(ms[1], 1),
        "times": round(ms[1] / ms[0], 2),
    }, table


def _methods(
    kind: str,
    folder: Path,
    images: pd.DataFrame,
    truth: pd.DataFrame,
    names: Sequence[str],
    interpreters: Sequence[str],
) -> pd.DataFrame:
    rows = []
    for method in ("dupnet find", PHASH, SIFT, *PEERS.values()):
        about: Row = {"method": method, "images": len(images)}
        out = folder / "pairs.csv"
        try:
            if method == "dupnet find":
                spent = measured(["find", folder / "images", folder / "found", *names])
                found = read_table(folder / "found" / "overlaps.csv")
            elif method in (PHASH, SIFT):
                module = (
                    ["benchmarks.transforms.hashes"]
                    if method == PHASH
                    else ["benchmarks.free_offsets.features", SIFT]
                )
                command = [sys.executable, "-m", *module, str(folder / "images"), str(out)]
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=METHOD_SECONDS, check=True
                )
                spent, found = json.loads(done.stdout.splitlines()[-1]), read_table(out)
            else:
                tool = next(tool for tool, name in PEERS.items() if name == method)
                done = run_peer(tool, folder / "images", out, interpreters)
                spent = json.loads(done.stdout.splitlines()[-1])
                found = pd.read_csv(out, header=None, names=["image1", "image2"], dtype=str)
        except LeftOut as reason:
            rows.append({**about, "left_out": str(reason)})
            continue
        if "verdict" not in found:
            ends = np.sort(found[["image1", "image2"]].to_numpy(dtype=object), axis=1)
            found = (
                pd.DataFrame(ends, columns=["image1", "image2"]).drop_duplicates().assign(verdict="duplicate")
            )
        table = against_truth(truth, found, images)
        of_half = recall_by_share(table)
        rows.append(
            {**about, **counts(table), "recall_from_half": of_half["recall"].iloc[-1],
             "seconds": round(spent["seconds"], 2)}
        )  # fmt: skip
        print(kind, method, rows[-1]["recall"], rows[-1]["false"], flush=True)
    return pd.DataFrame(rows)


def _run(module: Sequence[str], images: Path, out: Path) -> Row:
    command = [sys.executable, "-m", *module, str(images), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=METHOD_SECONDS, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def write(out: Path) -> None:
    """``transforms.md`` of the tables in ``out``."""
    lines: list[str] = []
    if (out / "transforms.csv").exists():
        table, recall = (pd.read_csv(out / f"transforms{part}.csv") for part in ("", "_recall"))
        shares = recall[recall["low"] >= 0.02].assign(
            bin=lambda rows: rows["low"].map("{:.0%}".format) + " to " + rows["high"].map("{:.0%}".format)
        )
        bins = shares["bin"].drop_duplicates().tolist()
        pivot = shares.groupby(["kind", "bin"])[["found", "altered", "pairs"]].sum()
        rows = []
        for kind, of_kind in table.groupby("kind", sort=False):
            cells = []
            for name in bins:
                one = pivot.loc[(kind, name)]
                cells.append(f"{(one['found'] + one['altered']) / one['pairs']:.3f}" if one["pairs"] else "")
            total = of_kind[["false", "other_day", "other_day_accepted", "versions", "versions_joined"]].sum()
            accepted = f"{total['other_day_accepted']} of {total['other_day']}"
            joined = f"{total['versions_joined']} of {total['versions']}" if total["versions"] else ""
            cost = f"{of_kind['cpu_ms_an_image'].mean():.0f} ({of_kind['times'].mean():.1f})"
            rows.append(
                [str(kind), of_kind["options"].iloc[0], *cells, str(total["false"]), accepted, joined, cost]
            )
        headings = [
            "changed by", "options", *bins, "false", "another day accepted", "versions joined",
            "processor ms an image (times that of find)",
        ]  # fmt: skip
        lines += [*markdown(headings, rows), ""]
    if (out / "transforms_methods.csv").exists():
        methods = pd.read_csv(out / "transforms_methods.csv")
        columns = {"recall": "recall", "recall_from_half": "from a share of 50 %", "false": "false",
                   "other_day_accepted": "another day accepted", "seconds": "seconds"}  # fmt: skip
        shown = [
            [str(row["source"]), str(row["kind"]), str(row["method"]),
             *("" if pd.isna(row[name]) else f"{row[name]:g}" for name in columns)]
            for row in methods.to_dict("records") if not pd.isna(row["recall"])
        ]  # fmt: skip
        lines += [*markdown(["source", "changed by", "method", *columns.values()], shown), ""]
        if "left_out" in methods:
            for method, reason in (
                methods.dropna(subset=["left_out"]).groupby("method")["left_out"].first().items()
            ):
                lines.append(f"{method} was left out: {reason}.")
    (out / "transforms.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
