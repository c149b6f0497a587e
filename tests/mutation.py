"""``python tests/mutation.py [ROOM ...]``: how many small defects, put into a room, the tests notice.

One operator, constant, condition or return value of a module is changed at a time, in memory: each mutant
lives in a process of its own, forked after the heavy imports. It meets the tests that run the changed
statement (``tests/reach.py``), those of the module's own file first, then the quickest, until one fails or
``SECONDS`` are spent. What no test should notice is not drawn: documentation, wording, annotations, what is
only looked at in a figure. Which mutants are drawn depends on the text of their lines alone, so that a draw
stays the same where other lines change.

Writes ``benchmarks/results/mutation.csv``, a row a room, and ``mutants.csv``, a row a mutant. Mutants that
change nothing that can be observed are named, with the reason, in ``tests/equivalent_mutants.csv``: they are
counted, but not among those that a test could notice.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

from mutants import Mutant, draw, lines_of, modules_of, mutants, path_of
from reach import KEPT, ROOT, Reach, limit, options, silence

ROOMS = (
    "tiles", "files", "images", "hashes", "metrics", "augment", "network", "pairs", "acquisitions",
    "evaluation", "figures", "report", "find", "splits", "training", "review", "cluster", "commands",
)  # fmt: skip
"""Rooms whose modules are mutated: all of the package."""

SECONDS = 10
"""Of processor time, for the tests of a mutant; then it counts as not noticed."""

PRELOADED = (
    "cv2", "distributed", "flask", "h5py", "hypothesis", "jinja2", "joblib", "keras", "matplotlib.pyplot",
    "moto.server", "pandas", "pyarrow.parquet", "pytest", "rasterio", "s3fs", "scipy.sparse.csgraph",
    "shapely", "simplejpeg", "sklearn.model_selection", "tifffile", "yaml",
)  # fmt: skip
"""What tests and the package import that takes long; each mutant inherits it."""

PROFILE = "mutation"
"""Hypothesis's settings for mutants."""

RESULTS = ROOT / "benchmarks" / "results"

NOTICED, SURVIVED = "noticed", "survived"

EQUIVALENT = ROOT / "tests" / "equivalent_mutants.csv"
"""Mutants that change nothing that can be observed: module, change, source, reason."""


def outcome(mutant: Mutant | None, tests: list[str], reach: Reach) -> tuple[str, str]:
    """Whether tests notice a mutant (None: the package as it is), and at which test they ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_run(mutant, tests, reach, writing))
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        last = told.read().rpartition("\0")[2]
    _, status = os.waitpid(child, 0)
    return NOTICED if status else SURVIVED, last  # noticed, too, if they do not end in time


class _Finder(importlib.abc.MetaPathFinder):
    """Has a module imported, by whatever imports it first, from a syntax tree instead of its file."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, str(path), tree

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = importlib.machinery.SourceFileLoader(fullname, self.path)
        loader.get_code = lambda _: compile(self.tree, self.path, "exec")  # type: ignore[method-assign]
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


def prepare() -> None:
    """Import what takes long, and have Hypothesis spend no time on smaller examples of what fails."""
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    for name in ("OMP_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
        os.environ[f"{name}_THREADS"] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in PRELOADED:
        importlib.import_module(name)
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        PROFILE,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate],
    )
    # Mutants compile nothing but what is changed, and look through no garbage of their parent's.
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(KEPT / "compiled")
    gc.collect()
    gc.freeze()


class _Chosen:
    """Has pytest run certain tests in their order, as long as there is time, and says which it begins."""

    def __init__(self, tests: list[str], seconds: float, told: int) -> None:
        self.order = {test: number for number, test in enumerate(tests)}
        self.seconds, self.told = seconds, told

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid])

    def pytest_runtest_protocol(self, item: Any) -> bool | None:
        if time.process_time() > SECONDS:
            item.session.shouldstop = "no time is left"
            return True  # this test is not run
        limit(self.seconds)
        os.write(self.told, f"\0{item.nodeid}".encode())
        return None


