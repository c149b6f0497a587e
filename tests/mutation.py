"""``python tests/mutation.py [ROOM ...]``: how many small defects, put into a room, the tests notice.

One operator, constant, condition or return value of the module is changed at a time, in memory: each mutant
lives in a process of its own, forked after the heavy imports, and no file is written but the results:
``benchmarks/results/mutation.csv`` and, with every mutant that no test noticed, ``mutation_survivors.csv``.
Each module is tried with the tests that are its own. Some mutants cannot be
noticed, because they change nothing that anybody sees; they are counted all the same.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import resource
import signal
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

ROOT = Path(__file__).resolve().parents[1]

ROOMS = ("tiles", "files", "images", "pairs", "report", "find", "splits", "review", "commands")
"""Rooms whose modules are mutated."""

OTHER_TESTS = {
    "files.atomic": ["test_files"],
    "files.extras": ["test_dependencies"],
    "files.identity": ["test_cache", "test_describe", "test_durability"],
    "images.collars": ["test_collar"],
    "images.collection_stretch": ["test_stretch"],
    "images.image": ["test_decoding", "test_windows", "test_images"],
    "images.jpeg": ["test_images", "test_formats"],
    "images.pictures": ["test_decoding"],
    "images.raster": ["test_windows", "test_formats"],
    "images.reading": ["test_images", "test_formats"],
    "images.tiles_on_disk": ["test_images", "test_options::TestTiles"],
    "pairs.candidates": ["test_pairs"],
    "pairs.reader": ["test_pair_reader"],
    "pairs.table": ["test_pairs"],
    "report.page": ["test_report"],
    "find.cache": ["test_cache", "test_durability"],
    "find.engine": ["test_crowds", "test_find"],
    "find.extrema": ["test_points"],
    "find.footprints": ["test_georeference_search"],
    "find.groups": ["test_groups", "test_crowds"],
    "find.judgements": ["test_verdicts", "test_audit_command"],
    "find.names": ["test_lists", "test_readers"],
    "find.placement": ["test_placement", "test_groups"],
    "find.point_index": ["test_near_copies", "test_find"],
    "find.point_search": ["test_crowds", "test_near_copies", "test_find"],
    "find.scoring": ["test_find"],
    "find.steps": ["test_near_copies", "test_crowds", "test_find"],
    "splits.assignment": ["test_splits"],
    "splits.conflicts": ["test_labels_command"],
    "splits.entries": ["test_lists", "test_leaks"],
    "splits.ground": ["test_leaks", "test_clean"],
    "splits.keeping": ["test_clean"],
    "splits.labels": ["test_labels_command"],
    "splits.repair": ["test_splits"],
    "splits.strata": ["test_splits"],
    "review.notebook": ["test_review_notebook"],
    "review.opening": ["test_opening", "test_wiring::TestReview"],
    "review.page": ["test_review"],
    "review.tables": ["test_review"],
    "commands.audit": ["test_options::TestAudit", "test_audit_command"],
    "commands.clean": ["test_options::TestClean", "test_clean"],
    "commands.cli": ["test_cli", "test_habits"],
    "commands.data": ["test_options::TestData", "test_data", "test_wiring::TestData"],
    "commands.evaluate": ["test_options::TestEvaluate", "test_wiring::TestPairsAndEvaluate", "test_cli"],
    "commands.find": ["test_find_arguments", "test_options::TestFind", "test_wiring::TestFind"],
    "commands.labels": ["test_options::TestLabels", "test_labels_command"],
    "commands.output": ["test_habits"],
    "commands.pairs": ["test_options::TestPairs", "test_wiring::TestPairsAndEvaluate", "test_cli"],
    "commands.review": ["test_review::test_the_command_hands_on_what_it_is_told", "test_wiring::TestReview"],
    "commands.split": ["test_options::TestSplit", "test_audit_command", "test_wiring::TestSplit"],
    "commands.tiles": ["test_options::TestTiles", "test_find_arguments", "test_wiring::TestTiles"],
    "commands.train": [
        "test_cli::test_every_option_of_train_reaches_the_training",
        "test_wiring::test_train",
    ],
}
"""Tests of modules that are not those of ``test_<module>``: files, or parts of them as pytest names them."""

SECONDS = 120
"""Of processor time, until a mutant that does not end counts as noticed: fifteen times what tests take."""

PRELOADED = (
    "cv2",
    "pyarrow.parquet",
    "pytest",
    "scipy.sparse.csgraph",
    "sklearn.model_selection",
    "tifffile",
)
"""What tests import that takes long; each mutant inherits it."""

PROFILE = "mutation"
"""Hypothesis's settings for mutants."""

