"""Numbers in the documents, written from the result files that they come from.

``python docs/tables.py`` brings every document up to date; a test fails while one is not. Two marks are
known, both comments that a reader does not see. A number::

    0.90<!-- notebooks/results/image_hashes.csv hash=opencv_phash recall .2f -->

names a table, the row by one or more ``column=value`` (commas between, spaces written as underscores), the
column, and a format: Python's, or one that ends in ``p`` for per cent (``.1p``). A table::

    <!-- table notebooks/results/image_hashes.csv | hash | recall .2f recall at 99.99 % -->
    <!-- end -->

lists columns, each with a format and a heading where it needs one, and may select rows with
``column=value`` or ``column=value,value`` after the file. ``<!-- include benchmarks/results/speed.md -->``
takes in a whole file, up to the next ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "RESEARCH.md",
    "IMAGE_METRICS.md",
    "MODEL_CARD.md",
    "docs/changed_copies.md",
    "docs/formats.md",
    "docs/scaling.md",
    "notebooks/README.md",
)
"""Documents whose numbers are results."""

NUMBER = re.compile(
    r"(?P<number>[-+]?\d[\d,.]*)?<!-- (?P<path>\S+\.csv) (?P<row>\S+=\S+) (?P<column>\S+) (?P<spec>\S+) -->"
)
BLOCK = re.compile(
    r"(?P<open><!-- (?P<kind>table|include) (?P<what>[^>]*?) -->\n)(?P<body>.*?)(?P<close><!-- end -->)",
    re.DOTALL,
)


@cache
def read(path: str) -> pd.DataFrame:
    """A result table of the repository.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    if not (ROOT / path).is_file():
        raise ValueError(
            f"{path}: there is no such result table; the notebook or benchmark that writes it was not run."
        )
    return pd.read_csv(ROOT / path)


def up_to_date(text: str) -> str:
    """The text of a document with every marked number and table written anew."""
    text = BLOCK.sub(
        lambda found: found["open"] + _block(found["kind"], found["what"]) + found["close"], text
    )
    return NUMBER.sub(_number, text)


def _number(found: re.Match[str]) -> str:
    table = _select(found["path"], found["row"].split(","))
    if len(table) != 1:
        raise ValueError(f"{found[0]}: {len(table)} rows of {found['path']} fit; it must be one.")
    if found["column"] not in table:
        raise ValueError(f"{found[0]}: {found['path']} has the columns {', '.join(table)}.")
    mark = found[0][found.end("number") - found.start() if found["number"] else 0 :]
    return _format(table[found["column"]].iloc[0], found["spec"]) + mark


def _block(kind: str, what: str) -> str:
    if kind == "include":
        return (ROOT / what).read_text(encoding="utf-8").strip() + "\n"
    source, *columns = (part.strip() for part in what.split("|"))
    path, *conditions = source.split()
    table = _select(path, conditions)
    names, specs, headings = zip(*(_column(text) for text in columns), strict=True)
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in names]
    lines = [list(headings), ["---:" if right else "---" for right in numeric]]
    for _, row in table.iterrows():
        lines.append([_format(row[name], spec) for name, spec in zip(names, specs, strict=True)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _column(text: str) -> tuple[str, str, str]:
    name, *rest = text.split()
    spec = rest.pop(0) if rest and re.fullmatch(r"[,+]?(\.\d+)?[dfgpes%]", rest[0]) else ""
    return name, spec, " ".join(rest) or name.replace("_", " ")


def _select(path: str, conditions: list[str]) -> pd.DataFrame:
    table = read(path)
    for condition in conditions:
        column, _, value = condition.partition("=")
        if column not in table:
            raise ValueError(f"{condition}: {path} has the columns {', '.join(table)}.")
        table = table[table[column].astype(str).str.replace(" ", "_").isin(value.split(","))]
    return table


def _format(value: object, spec: str) -> str:
    if isinstance(value, float) and pd.isna(value):
        return ""
    if spec.endswith("p"):
        return format(100 * float(str(value)), spec[:-1] + "f")
    if spec.endswith("d"):
        return format(round(float(str(value))), spec)
    return format(value, spec) if spec else str(value)


def main() -> int:
    """Write every document anew; says which ones changed."""
    for name in DOCUMENTS:
        path = ROOT / name
        if path.exists():
            before = path.read_text(encoding="utf-8")
            after = up_to_date(before)
            if after != before:
                path.write_text(after, encoding="utf-8")
                print(f"{name}: numbers brought up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
