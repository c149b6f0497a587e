"""Build data/sample: crops of Kitsap and of a synthetic sea, with exact truth about every overlap.

    python data/build_sample.py [--kitsap RGB5k.tif] [--out data/sample]

Without --kitsap the acquisition is fetched into data/raw (68 MB). The output equals what is committed;
SHA256SUMS in it lists every file.

Nine parts of Kitsap, each of 6 x 6 tiles, none sharing a tile with another: five cut plainly, one of them
with the blue border of an acquisition along its left edge, and four cut hard (own processing and JPEG
quality for each crop, solid tiles, a crop of another day). Four places at sea, all synthetic: two harbours
on two days each, two open seas cut hard with a second day of half the crops.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from dupnet.acquisitions.scenes import Collection, cut_collection
from dupnet.acquisitions.sea import synthetic_sea
from dupnet.acquisitions.sources import fetch_kitsap, read_acquisition
from dupnet.files.atomic import atomic_path, write_csv

HERE = Path(__file__).resolve().parent
SEED = 340  # one with which every kind of solid tile and an undecidable overlap occur
TILE = 256
PART_TILES = 6
HARD_PARTS = (1, 3, 6, 8)
BORDER_PART = 4
BORDER_WIDTH = TILE + 90  # a column of solid tiles, and a column that is border in part
PLAIN_QUALITY = 92  # nearer 95 the sample would pass 20 MB
SEA_SIZE = (4 * TILE, 5 * TILE)
N_SEAS = 4


def with_border(acquisition: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A copy with the blue border of an acquisition along the left edge, slightly off at its inner edge."""
    bordered = acquisition.copy()
    bordered[:, :BORDER_WIDTH] = (0, 0, 255)
    bordered[:, BORDER_WIDTH - 1] = (0, 6, 249)
    return bordered


def cut_kitsap_part(acquisition: npt.NDArray[np.uint8], part: int, folder: Path) -> Collection:
    """Cut part 0 to 8 of Kitsap, counted row by row, into ``folder``."""
    row, col = divmod(part, 3)
    side = PART_TILES * TILE
    area = acquisition[row * side : (row + 1) * side, col * side : (col + 1) * side]
    hard = part in HARD_PARTS
    return cut_collection(
        with_border(area) if part == BORDER_PART else area,
        folder,
        n_images=6 if hard else 7,
        hard=hard,
        seed=SEED + part,
        quality=PLAIN_QUALITY,
        another_day_share=1 / 6 if hard else 0.0,
        acquisition_name=f"kitsap-{part}",
    )


def cut_sea(place: int, folder: Path) -> Collection:
    """Cut one of the synthetic places, 0 to 3, on two days into ``folder``."""
    harbour = place < 2
    days = [
        synthetic_sea(
            *SEA_SIZE, seed=SEED + place, day=day, quay=harbour, cloud_cover=0.03 if harbour else 0.1
        )
        for day in (1, 2)
    ]
    return cut_collection(
        days[0],
        folder,
        n_images=4,
        hard=not harbour,
        seed=SEED + 100 + place,
        quality=PLAIN_QUALITY,
        another_day=days[1],
        another_day_share=1.0 if harbour else 0.5,
        acquisition_name=f"synthetic-sea-{place}",
    )


def parts(acquisition: npt.NDArray[np.uint8], scratch: Path) -> Iterator[tuple[Path, Collection]]:
    """Every part of the sample, each in a folder of its own."""
    for part in range(9):
        yield scratch / f"kitsap-{part}", cut_kitsap_part(acquisition, part, scratch / f"kitsap-{part}")
    for place in range(N_SEAS):
        yield scratch / f"sea-{place}", cut_sea(place, scratch / f"sea-{place}")


def build(acquisition: npt.NDArray[np.uint8], out: Path) -> None:
    """Write the sample to ``out``, whose ``images`` are replaced."""
    shutil.rmtree(out / "images", ignore_errors=True)
    (out / "images").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        collections = []
        for folder, collection in parts(acquisition, Path(scratch)):
            collections.append(collection)
            for image in (folder / "images").iterdir():
                shutil.move(image, out / "images" / image.name)
    images = pd.concat([collection.images for collection in collections], ignore_index=True)
    truth = pd.concat([collection.truth for collection in collections], ignore_index=True)
    write_csv(images.sort_values("image"), out / "images.csv")
    write_csv(truth.sort_values(["image1", "image2"]), out / "truth.csv")
    files = [out / "images.csv", out / "truth.csv", *sorted((out / "images").iterdir())]
    with atomic_path(out / "SHA256SUMS") as beside:
        lines = (
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(out).as_posix()}\n"
            for file in files
        )
        beside.write_text("".join(lines), encoding="ascii", newline="\n")
    size = sum(file.stat().st_size for file in files) / 1e6
    n_overlaps = int(truth["is_duplicate"].sum())
    print(f"{out}: {len(images)} images, {n_overlaps} overlaps, {size:.1f} MB;")
    print(f"{len(truth) - n_overlaps} more pairs show one place on two days.")


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kitsap", type=Path, help="RGB5k.tif; fetched into data/raw if not given")
    parser.add_argument("--out", type=Path, default=HERE / "sample")
    arguments = parser.parse_args()
    build(read_acquisition(arguments.kitsap or fetch_kitsap(HERE / "raw")), arguments.out)


if __name__ == "__main__":
    main()