BYTES = 8 * 2**30
"""Memory that a mutant may ask for."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.MatMult: ast.Add,
}  # fmt: skip

CALLS = {
    "any": "all", "minimum": "maximum", "argmin": "argmax", "min": "max", "zeros": "ones", "floor": "ceil",
    "sum": "max", "cumsum": "cumprod",
}  # fmt: skip
CALLS.update({other: one for one, other in CALLS.items()})
"""Functions and methods that are called in the place of others."""


class Mutant(NamedTuple):
    """A change of a module: of which node of its syntax tree, which of the changes of that node, in words."""

    module: str
    line: int
    change: str
    place: int
    number: int

    def tree(self) -> ast.Module:
        """The changed module."""
        tree = ast.parse(_path(self.module).read_text(encoding="utf-8"))
        _, apply = list(_changes(list(ast.walk(tree))[self.place]))[self.number]
        apply()
        return ast.fix_missing_locations(tree)

    def source(self) -> str:
        """The line as it stands."""
        return _path(self.module).read_text(encoding="utf-8").splitlines()[self.line - 1].strip()


def modules_of(room: str) -> list[str]:
    """The modules of a room, which may be one itself."""
    if _path(room).exists():
        return [room]
    return sorted(f"{room}.{path.stem}" for path in (ROOT / "dupnet" / room).glob("[!_]*.py"))


def tests_of(module: str) -> list[str]:
    """What pytest is to run of a module's tests."""
    named = OTHER_TESTS.get(module, [f"test_{module.rpartition('.')[2]}"])
    parts = (name.partition("::") for name in named)
    return [f"{ROOT / 'tests' / file}.py{colons}{part}" for file, colons, part in parts]


def mutants(module: str) -> list[Mutant]:
    """All mutants of a module."""
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    left_out = set(_not_behaviour(tree))
    return [
        Mutant(module, getattr(node, "lineno", 0), change, place, number)
        for place, node in enumerate(ast.walk(tree))
        if id(node) not in left_out
        for number, (change, _) in enumerate(_changes(copy.copy(node)))
    ]


def _not_behaviour(tree: ast.Module) -> Iterator[int]:
    """Nodes whose change no test should notice: annotations, docstrings, messages of errors, ``__all__``."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parts = [argument.annotation for argument in arguments] + [node.returns]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.Raise | ast.Expr) and not isinstance(
            getattr(node, "value", None), ast.Call | ast.Yield | ast.YieldFrom
        ):
            parts = [node]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value.value if isinstance(node.value, ast.Subscript) else None
            is_type = isinstance(value, ast.Attribute) and value.attr in ("NDArray", "Callable")
            is_type |= isinstance(value, ast.Name) and value.id in (
                "Callable",
                "Sequence",
                "Mapping",
                "tuple",
            )
            parts = [node] if node.targets[0].id == "__all__" or is_type else []
        for part in parts:
            if part is not None:
                yield from (id(inner) for inner in ast.walk(part))


def _changes(node: ast.AST) -> Iterator[tuple[str, types.FunctionType]]:
    """What can be changed about a node: in words, and a function that does it."""

    def put(name: str, value: object, at: int | None = None) -> types.FunctionType:
        def change() -> None:
            if at is None:
                setattr(node, name, value)
            else:
                getattr(node, name)[at] = value

        return change  # type: ignore[return-value]

    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            other = COMPARISONS[type(operator)]
            yield f"{type(operator).__name__} to {other.__name__}", put("ops", other(), number)
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        swapped = OPERATORS[type(node.op)]
        yield f"{type(node.op).__name__} to {swapped.__name__}", put("op", swapped())
    elif isinstance(node, ast.BoolOp):
        joined = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{type(node.op).__name__} to {joined.__name__}", put("op", joined())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert):
        yield f"{type(node.op).__name__} left out", put("op", ast.UAdd())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} to {not node.value}", put("value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield f"{node.value} to {node.value + 1}", put("value", node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield f"{node.value!r} to another text", put("value", f"{node.value}_")
    elif isinstance(node, ast.Return) and node.value is not None:
        yield "None returned", put("value", ast.Constant(None))
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", put("test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
        other_call = CALLS[node.func.attr]
        function = ast.Attribute(node.func.value, other_call, ast.Load())
        yield f"{node.func.attr} to {other_call}", put("func", function)


def outcome(module: str, tree: ast.Module) -> str:
    """What the module's tests do with this tree in its place: ``pass``, ``fail`` or ``do not end``."""
    child = os.fork()
    if child == 0:
        os._exit(_run(module, tree))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL, signal.SIGALRM):
        return "do not end"
    return "fail" if status else "pass"


