"""What :mod:`mutation` changes: the small defects of a module, and which lines show them when they run."""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from reach import ROOT

WORDING = (
    "description",
    "desc",
    "encoding",
    "epilog",
    "help",
    "metavar",
    "prog",
    "stacklevel",
    "strict",
    "unit",
)
"""Arguments of calls whose change no test should notice."""

NEVER_TRUE = ("TYPE_CHECKING", "__name__ == '__main__'")
"""Conditions that hold in no test."""

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
    source: str
    place: int
    number: int

    def tree(self) -> ast.Module:
        """The changed module."""
        tree = _tree(self.module)
        _, apply = list(_changes(list(ast.walk(tree))[self.place]))[self.number]
        apply()
        return ast.fix_missing_locations(tree)

    def words(self) -> tuple[str, str, str]:
        """What the results know it by."""
        return self.module, self.change, self.source


def modules_of(room: str) -> list[str]:
    """The modules of a room, which may be one itself."""
    if path_of(room).exists():
        return [room]
    return sorted(f"{room}.{path.stem}" for path in (ROOT / "dupnet" / room).glob("[!_]*.py"))


def mutants(module: str) -> list[Mutant]:
    """All mutants of a module."""
    tree, texts = _tree(module), path_of(module).read_text(encoding="utf-8").splitlines()
    left_out = set(_not_behaviour(tree, is_drawing=module.startswith("figures.")))
    return [
        Mutant(module, node.lineno, change, texts[node.lineno - 1].strip(), place, number)
        for place, node in enumerate(ast.walk(tree))
        if id(node) not in left_out
        for number, (change, _) in enumerate(_changes(copy.copy(node)))
    ]


def draw(every: list[Mutant], n: int, seed: int) -> list[Mutant]:
    """At most ``n`` of the mutants, each by a number that its words and the seed alone decide."""
    seen: Counter[tuple[str, str, str]] = Counter()
    numbers = {}
    for mutant in every:
        words = mutant.words()
        numbers[mutant] = hashlib.sha256(repr((seed, words, seen[words])).encode()).digest()
        seen[words] += 1
    return sorted(sorted(every, key=numbers.__getitem__)[:n])


def lines_of(mutant: Mutant) -> list[str]:
    """Text of the lines whose running shows the changed statement; none, if that may be any of the module."""
    tree, texts = _tree(mutant.module), path_of(mutant.module).read_text(encoding="utf-8").splitlines()
    node = list(ast.walk(tree))[mutant.place]
    around = [
        found
        for found in ast.walk(tree)
        if isinstance(found, ast.stmt) and _start(found) <= node.lineno <= (found.end_lineno or 0)
    ]
    statement = max(around, key=lambda found: found.lineno)
    bodies = [found for found in around if isinstance(found, ast.FunctionDef) and found is not statement]
    if bodies or isinstance(statement, ast.FunctionDef):
        first, last = statement.lineno, statement.end_lineno or 0
        if isinstance(statement, ast.FunctionDef):
            first = statement.body[0].lineno
        elif getattr(statement, "body", None):
            last = max(first, statement.body[0].lineno - 1)
        return [text.strip() for text in texts[first - 1 : last]]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    names = {
        name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)
    }
    return [text.strip() for text in texts if names & set(re.findall(r"\w+", text))]


def _start(statement: ast.stmt) -> int:
    """The first line of a statement, or of its decorators."""
    return min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", []))])


def _not_behaviour(tree: ast.Module, is_drawing: bool) -> Iterator[int]:
    """Nodes whose change no test should notice: annotations, wording, ``__all__``, the look of a drawing."""
    parts: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            parts += [
                argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)
            ]
            parts.append(node.returns)
        elif isinstance(node, ast.AnnAssign):
            parts.append(node.annotation)
        elif isinstance(node, ast.Raise) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            parts.append(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\s", node.value):
            parts.append(node)  # a sentence
        elif isinstance(node, ast.If) and ast.unparse(node.test) in NEVER_TRUE:
            parts.append(node)
        elif isinstance(node, ast.keyword) and (is_drawing or node.arg in WORDING):
            parts += [inner for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("TypeVar", "cast"):
            parts += node.args[:1]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".reshape"):
            # NumPy takes every negative length for the one that is left open.
            parts += [inner.operand for inner in ast.walk(node) if isinstance(inner, ast.UnaryOp)]
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and (is_drawing or _is_type(statement)):
            parts.append(statement)
    for part in parts:
        if part is not None:
            yield from (id(inner) for inner in ast.walk(part))


def _is_type(statement: ast.Assign) -> bool:
    """Whether an assignment names a type or what a module shows."""
    value = statement.value.value if isinstance(statement.value, ast.Subscript) else None
    types_of = ("Callable", "Mapping", "NDArray", "Sequence", "dict", "list", "tuple")
    return ast.unparse(statement.targets[0]) == "__all__" or (
        value is not None and ast.unparse(value).split(".")[-1] in types_of
    )


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """What can be changed about a node: in words, and a function that does it."""

    def put(name: str, value: object, at: int | None = None) -> Callable[[], None]:
        def change() -> None:
            if at is None:
                setattr(node, name, value)
            else:
                getattr(node, name)[at] = value

        return change

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
        larger = 2 * node.value if node.value >= 16 or 1e-3 < node.value < 1 else node.value + 1
        yield f"{node.value} to {larger}", put("value", larger)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield f"{node.value!r} to another text", put("value", f"_{node.value}")
    elif isinstance(node, ast.Return) and ast.unparse(node) not in ("return", "return None", "return False"):
        yield "None returned", put("value", ast.Constant(None))
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", put("test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
        other_call = CALLS[node.func.attr]
        function = ast.Attribute(node.func.value, other_call, ast.Load())
        yield f"{node.func.attr} to {other_call}", put("func", function)


def path_of(module: str) -> Path:
    """The file of a module, which is named without the package."""
    return ROOT.joinpath("dupnet", *module.split(".")).with_suffix(".py")


def _tree(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text(encoding="utf-8"))
