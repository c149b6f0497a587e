"""``python tests/mutation.py [MODULE ...]``: how many small defects, put into a module, its tests notice.

One operator, constant, condition or return value of the module is changed at a time, in memory: each mutant
lives in a process of its own, forked after the heavy imports, and no file is written but the results:
``benchmarks/results/mutation.csv`` and, with every mutant that no test noticed, ``mutation_survivors.csv``.
Some of these cannot be noticed, because they change nothing that anybody sees; they are counted all the same.
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

MODULES = {
    "tiles": ["test_tiles"],
    "pairs.candidates": ["test_pairs"],
    "pairs.table": ["test_pairs"],
    "find.overlaps": ["test_overlaps"],
    "find.tile_overlaps": ["test_tile_overlaps"],
    "find.groups": ["test_groups"],
    "find.placement": ["test_placement", "test_groups"],
    "find.results": ["test_results"],
    "find.cache": ["test_cache", "test_durability"],
    "files.storage": ["test_storage"],
    "review.judgements": ["test_judgements"],
    "review.notebook": ["test_review"],
    "review.opening": ["test_review", "test_wiring::TestReview"],
    "review.page": ["test_review"],
    "review.queue": ["test_review", "test_wiring::TestReview"],
    "review.tables": ["test_review"],
    "commands.arguments": ["test_arguments"],
    "commands.audit": ["test_cli"],
    "commands.cli": ["test_cli"],
    "commands.data": ["test_data", "test_wiring::TestData"],
    "commands.evaluate": ["test_wiring::TestPairsAndEvaluate", "test_cli"],
    "commands.find": ["test_wiring::TestFind", "test_cli"],
    "commands.pairs": ["test_wiring::TestPairsAndEvaluate", "test_cli"],
    "commands.review": ["test_wiring::TestReview"],
    "commands.split": ["test_wiring::TestSplit", "test_cli"],
    "commands.tiles": ["test_wiring::TestTiles", "test_cli"],
    "commands.train": ["test_wiring::test_train"],
}
"""Modules of the package, and the tests that are theirs: files, or parts of them as pytest names them."""

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
    """A changed module: where, how, and its syntax tree."""

    line: int
    change: str
    tree: ast.Module


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module."""
    tree = ast.parse(source)
    left_out = set(_not_behaviour(tree))
    found = []
    for place, node in enumerate(ast.walk(tree)):
        if id(node) not in left_out:
            for number, (change, _) in enumerate(_changes(copy.copy(node))):
                found.append(_mutant(source, place, number, change))
    return found


def _mutant(source: str, place: int, number: int, change: str) -> Mutant:
    tree = ast.parse(source)
    node = list(ast.walk(tree))[place]
    _, apply = list(_changes(node))[number]
    apply()
    return Mutant(getattr(node, "lineno", 0), change, ast.fix_missing_locations(tree))


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
        files = (name.partition("::") for name in MODULES[module])
        tests = [f"{ROOT / 'tests' / file}.py{colons}{part}" for file, colons, part in files]
        options = ["-x", "-q", "--tb=no", f"--hypothesis-profile={PROFILE}"]
        options += [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "cov")]
        return int(pytest.main([*options, *tests]))
    except BaseException:
        return 1


def main() -> int:
    """Mutate modules, count, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)} (default: all)"
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
    counts = {path.stem: pd.read_csv(path) for path in results.glob("mutation*.csv")}
    for module in options.modules or MODULES:
        source = _path(module).read_text(encoding="utf-8")
        if outcome(module, ast.parse(source)) != "pass":
            print(f"{module}: its tests fail as it is", file=sys.stderr)
            return 1
        every = mutants(source)
        drawn = every
        if options.sample and options.sample < len(every):
            drawn = random.Random(options.seed).sample(every, options.sample)
        lines = source.splitlines()
        texts = [(mutant.line, mutant.change, lines[mutant.line - 1].strip()) for mutant in drawn]
        known = counts.get("mutation_survivors")
        survived = set()
        if options.again and known is not None:
            known = known[known["module"] == module]
            survived = set(known[["change", "source"]].itertuples(index=False, name=None))
        survivors, n_endless = [], 0
        start = time.perf_counter()
        for mutant, text in zip(drawn, texts, strict=True):
            is_known_to_be_noticed = options.again and text[1:] not in survived
            found = "fail" if is_known_to_be_noticed else outcome(module, mutant.tree)
            n_endless += found == "do not end"
            if found == "pass":
                survivors.append((module, *text))
                print(f"{module}:{text[0]}: {text[1]}: {text[2]}", flush=True)
        caught = len(drawn) - len(survivors)
        seconds = time.perf_counter() - start
        words = f"{caught} of {len(drawn)} mutants noticed, {n_endless} of them by not ending"
        print(f"{module}: {words}; {seconds:.0f} s", flush=True)
        row = (module, len(every), len(drawn), caught, round(caught / len(drawn), 4))
        columns = ["module", "possible", "mutants", "caught", "share"]
        _replace(results / "mutation.csv", pd.DataFrame([row], columns=columns), module)
        columns = ["module", "line", "change", "source"]
        _replace(results / "mutation_survivors.csv", pd.DataFrame(survivors, columns=columns), module)
    return 0


def _replace(path: Path, rows: object, module: str) -> None:
    """Put rows in the place of those of a module."""
    import pandas as pd

    known = pd.read_csv(path) if path.exists() else pd.DataFrame()
    if len(known):
        known = known[known["module"] != module]
    table = pd.concat([known, rows]).sort_values("module", kind="stable")
    table.to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    sys.exit(main())
