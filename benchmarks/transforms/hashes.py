"""``python -m benchmarks.transforms.hashes FOLDER CSV``: pHash of whole images in eight orientations.

Two images agree where one hash of the first is near to any of the eight of the second. Writes the pairs, and
prints its seconds as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.free_offsets.features import PHASH_BITS
from dupnet.files.atomic import write_csv
from dupnet.images.listing import list_images

TURNS = (
    None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270,
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)  # fmt: skip


def main() -> None:
    """Hash a folder, and compare every two of its images."""
    folder, out = Path(sys.argv[1]), sys.argv[2]
    start, before = time.perf_counter(), time.process_time()
    names, codes = list_images(folder), []
    for name in names:
        with Image.open(folder / name) as image:
            of_image = [image if turn is None else image.transpose(turn) for turn in TURNS]
            codes.append([np.packbits(imagehash.phash(turned).hash) for turned in of_image])
    every = np.array(codes)
    rows = []
    for number in range(len(names)):
        distance = np.bitwise_count(every[number + 1 :] ^ every[number, 0]).sum(axis=2, dtype=np.int64)
        near = np.flatnonzero((distance <= PHASH_BITS).any(axis=1))
        rows += [(names[number], names[number + 1 + other]) for other in near]
    spent = {"seconds": time.perf_counter() - start, "task_cpu_seconds": time.process_time() - before}
    write_csv(pd.DataFrame(rows, columns=["image1", "image2"]), out)
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