def _run(mutant: Mutant | None, tests: list[str], reach: Reach, told: int) -> int:
    import pytest

    try:
        silence()
        if mutant:
            finder = _Finder(f"dupnet.{mutant.module}", path_of(mutant.module), mutant.tree())
            sys.meta_path.insert(0, finder)
        for file, names in groupby(tests, key=lambda test: test.partition("::")[0]):
            longest = max(taken for test, taken in reach.seconds.items() if test.startswith(f"{file}::"))
            seconds = 15 + 3 * longest
            limit(seconds)
            chosen = _Chosen(list(names), seconds, told)
            told_pytest = [*options(), "-x", f"--hypothesis-profile={PROFILE}", file]
            status = int(pytest.main(told_pytest, plugins=[chosen]))
            if status == pytest.ExitCode.INTERRUPTED and time.process_time() > SECONDS:
                return 0
            if status:
                return 1
        return 0
    except BaseException:
        return 1


def main() -> int:
    """Mutate rooms, count, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}, or a module (default: all rooms)"
    )
    parser.add_argument(
        "--sample", type=int, default=10**9, metavar="N", help="mutants a room (default: all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--again", action="store_true", help="only those of the draw not noticed before")
    chosen = parser.parse_args()
    prepare()
    reach = Reach()
    for room in chosen.rooms or ROOMS:
        known = RESULTS / "mutants.csv"  # of several on one line, none counts as noticed before all are
        before = _words(known, outcome=NOTICED) - _words(known, outcome=SURVIVED)
        noticed = before if chosen.again else set()
        _mutate(room, chosen.sample, chosen.seed, noticed, reach)
    return 0


def _mutate(room: str, n: int, seed: int, noticed: set[Any], reach: Reach) -> None:
    """Try a room's mutants but those that were noticed before, and write the results."""
    import pandas as pd

    every = [mutant for module in modules_of(room) for mutant in mutants(module)]
    drawn, equivalent = draw(every, n, seed), _words(EQUIVALENT)
    outcomes, failed = [], set()
    start = time.perf_counter()
    for mutant in drawn:
        found, test = NOTICED, ""
        if mutant.words() in equivalent:
            found = "equivalent"
        elif mutant.words() not in noticed:
            found, test = outcome(mutant, reach.tests(mutant.module, lines_of(mutant)), reach)
        if found == SURVIVED:
            print(f"{mutant.module}:{mutant.line}: {mutant.change}: {mutant.source}", flush=True)
        elif test:
            failed.add(test)
        outcomes.append(found)
    sound, test = outcome(None, sorted(failed), reach)
    if sound != SURVIVED:
        raise RuntimeError(f"{test} fails as it is")
    count = Counter(outcomes)
    n_noticeable = len(drawn) - count["equivalent"]
    share = round(count[NOTICED] / n_noticeable, 4)
    seconds = time.perf_counter() - start
    print(f"{room}: {count[NOTICED]} of {n_noticeable} mutants noticed; {seconds:.0f} s", flush=True)
    columns = ["room", "seed", "possible", "mutants", "equivalent", "noticed", "share"]
    row = (room, seed, len(every), len(drawn), count["equivalent"], count[NOTICED], share)
    _replace(RESULTS / "mutation.csv", pd.DataFrame([row], columns=columns), room)
    columns = ["room", "module", "line", "change", "source", "outcome"]
    rows = [(room, *mutant[:4], found) for mutant, found in zip(drawn, outcomes, strict=True)]
    _replace(RESULTS / "mutants.csv", pd.DataFrame(rows, columns=columns), room)


def _words(path: Path, **wanted: str) -> set[Any]:
    """What a table's mutants are known by, those of one outcome if that is wanted."""
    import pandas as pd

    if not path.exists():
        return set()
    table = pd.read_csv(path, dtype=str)
    for column, value in wanted.items():
        table = table[table[column] == value]
    return set(table[["module", "change", "source"]].itertuples(index=False, name=None))


def _replace(path: Path, rows: object, room: str) -> None:
    """Put rows in the place of those of a room."""
    import pandas as pd

    known = pd.read_csv(path) if path.exists() else pd.DataFrame()
    if len(known):
        known = known[known["room"] != room]
    table = pd.concat([known, rows]).sort_values("room", kind="stable")
    table.to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    sys.exit(main())
