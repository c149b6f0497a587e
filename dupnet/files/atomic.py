"""Files and tables: written beside and then renamed, so that none is ever half there; tables read; folders
that remember what their files were made with.

Names of images come from files of unknown origin, and a spreadsheet takes a cell that begins with ``=``,
``+``, ``-`` or ``@`` for a formula. In a CSV such a name has an apostrophe before it, as spreadsheets write
text; :func:`plain_names` takes it away again. A Parquet file holds names as they are.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import time
import uuid
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from dupnet.files.extras import extra

__all__ = [
    "atomic_path",
    "check_keras_file",
    "check_replaceable",
    "claim",
    "is_utf8",
    "plain_name",
    "plain_names",
    "read_any",
    "read_csv",
    "read_parquet",
    "refuse_device",
    "remove_partial",
    "text_name",
    "write_csv",
    "write_parquet",
    "writes_parquet",
]

PARTIAL = ".partial-"
"""Beginning of the name of a file that is being written."""

NAMES = ("image", "image1", "image2")
"""Columns that hold names of images."""

FORMULA = r"^'*[=+\-@\t\r]"
"""Beginnings of names that get an apostrophe; those that have one get another, so that it can be undone."""

_APOSTROPHE = rf"^'(?={FORMULA.removeprefix('^')})"
"""That apostrophe."""


@contextmanager
def atomic_path(path: str | os.PathLike[str], sync: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path``; renamed to it when the block ends well, removed when it does not.

    The temporary name keeps the suffix, because image libraries choose the format by it. With ``sync`` what
    was written is on the disk before it has its name: a power cut leaves no empty file in its place.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.parent / f"{PARTIAL}{uuid.uuid4().hex}{target.suffix}"
    # Not by tempfile: so the umask applies by itself; reading it is not safe between threads.
    try:
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        error.filename = os.fspath(target)  # the name that is known to who asked for it
        raise
    try:
        yield beside
        if sync:
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def remove_partial(folder: str | os.PathLike[str], older_than: float = 0.0) -> None:
    """Remove what killed processes were writing into a folder: files that no one will rename any more.

    ``older_than`` in seconds spares those of a process that may be at work.
    """
    for path in Path(folder).glob(f"{PARTIAL}*"):
        try:
            if time.time() - path.stat().st_mtime >= older_than:
                path.unlink()
        except FileNotFoundError:  # renamed by now
            continue


def claim(folder: str | os.PathLike[str], record: str, settings: Mapping[str, Any], command: str) -> None:
    """Claim a folder, made if it is missing, for the files that ``command`` makes with ``settings``.

    The file ``record`` in it keeps the settings. A folder that holds nothing else, because an earlier run
    failed at once, is claimed again.

    Raises
    ------
    NotADirectoryError
        If it is a file.
    ValueError
        If it holds files without a record, or with a record of other settings.
    """
    name, claimed = os.fspath(folder), Path(folder).resolve()  # "new/.." exists only once "new" does
    marker = claimed / record
    if claimed.exists() and not claimed.is_dir():
        raise NotADirectoryError(f"{name!r} is a file; choose a folder.")
    if all(path.is_dir() or path == marker or path.name.startswith(PARTIAL) for path in claimed.rglob("*")):
        with atomic_path(marker) as beside:
            beside.write_text(json.dumps(settings), encoding="utf-8")
        return
    if not marker.exists():
        raise ValueError(f"{name!r} is not an output folder of `{command}`; choose a new or an empty folder.")
    try:
        known = json.loads(marker.read_bytes())
        other = [
            f"{key} {known[key]!r}, not {value!r}" for key, value in settings.items() if known[key] != value
        ]
    except (KeyError, RecursionError, TypeError, ValueError):
        raise ValueError(
            f"{os.fspath(marker)!r} is damaged: what the files of its folder were made with is lost; choose "
            "another folder."
        ) from None
    if other:
        raise ValueError(
            f"{name!r} holds what `{command}` made with {'; '.join(other)}. Choose another folder, or the "
            "same settings."
        )


def check_replaceable(path: str | os.PathLike[str], columns: Collection[str]) -> None:
    """Check that writing a table of these columns would replace nothing but a table of the same columns.

    Raises
    ------
    ValueError
        If ``path`` is a file of another kind.
    OSError
        If it cannot be read.
    """
    if not Path(path).exists():
        return
    if not (Path(path).is_file() or Path(path).is_dir()):
        raise ValueError(f"{os.fspath(path)!r} is a device or a pipe; name a file.")
    try:
        known = read_any(path, nrows=0)
        is_alike = set(known.columns) == set(columns)
    except ValueError:
        is_alike = False
    if not is_alike:
        raise ValueError(
            f"{os.fspath(path)!r} exists and is not a table of {', '.join(columns)}; choose another name."
        )


def write_csv(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV: UTF-8, ``\\n`` line ends, no index; the same table gives the same bytes.

    Image names that a spreadsheet would compute are written as text; :func:`plain_names` reads them back.
    """
    for column in table.columns.intersection(NAMES):
        names = table[column].astype(str)
        if (formula := names.str.contains(FORMULA, regex=True)).any():
            table = table.assign(**{column: table[column].where(~formula, "'" + names)})
    with atomic_path(path, sync=True) as beside:
        table.to_csv(beside, index=False, lineterminator="\n")
        # A lone carriage return in a name is left bare, and would be read as the end of the row.
        if b"\r" in beside.read_bytes():
            table.to_csv(beside, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def refuse_device(path: str | os.PathLike[str]) -> None:
    """Check that a path is no device: of ``/dev/zero`` there is no end.

    Raises
    ------
    ValueError
        If it is one.
    OSError
        If there is nothing.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise ValueError(f"{os.fspath(path)!r} is a device; name a file.")


def read_csv(path: str | os.PathLike[str], **options: Any) -> pd.DataFrame:
    """A table from a CSV file, image names as their files have them; ``options`` are those of pandas.

    Raises
    ------
    ValueError
        If the file is not a CSV table.
    OSError
        If it cannot be read.
    """
    refuse_device(path)
    try:
        return plain_names(pd.read_csv(path, **options))
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        fault = str(error).strip().rstrip(".")
        raise ValueError(f"{os.fspath(path)!r} is not a CSV table in UTF-8 ({fault}); pass one.") from None


def plain_names(table: pd.DataFrame) -> pd.DataFrame:
    """A table read from a CSV with the names of its images as their files have them."""
    for column in table.columns.intersection(NAMES):
        if not pd.api.types.is_numeric_dtype(table[column]):
            plain = table[column].str.replace(_APOSTROPHE, "", regex=True)
            table = table.assign(**{column: plain})
    return table


def text_name(name: str) -> str:
    """A name as a CSV holds it: with an apostrophe before what a spreadsheet would compute."""
    return f"'{name}" if re.match(FORMULA, name) else name


def plain_name(name: str) -> str:
    """The name that a CSV holds as :func:`text_name` writes it."""
    return re.sub(_APOSTROPHE, "", name)


def is_utf8(name: str) -> bool:
    """Whether a name is UTF-8: tables hold no other, and GDAL opens no other."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_parquet(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as Parquet, no index."""
    with atomic_path(path, sync=True) as beside:
        table.to_parquet(beside, index=False)


def writes_parquet() -> bool:
    """Whether tables can be written as Parquet here: with the extra ``parquet``."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def read_parquet(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A table from a Parquet file.

    Raises
    ------
    ValueError
        If the file is not a Parquet table.
    OSError
        If it cannot be read.
    MissingExtra
        If pyarrow is not installed.
    """
    refuse_device(path)
    with open(path, "rb") as file, extra():  # pandas leaves the system's reason out of its errors
        import pyarrow  # noqa: F401  pandas would ask for one of several libraries

        try:
            return pd.read_parquet(file)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} is not a Parquet table ({error}); pass one.") from None


def read_any(path: str | os.PathLike[str], **options: Any) -> pd.DataFrame:
    """A table from a file that ends in ``.parquet``, or else from a CSV file, for which ``options`` are.

    Raises
    ------
    ValueError
        If the file is not such a table.
    OSError
        If it cannot be read.
    """
    return read_parquet(path) if Path(path).suffix == ".parquet" else read_csv(path, **options)


def check_keras_file(path: str | os.PathLike[str]) -> None:
    """Check that there is a ``.keras`` file, which needs no Keras: that takes seconds to import.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is none.
    """
    name = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{name!r}: no such file; write one with dupnet.network.models.save_model.")
    if not name.endswith(".keras") or not zipfile.is_zipfile(path):
        raise ValueError(f"{name}: not a .keras file; pass one that dupnet.network.models.save_model wrote.")
