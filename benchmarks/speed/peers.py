"""Other tools on a folder of tiles: ``PYTHON peers.py TOOL TILES PAIRS.csv``.

Stands alone, so that an interpreter runs it that has the tool and not DupNet: ``pip install imagededup``
(with PyTorch, 5 GB) and ``pip install fastdup`` (numpy before 2), each in an environment of its own. Writes
the pairs of files that the tool holds for duplicates, and prints one line of JSON; exit status
``NOT_INSTALLED`` where the tool is not there.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable

NOT_INSTALLED = 3
"""Exit status."""


def imagededup(tiles: str) -> Iterable[tuple[str, str]]:
    """Perceptual hash of 64 bits, up to 10 of them apart: the tool's default."""
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    found = hasher.find_duplicates(encoding_map=hasher.encode_images(tiles), max_distance_threshold=10)
    return ((name, other) for name, others in found.items() for other in others if name < other)


def imagededup_cnn(tiles: str) -> Iterable[tuple[str, str]]:
    """Features of a pretrained network, which the tool fetches; a cosine of 0.9 and more: its default."""
    from imagededup.methods import CNN

    found = CNN(verbose=False).find_duplicates(image_dir=tiles)
    return ((name, other) for name, others in found.items() for other in others if name < other)


def fastdup(tiles: str) -> Iterable[tuple[str, str]]:
    """The tool's own features, pairs of a similarity of 0.9 and more: its default.

    Of the nearest ten, not two as by default: up to nine images of a 3 x 3 grid show a tile.
    """
    import fastdup as library

    with tempfile.TemporaryDirectory() as work:
        run = library.create(work_dir=work, input_dir=tiles)
        run.run(nearest_neighbors_k=10, verbose=False, print_summary=False)
        table = run.similarity()
        alike = table[table["distance"] >= 0.9]
        names = zip(alike["filename_from"], alike["filename_to"], strict=True)
        return [(one.split("/")[-1], two.split("/")[-1]) for one, two in names]


TOOLS = {"imagededup": imagededup, "imagededup_cnn": imagededup_cnn, "fastdup": fastdup}
"""By the name on the command line."""


def _own_peak_kilobytes() -> int:
    """Not from getrusage, whose peak starts at that of the process which started this one."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def main() -> None:
    """Run the tool that the command line names."""
    tool, tiles, pairs = sys.argv[1:]
    start = time.perf_counter()
    try:
        found = list(TOOLS[tool](tiles))
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        sys.exit(NOT_INSTALLED)
    seconds = time.perf_counter() - start
    with open(pairs, "w", newline="") as file:
        csv.writer(file).writerows(found)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_seconds = sum(one.ru_utime + one.ru_stime for one in used)
    peak_mb = max(_own_peak_kilobytes(), used[1].ru_maxrss) / 1000
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main()
