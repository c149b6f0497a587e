"""Reading what lists images: tables under any column names, plain lists, JSON, COCO files.

Everything is text: ``NA`` is a name, and ``007`` is no number. What is not UTF-8 is spelled out (``\\xe9``):
no image of a collection has such a name, and pandas has no text for it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dupnet.files.atomic import is_utf8, plain_names, read_parquet, refuse_device
from dupnet.find.names import ImageNames

__all__ = [
    "CLASS_COLUMNS",
    "IMAGE_COLUMNS",
    "RUN_LENGTH_COLUMNS",
    "SPLIT_COLUMNS",
    "SPLIT_WORDS",
    "check_column",
    "coco_name",
    "files_in",
    "image_column",
    "is_coco",
    "is_names",
    "read_json",
    "read_lines",
    "read_records",
    "read_text",
    "read_text_table",
    "split_column",
    "word_in",
]

SPLIT_WORDS = (
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "holdout", "eval",
)  # fmt: skip
"""What splits are called; any other name can be given as ``NAME=LIST`` or in a column."""

IMAGE_COLUMNS = (
    "image", "filename", "file", "imagename", "imagefile", "imagepath", "filepath", "path", "img", "imgname",
    "imgpath", "imageid", "name", "id", "tile", "chip", "patch", "key",
)  # fmt: skip
"""Columns that hold the images, most telling first; case, spaces, ``_``, ``-`` and ``.`` do not count."""

SPLIT_COLUMNS = (
    "split", "set", "subset", "fold", "partition", "phase", "dataset", "datasplit", "splitname", "usage",
)  # fmt: skip
"""Columns that hold the splits, most telling first."""

RUN_LENGTH_COLUMNS = ("encodedpixels", "runlengths", "runlength", "rle", "maskrle", "rlemask")
"""Columns of run lengths as the Airbus set has them; case, spaces, ``_`` and ``-`` do not count."""

CLASS_COLUMNS = ("class", "label", "category", "classname", "labelname", "categoryname", "name", "classid")
"""Columns of the class of an image or a box, most telling first."""

N_TRIED = 1000
"""Names of a column that are looked up to see whether it is the one of images."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape of a surrogate in JSON: two are one character, one alone is none."""


def word_in(name: str) -> str | None:
    """The split that a name speaks of: ``train`` of ``instances_train2017``; None of none or of several."""
    words = {word for word in re.findall(r"[a-z]+", name.lower()) if word in SPLIT_WORDS}
    return words.pop() if len(words) == 1 else None


