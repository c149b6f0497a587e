"""``python tests/mutation.py [ROOM ...]``: how many small defects, put into a room, the tests notice.

One operator, constant, condition or return value of a module is changed at a time, in memory: each mutant
lives in a process of its own, forked after the heavy imports. It meets the tests that run the changed
statement (``tests/reach.py``), those of the module's own file first, then the quickest, until one fails or
``SECONDS`` are spent. What no test should notice is not drawn: documentation, wording, annotations, what is
only looked at in a figure. Which mutants are drawn depends on the text of their lines alone, so that a draw
stays the same where other lines change.

Writes ``benchmarks/results/mutation.csv`` and, with every mutant that no test noticed,
``mutation_survivors.csv``. Mutants that change nothing that can be observed are named, with the reason, in
``tests/equivalent_mutants.csv``: they are counted, but not among those that a test could notice.
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
import signal
import sys
import time
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

SECONDS = 6
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

EQUIVALENT = ROOT / "tests" / "equivalent_mutants.csv"
"""Mutants that change nothing that can be observed: module, change, source, reason."""


def outcome(mutant: Mutant | None, tests: list[str], reach: Reach) -> tuple[str, str]:
    """What tests do with a mutant (None: with the package as it is): pass, fail or "do not end"; at which."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_run(mutant, tests, reach, writing))
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        last = told.read().rpartition("\n")[2]
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM):
        return "do not end", last
    return "fail" if status else "pass", last


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
        os.write(self.told, f"\n{item.nodeid}".encode())
        return None


def _run(mutant: Mutant | None, tests: list[str], reach: Reach, told: int) -> int:
    import pytest

    try:
        silence()
        if mutant:
            finder = _Finder(f"dupnet.{mutant.module}", path_of(mutant.module), mutant.tree())
            sys.meta_path.insert(0, finder)
        for file, names in groupby(tests, key=lambda test: test.partition("::")[0]):
            longest = max(reach.seconds[test] for test in reach.seconds if test.startswith(f"{file}::"))
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
    parser.add_argument("--again", action="store_true", help="only those of the draw that no test noticed")
    chosen = parser.parse_args()
    prepare()
    reach = Reach()
    survived = _words(RESULTS / "mutation_survivors.csv") if chosen.again else None
    for room in chosen.rooms or ROOMS:
        _mutate(room, chosen.sample, chosen.seed, survived, reach)
    return 0


def _mutate(room: str, n: int, seed: int, survived: set[Any] | None, reach: Reach) -> None:
    """Try a room's mutants, only those that survived if these are given, and write the results."""
    import pandas as pd

    every = [mutant for module in modules_of(room) for mutant in mutants(module)]
    drawn = draw(every, n, seed)
    known = _words(EQUIVALENT)
    equivalent = [mutant for mutant in drawn if mutant.words() in known]
    survivors, n_endless, failed = [], 0, set()
    start = time.perf_counter()
    for mutant in drawn:
        if mutant in equivalent or (survived is not None and mutant.words() not in survived):
            continue
        tests = reach.tests(mutant.module, lines_of(mutant))
        found, test = outcome(mutant, tests, reach)
        n_endless += found == "do not end"
        if found == "pass":
            survivors.append((room, mutant.module, mutant.line, mutant.change, mutant.source))
            print(f"{mutant.module}:{mutant.line}: {mutant.change}: {mutant.source}", flush=True)
        else:
            failed.add(test)
    sound = outcome(None, sorted(failed - {""}), reach)
    if sound[0] != "pass":
        raise RuntimeError(f"{sound[1]} fails as it is")
    n_noticeable = len(drawn) - len(equivalent)
    caught = n_noticeable - len(survivors)
    seconds = time.perf_counter() - start
    words = f"{caught} of {n_noticeable} mutants noticed, {n_endless} of them by not ending"
    print(f"{room}: {words}; {seconds:.0f} s", flush=True)
    row = (room, seed, len(every), len(drawn), len(equivalent), caught, round(caught / n_noticeable, 4))
    columns = ["room", "seed", "possible", "mutants", "equivalent", "caught", "share"]
    _replace(RESULTS / "mutation.csv", pd.DataFrame([row], columns=columns), room)
    columns = ["room", "module", "line", "change", "source"]
    _replace(RESULTS / "mutation_survivors.csv", pd.DataFrame(survivors, columns=columns), room)


def _words(path: Path) -> set[Any]:
    """What a table's mutants are known by."""
    import pandas as pd

    if not path.exists():
        return set()
    return set(pd.read_csv(path)[["module", "change", "source"]].itertuples(index=False, name=None))


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
