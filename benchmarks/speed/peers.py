"""Other tools on a folder of tiles: ``PYTHON peers.py TOOL TILES PAIRS.csv``.

Stands alone, so that an interpreter runs it that has the tool and not DupNet. Writes the pairs of files that
the tool holds for duplicates, and prints one line of JSON; exit status 3 where the tool is not installed.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable


def imagededup(tiles: str) -> Iterable[tuple[str, str]]:
    """Perceptual hash of 64 bits, up to 10 of them apart: the tool's default."""
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    found = hasher.find_duplicates(encoding_map=hasher.encode_images(tiles), max_distance_threshold=10)
    return ((name, other) for name, others in found.items() for other in others if name < other)


def fastdup(tiles: str) -> Iterable[tuple[str, str]]:
    """The tool's own features, pairs of a similarity of 0.9 and more: its default."""
    import fastdup as library

    with tempfile.TemporaryDirectory() as work:
        run = library.create(work_dir=work, input_dir=tiles)
        run.run(num_images=0, verbose=False, print_summary=False)
        table = run.similarity()
        alike = table[table["distance"] >= 0.9]
        names = zip(alike["filename_from"], alike["filename_to"], strict=True)
        return [(one.split("/")[-1], two.split("/")[-1]) for one, two in names]


def main() -> None:
    """Run the tool that the command line names."""
    tool, tiles, pairs = sys.argv[1:]
    start = time.perf_counter()
    try:
        found = list({"imagededup": imagededup, "fastdup": fastdup}[tool](tiles))
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        sys.exit(3)
    seconds = time.perf_counter() - start
    with open(pairs, "w", newline="") as file:
        csv.writer(file).writerows(found)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1000}))


if __name__ == "__main__":
    main()
