"""``python -m benchmarks.scaling.offsets [--raw DIR] [--sizes N ...]``: the cost of a search by N.

Crops of 400 px anywhere in the part of Derna that nothing was learned from, each with its own colours and
JPEG quality, are searched from scratch. So that images share as much ground in a large collection as in a
small one, crops come from the acquisition's eight mirrored and turned versions, which `find` takes for
other ground; where those do not reach, from their negatives, too, and then from the rest of Derna. Writes
``scaling_offsets.csv``, seconds and peak memory of each step for each number of images, and
``scaling_offsets_exponents.csv``, the power of N with which each step's seconds grow. Results of sizes
measured before are kept, so that large ones can be run one at a time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.free_offsets.counting import LEAST, against_truth, counts
from benchmarks.speed.measure import THREADS, floor
from benchmarks.usage import Usage, cpu_seconds, watched
from dupnet.acquisitions.crops import cut_crops
from dupnet.acquisitions.layouts import MEAN_COVER, random_places
from dupnet.acquisitions.sources import fetch_derna, read_acquisition
from dupnet.files.atomic import write_csv
from dupnet.find import engine
from dupnet.find.results import Clock, read_table

SIZES = (1000, 2000, 4000)
SIDE = 400
VERSIONS = 8
SURE_NARROW = 96
"""Narrow side in pixels from which regions count for the recall that stands beside the cost."""

WHOLE = "whole run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size, and fit the exponents; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling.offsets", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="to fetch Derna into")
    parser.add_argument("--acquisition", type=Path, help="another acquisition, all of it")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images")
    parser.add_argument("--work", type=Path, default=Path("output/benchmark/scaling"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return 0
    path = options.out / "scaling_offsets.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["images"])
    for n_images in options.sizes:
        home = options.work / f"offsets-{n_images}"
        if not (home / "truth.csv").exists():
            shutil.rmtree(home, ignore_errors=True)
            cut(lambda: acquisitions(options), home, n_images)
        rows = of_size(home)
        table = pd.concat([table[table["images"] != n_images], rows], ignore_index=True)
        table = table.sort_values("images", kind="stable")
        write_csv(table, path)
        print(rows.to_string(index=False), flush=True)
        shutil.rmtree(home / "found")
    fitted = exponents(table)
    write_csv(fitted, options.out / "scaling_offsets_exponents.csv")
    print(fitted.to_string(index=False))
    return 0


def acquisitions(options: argparse.Namespace) -> list[npt.NDArray[np.uint8]]:
    """The part of Derna that is held out, and the rest; or the acquisition that was named."""
    if options.acquisition:
        return [read_acquisition(options.acquisition)]
    from dupnet.training.recipe import COLUMNS  # imports TensorFlow

    first, end = COLUMNS["derna"]["test"]
    derna = read_acquisition(fetch_derna(options.raw))
    return [derna[:, first:end], derna[:, :first]]


def cut(read: Callable[[], list[npt.NDArray[np.uint8]]], home: Path, n_images: int) -> None:
    """So many crops into ``home/images``, with ``home/truth.csv``."""
    pictures = read()
    grounds = [(picture, is_negative) for picture in pictures for is_negative in (False, True)]
    room = pictures[0].shape[0] * pictures[0].shape[1] * VERSIONS * MEAN_COVER / SIDE**2
    grounds = grounds[: max(1, -int(-n_images // room))]
    n_versions = VERSIONS * len(grounds)
    (home / "images").mkdir(parents=True)
    truths = []
    for version in range(n_versions):
        n = n_images // n_versions + (version < n_images % n_versions)
        picture, is_negative = grounds[version // VERSIONS]
        picture = 255 - picture if is_negative else picture
        turned = np.rot90(picture[:, ::-1] if version % VERSIONS >= 4 else picture, version % 4)
        places = random_places(*turned.shape[:2], n, (SIDE,), seed=version)
        part = home / f"part{version}"
        crops = cut_crops(
            np.ascontiguousarray(turned), part, places,
            hard=True, seed=version, another_day_share=0.0, prefix=f"{version}_", workers=THREADS,
        )  # fmt: skip
        truths.append(crops.truth)
        for file in (part / "images").iterdir():
            file.rename(home / "images" / file.name)
        shutil.rmtree(part)
    write_csv(pd.concat(truths), home / "truth.csv")


def of_size(home: Path) -> pd.DataFrame:
    """``images, step, seconds, cpu_seconds, of_floor, peak_mb`` of a collection, the whole run last, with its
    recall; ``of_floor``: processor time by that of decoding every file in colour."""
    images, found = home / "images", home / "found"
    command = [sys.executable, "-m", "benchmarks.scaling.offsets", "--measure", images, found]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    steps = json.loads(done.stdout.splitlines()[-1])
    table = pd.DataFrame(steps).assign(images=len(list(images.iterdir())))
    table["of_floor"] = (table["cpu_seconds"] / floor(str(images))["task_cpu_seconds"]).round(3)
    truth = pd.read_csv(home / "truth.csv")
    narrow = truth[["height", "width"]].min(axis=1)
    # Solid ground apart: what shows nothing cannot be found, and is a twentieth of these.
    truth = truth.assign(narrow=narrow, decidable=narrow >= SURE_NARROW, share=0.0)
    counted = counts(against_truth(truth[narrow >= LEAST], read_table(found / "overlaps.csv")))
    last = table["step"] == WHOLE
    for name in ("pairs", "recall", "wrong_offset", "false"):
        table.loc[last, name] = counted[name]
    columns = ["images", "step", "seconds", "cpu_seconds", "of_floor", "peak_mb"]
    return table[[*columns, "pairs", "recall", "wrong_offset", "false"]]


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """``step, exponent, cpu_exponent, sizes``: the powers of N with which seconds and processor time grow, of
    steps measured at two sizes."""
    rows = []
    for step, part in table.groupby("step", sort=False):
        if part["images"].nunique() > 1:
            images = np.log(part["images"].astype(float))
            slopes = [np.polyfit(images, np.log(part[name]), 1)[0] for name in ("seconds", "cpu_seconds")]
            rows.append([step, *np.round(slopes, 3), len(part)])
    return pd.DataFrame(rows, columns=["step", "exponent", "cpu_exponent", "sizes"])


class _StepClock(Clock):
    """A clock that also notes the processor time of each step, and the most memory that was held, of all
    processes."""

    usage: ClassVar[Usage]
    last: ClassVar[_StepClock]

    def __init__(self) -> None:
        super().__init__()
        self.cpu_seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        _StepClock.last = self

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self.usage.peak_mb = 0.0
        before = cpu_seconds()
        with super().__call__(step):
            yield
        self.usage.sample()
        self.cpu_seconds[step] = self.cpu_seconds.get(step, 0.0) + cpu_seconds() - before
        self.peak_mb[step] = max(self.peak_mb.get(step, 0.0), self.usage.peak_mb)


def measure(images: Path, out: Path) -> list[dict[str, Any]]:
    """``step, seconds, cpu_seconds, peak_mb`` of a search from scratch, but for its report; whole last."""
    shutil.rmtree(out, ignore_errors=True)
    with watched() as _StepClock.usage, patch.object(engine, "Clock", _StepClock):
        start, before = time.perf_counter(), cpu_seconds()
        engine.find_overlaps(images, out=out, report=False, workers=THREADS)
        seconds, spent_in_all = time.perf_counter() - start, cpu_seconds() - before
    clock = _StepClock.last
    steps = {**clock.seconds, WHOLE: seconds}
    spent = {**clock.cpu_seconds, WHOLE: spent_in_all}
    peaks = {**clock.peak_mb, WHOLE: max(clock.peak_mb.values())}
    return [
        {
            "step": step,
            "seconds": round(value, 4),
            "cpu_seconds": round(spent[step], 4),
            "peak_mb": round(peaks[step], 1),
        }
        for step, value in steps.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
