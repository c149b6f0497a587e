"""``python -m benchmarks.free_offsets.features METHOD FOLDER CSV``: other ways to find what shares ground.

Local features of OpenCV, matched and fitted with RANSAC, and hashes of whole images. Each writes the pairs
that it accepts, features with the offset, and prints its seconds as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
import pandas as pd
import pdqhash
from PIL import Image

from benchmarks.free_offsets.counting import OFFSET, PAIR
from dupnet.files.atomic import write_csv
from dupnet.files.workers import map_in_order
from dupnet.images.listing import list_images
from dupnet.images.reading import read_grey, read_image

THREADS = 2

N_FEATURES = 1000
"""Features of an image, the strongest."""

RATIO = 0.8
"""Of the distance to the second nearest, from which on a match counts: D. Lowe, 2004, section 7.1."""

REACH = 3.0
"""Pixels by which a match may miss the fitted place."""

INLIERS = 12
"""Matches that must agree."""

PHASH_BITS = 10
"""Bits of 64 up to which two images agree, as imagededup has it by default."""

PDQ_BITS = 31
"""Bits of 256 up to which two images agree: the threshold that its authors give."""

Row = dict[str, Any]


def sift(folder: Path) -> Iterator[Row]:
    """SIFT, every pair of images."""
    return _fitted(folder, lambda: cv2.SIFT_create(N_FEATURES), cv2.NORM_L2)


def orb(folder: Path) -> Iterator[Row]:
    """ORB, every pair of images."""
    return _fitted(folder, lambda: cv2.ORB_create(N_FEATURES), cv2.NORM_HAMMING)


def phash(folder: Path) -> Iterator[Row]:
    """pHash of whole images, of the imagehash library."""

    def of_image(name: str) -> npt.NDArray[np.bool_]:
        with Image.open(folder / name) as image:
            return np.asarray(imagehash.phash(image).hash).ravel()

    return _near(folder, of_image, PHASH_BITS)


def pdq(folder: Path) -> Iterator[Row]:
    """PDQ of whole images, of the pdqhash library."""
    return _near(folder, lambda name: pdqhash.compute(read_image(folder / name))[0].astype(bool), PDQ_BITS)


METHODS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "SIFT + RANSAC": sift,
    "ORB + RANSAC": orb,
    "pHash": phash,
    "PDQ": pdq,
}
"""By the name in the table."""


def _near(folder: Path, of_image: Callable[[str], npt.NDArray[np.bool_]], bits: int) -> Iterator[Row]:
    names = list_images(folder)
    codes = np.packbits(np.stack(list(map_in_order(of_image, names, THREADS))), axis=1)
    for number, code in enumerate(codes):
        distance = np.bitwise_count(codes[number + 1 :] ^ code).sum(axis=1, dtype=np.int64)
        for other in np.flatnonzero(distance <= bits):
            yield {"image1": names[number], "image2": names[number + 1 + other]}


def _fitted(folder: Path, create: Callable[[], Any], norm: int) -> Iterator[Row]:
    """Pairs whose matched features one shift, turn and scale explains, with the shift."""
    names = list_images(folder)

    def describe(name: str) -> tuple[npt.NDArray[np.float32], Any]:
        points, codes = create().detectAndCompute(np.asarray(read_grey(folder / name)), None)
        return np.array([point.pt for point in points], np.float32).reshape(-1, 2), codes

    described = list(map_in_order(describe, names, THREADS))
    matcher = cv2.BFMatcher(norm)

    def compare(pair: tuple[int, int]) -> Row | None:
        (points1, codes1), (points2, codes2) = (described[number] for number in pair)
        if codes1 is None or codes2 is None or min(len(codes1), len(codes2)) < INLIERS:
            return None
        near = [match for match in matcher.knnMatch(codes1, codes2, k=2) if len(match) == 2]
        good = [first for first, second in near if first.distance < RATIO * second.distance]
        if len(good) < INLIERS:
            return None
        one = points1[[match.queryIdx for match in good]]
        two = points2[[match.trainIdx for match in good]]
        _, inliers = cv2.estimateAffinePartial2D(two, one, method=cv2.RANSAC, ransacReprojThreshold=REACH)
        if inliers is None or inliers.sum() < INLIERS:
            return None
        x, y = np.rint(np.median((one - two)[inliers.ravel() > 0], axis=0)).astype(int)
        return {"image1": names[pair[0]], "image2": names[pair[1]], "y_offset": y, "x_offset": x}

    for row in map_in_order(compare, combinations(range(len(names)), 2), THREADS):
        if row is not None:
            yield row


def main() -> None:
    """Run the method that the command line names."""
    method, folder, out = sys.argv[1:]
    cv2.setNumThreads(1)
    cv2.setRNGSeed(0)
    start = time.perf_counter()
    rows = list(METHODS[method](Path(folder)))
    seconds = time.perf_counter() - start
    of_whole_images = METHODS[method] in (phash, pdq)
    write_csv(pd.DataFrame(rows, columns=PAIR if of_whole_images else [*PAIR, *OFFSET]), out)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