def _path(module: str) -> Path:
    return ROOT.joinpath("dupnet", *module.split(".")).with_suffix(".py")


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


def limit() -> None:
    """Limit what this process may take."""
    # Not by the clock, for beside other work all takes long; the clock is for a test that waits for ever.
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.alarm(20 * SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def silence() -> None:
    """Drop what this process prints."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def register_profile() -> None:
    """Hypothesis's settings for mutants: a failing example is enough, no time is spent on a smaller one."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        PROFILE,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate],
    )


def _run(module: str, tree: ast.Module) -> int:
    import pytest

    limit()
    silence()
    try:
        sys.meta_path.insert(0, _Finder(f"dupnet.{module}", _path(module), tree))
        options = ["-x", "-q", "--tb=no", f"--hypothesis-profile={PROFILE}"]
        options += [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "cov")]
        return int(pytest.main([*options, *tests_of(module)]))
    except BaseException:
        return 1


def main() -> int:
    """Mutate rooms, count, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}, or a module (default: all rooms)"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="mutants to draw of each (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="only those of the draw that no test noticed")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import pandas as pd

    for name in PRELOADED:
        importlib.import_module(name)
    register_profile()

    results = ROOT / "benchmarks" / "results"
    known = results / "mutation_survivors.csv"
    survived = set()
    if options.again:
        survived = set(pd.read_csv(known)[["module", "change", "source"]].itertuples(index=False, name=None))
    for room in options.rooms or ROOMS:
        every = [mutant for module in modules_of(room) for mutant in mutants(module)]
        drawn = every
        if options.sample and options.sample < len(every):
            drawn = random.Random(options.seed).sample(every, options.sample)
        sound: dict[str, bool] = {}
        survivors, n_endless = [], 0
        start = time.perf_counter()
        for mutant in sorted(drawn):
            text = (mutant.module, mutant.change, mutant.source())
            if options.again and text not in survived:
                continue
            if mutant.module not in sound:
                whole = ast.parse(_path(mutant.module).read_text(encoding="utf-8"))
                sound[mutant.module] = outcome(mutant.module, whole) == "pass"
            if not sound[mutant.module]:
                print(f"{mutant.module}: its tests fail as it is", file=sys.stderr)
                return 1
            found = outcome(mutant.module, mutant.tree())
            n_endless += found == "do not end"
            if found == "pass":
                survivors.append((room, mutant.module, mutant.line, *text[1:]))
                print(f"{mutant.module}:{mutant.line}: {mutant.change}: {text[2]}", flush=True)
        caught = len(drawn) - len(survivors)
        seconds = time.perf_counter() - start
        words = f"{caught} of {len(drawn)} mutants noticed, {n_endless} of them by not ending"
        print(f"{room}: {words}; {seconds:.0f} s", flush=True)
        row = (room, len(every), len(drawn), caught, round(caught / len(drawn), 4))
        columns = ["room", "possible", "mutants", "caught", "share"]
        _replace(results / "mutation.csv", pd.DataFrame([row], columns=columns), room)
        columns = ["room", "module", "line", "change", "source"]
        _replace(known, pd.DataFrame(survivors, columns=columns), room)
    return 0


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