def read_text(path: str) -> str:
    """A text, all at once, as a pipe is read.

    Raises
    ------
    ValueError
        If it is a device.
    OSError
        If it cannot be read.
    """
    refuse_device(path)
    with open(path, encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        return file.read()


def read_text_table(path: str) -> pd.DataFrame:
    """A table from CSV (any of the usual delimiters, with a header or without), TSV or Parquet, all as text.

    Raises
    ------
    ValueError
        If it is none.
    OSError
        If it cannot be read.
    """
    if path.lower().endswith(".parquet"):
        table = read_parquet(path)
        return table.astype(object).where(table.notna(), "").astype(str).astype(object)
    text = read_text(path)
    if "\0" in text or not text.strip():
        raise ValueError(f"{path!r} is no table in CSV and UTF-8; give one.")
    first = text[:65_536].splitlines()[0]
    delimiter = max(",;\t|", key=first.count)
    if delimiter not in first and len(first.split()) == 2:
        delimiter = " "
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise ValueError(f"{path!r} is no table in CSV ({error}); give one.") from None
    # Without a header, the first row is one like the others and holds the name of a split.
    n_columns = len(rows[0])
    has_header = n_columns == 1 or not any(cell.strip().lower() in SPLIT_WORDS for cell in rows[0])
    header = (
        [cell.strip() for cell in rows[0]] if has_header else [f"column {n + 1}" for n in range(n_columns)]
    )
    seen: Counter[str] = Counter()
    for number, cell in enumerate(header):  # a column is found by its name
        seen[cell] += 1
        if seen[cell] > 1:
            header[number] = f"{cell} ({seen[cell]})"
    uneven = [number for number, row in enumerate(rows) if len(row) != n_columns]
    if uneven:
        raise ValueError(
            f"{path!r} is no table in CSV: its row {uneven[0] + 1} has {len(rows[uneven[0]])} fields, the "
            f"first has {n_columns}."
        )
    return plain_names(pd.DataFrame(rows[int(has_header) :], columns=header, dtype=object))


def read_lines(path: str, known: ImageNames) -> list[str]:
    """One image a line; of lines such as ``000032 -1`` or ``a.jpg 0`` the first word.

    Raises
    ------
    ValueError
        If the file is no list of names, or an empty one.
    OSError
        If it cannot be read.
    """
    text = read_text(path)
    if "\0" in text:
        raise ValueError(f"{path!r} is no list of names; give one image a line.")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError(f"{path!r} lists nothing; give one image a line.")
    words = [re.split(r"[\s,;]+", line)[0] for line in lines]
    return lines if known.n_matched(lines[:N_TRIED]) >= known.n_matched(words[:N_TRIED]) else words


def read_json(path: str) -> Any:
    """What a JSON file holds.

    Raises
    ------
    ValueError
        If it is none.
    OSError
        If it cannot be read.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
        if _SURROGATE.search(text):  # pandas has no text for one alone
            content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
        return content
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path!r} is no JSON ({str(error)[:80]}).") from None


def read_records(content: Any, path: str) -> pd.DataFrame:
    """A table from JSON records, all as text.

    Raises
    ------
    ValueError
        If it holds none.
    """
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        table = pd.DataFrame(content, dtype=object)
        return table.where(table.notna(), "").astype(str).astype(object)
    raise ValueError(
        f"{path!r} is JSON, but neither a COCO file (with 'images'), nor records, nor names by split."
    )


def is_coco(content: Any) -> bool:
    """Whether JSON is a COCO file: at least a list of images."""
    images = content.get("images") if isinstance(content, dict) else None
    return isinstance(images, list) and all(isinstance(entry, dict) for entry in images)


def coco_name(entry: dict[str, Any], path: str) -> str:
    """The file of an image of a COCO file.

    Raises
    ------
    ValueError
        If it names none.
    """
    name = entry.get("file_name") or str(entry.get("coco_url") or "").rsplit("/", 1)[-1]
    if not name:
        raise ValueError(f"{path!r}: image {entry.get('id')!r} has no file_name.")
    return str(name)


def is_names(value: Any) -> bool:
    """Whether JSON is a list of names."""
    return isinstance(value, list) and bool(value) and all(isinstance(name, str | int) for name in value)


def image_column(table: pd.DataFrame, known: ImageNames, path: str) -> str:
    """The column of images: of those so called, or else of all, the one whose names fit most images.

    Raises
    ------
    ValueError
        If there is none.
    """
    named = _called(table, IMAGE_COLUMNS)
    for columns in (named, [str(column) for column in table if column not in named]):
        fitting = [(column, known.n_matched(table[column].unique()[:N_TRIED])) for column in columns]
        best = max((count for _, count in fitting), default=0)
        if best:
            return next(column for column, count in fitting if count == best)
    if named:
        return named[0]
    raise ValueError(
        f"{path!r}: no column holds names of these images ({', '.join(map(str, table.columns))}); name it "
        "with --image-column."
    )


def split_column(table: pd.DataFrame, image: str, path: str) -> str:
    """The column of splits: the only one so called, else the only one that holds the usual names of splits,
    else the only one beside that of the images, unless it is called as one of labels.

    Raises
    ------
    ValueError
        If that is not clear.
    """
    others = [str(column) for column in table if column != image]
    usual = [column for column in others if table[column].str.strip().str.lower().isin(SPLIT_WORDS).all()]
    labels = _called(table[others], (*CLASS_COLUMNS, *RUN_LENGTH_COLUMNS))
    unnamed = [column for column in others if column not in labels]
    for columns in (_called(table[others], SPLIT_COLUMNS), usual, unnamed):
        if len(columns) == 1:
            return columns[0]
        if len(set(columns) & set(usual)) == 1:  # of `set` and `fold`, the one with train and val in it
            return next(column for column in columns if column in usual)
        if columns:
            break
    raise ValueError(
        f"{path!r}: which column holds the split is not clear ({', '.join(map(str, table.columns))}); name "
        "it with --split-column."
    )


def check_column(table: pd.DataFrame, column: str, path: str, option: str) -> None:
    """Check that a table has a column.

    Raises
    ------
    ValueError
        If it has not.
    """
    if column not in table:
        raise ValueError(
            f"{path!r} has no column {column!r} ({option}); it has {', '.join(map(str, table.columns))}."
        )


def files_in(folder: Path) -> list[str]:
    """Files of a folder and of those in it, relative to it; hidden ones are left out, and those whose names
    are not UTF-8, which no image of a collection has."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        where = Path(root).relative_to(folder)
        found += [(where / name).as_posix() for name in sorted(files) if not name.startswith(".")]
    return list(filter(is_utf8, found))


def _called(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    plain = {str(column): re.sub(r"[\s_\-.]", "", str(column)).lower() for column in table}
    return [column for name in names for column in plain if plain[column] == name]
