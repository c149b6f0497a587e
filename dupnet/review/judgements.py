"""A person's verdicts on overlaps, kept so that none is lost and none counts twice: an append-only CSV.

One row a judgement (:data:`dupnet.find.verdicts.COLUMNS`): ``time`` (UTC, ISO 8601), the overlap by its two
images, its tag where it has one and its offset in pixels, ``verdict`` (``duplicate``, ``not_duplicate``,
``undecidable``, or ``undo``, which takes back the verdict on that overlap), and who said so. What holds now
follows from reading the rows in order.
"""

from __future__ import annotations

import csv
import io
import os
import threading
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from dupnet.files.atomic import atomic_path, refuse_device, text_name
from dupnet.find.verdicts import (
    COLUMNS,
    VERDICTS,
    Judged,
    Judgement,
    Key,
    complete_rows,
    holding,
    parse,
    read_judgements,
    verdicts_table,
)
from dupnet.tiles import Grid

__all__ = ["COLUMNS", "VERDICTS", "Judged", "Judgement", "Judgements", "labels", "read_judgements"]

LOCKED_BYTE = 2**30
"""The byte of a file of judgements that is locked on Windows: beyond its end, since what is locked cannot be
read there."""


class Judgements:
    """The verdicts in one file, open for more; use it as a context manager or :meth:`close` it.

    Opening takes a lock: a second process that judges into the same file is refused. A last row that a crash
    cut off was never confirmed to anyone and is removed. An older file, with tags in place of offsets, is
    written anew with both.

    Parameters
    ----------
    path
        The CSV; made, with its header, if it is not there.
    grid
        Where the tags of an older file lie.
    reviewer
        Who judges: the name that new rows bear.

    Raises
    ------
    ValueError
        If the file is not a table of judgements, or another process has it open.
    """

    def __init__(self, path: str | os.PathLike[str], grid: Grid | None = None, reviewer: str = "") -> None:
        self.path = Path(path)
        self.reviewer = reviewer
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            refuse_device(self.path)
        self._mutex = threading.Lock()
        self._file = _open_locked(self.path)
        try:
            rows, end = complete_rows(self._file, self.path)
            judgements = parse(rows, grid)
            if rows and tuple(rows[0]) != COLUMNS:
                times = [row[0] for row in rows[1:]]
                self._file = _rewritten(self.path, self._file, times, judgements)
            else:
                self._file.truncate(end)
                if not rows:
                    self._append(COLUMNS)
                    _sync_folder(self.path.parent)
        except BaseException:
            self._file.close()
            raise
        self._holding = holding(judgements)

    def __enter__(self) -> Judgements:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give up its lock."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._holding)

    def of(self, overlap: Judged) -> Judgement | None:
        """What holds of an overlap, or None."""
        return self._holding.get(overlap.key)

    def judge(self, overlap: Judged, verdict: str) -> bool:
        """Write a verdict to disk; False, and nothing is written, if the overlap has one already.

        Returns only after the operating system confirmed that the row is on the disk.

        Raises
        ------
        ValueError
            If ``verdict`` is not one of :data:`VERDICTS`.
        """
        return bool(self.judge_all([overlap], verdict))

    def judge_all(self, overlaps: Iterable[Judged], verdict: str) -> list[Judged]:
        """As :meth:`judge`, of several in one write; returns those that had no verdict before.

        Raises
        ------
        ValueError
            If ``verdict`` is not one of :data:`VERDICTS`.
        """
        if verdict not in VERDICTS:
            raise ValueError(f"verdict is {verdict!r}; it must be one of {', '.join(VERDICTS)}.")
        with self._mutex:
            new = {one.key: one for one in overlaps if one.key not in self._holding}
            given = {key: Judgement(one, verdict, self.reviewer) for key, one in new.items()}
            time = _now()
            self._append(*(_row(time, judgement) for judgement in given.values()))
            self._holding.update(given)
        return list(new.values())

    def undo(self, among: Container[Key] | None = None) -> Judged | None:
        """Take back the latest verdict that holds, by one more row; returns on what, or None.

        Only what :attr:`reviewer` said is taken back. ``among`` restricts it to some overlaps, by their
        :attr:`~dupnet.find.verdicts.Judged.key`.
        """
        with self._mutex:
            for key, (overlap, _, reviewer) in reversed(self._holding.items()):
                if reviewer == self.reviewer and (among is None or key in among):
                    self._take_back([overlap])
                    return overlap
        return None

    def undo_all(self, among: Container[Key]) -> list[Judged]:
        """Take back every verdict that holds, that :attr:`reviewer` gave, and that is on one of some
        overlaps, in one write; returns on which."""
        with self._mutex:
            found = [
                overlap
                for key, (overlap, _, reviewer) in self._holding.items()
                if reviewer == self.reviewer and key in among
            ]
            self._take_back(found)
        return found

    def can_undo(self, among: Container[Key]) -> bool:
        """Whether :meth:`undo` would find something."""
        with self._mutex:
            return any(
                one.reviewer == self.reviewer and key in among for key, one in reversed(self._holding.items())
            )

    def table(self) -> pd.DataFrame:
        """The verdicts that hold, in the order given, see :func:`dupnet.find.verdicts.verdicts_table`."""
        with self._mutex:
            return verdicts_table(self._holding)

    def _take_back(self, overlaps: Iterable[Judged]) -> None:
        time = _now()
        self._append(*(_row(time, Judgement(one, "undo", self.reviewer)) for one in overlaps))
        for one in overlaps:
            del self._holding[one.key]

    def _append(self, *rows: Iterable[str]) -> None:
        # One write in append mode, then fsync: the rows are there as a whole before anyone is told so.
        self._file.write(b"".join(map(_line, rows)))
        self._file.flush()
        os.fsync(self._file.fileno())


def labels(judged: pd.DataFrame) -> pd.DataFrame:
    """Labels to train and evaluate with: ``image1, image2, overlap_tag, y_offset, x_offset, is_duplicate`` (1
    or 0).

    ``judged`` is what :func:`read_judgements` gives; undecidable overlaps carry no label and are left out.
    """
    decided = judged[judged["verdict"] != "undecidable"].reset_index(drop=True)
    table = decided[["image1", "image2", "overlap_tag", "y_offset", "x_offset"]].copy()
    table["is_duplicate"] = (decided["verdict"] == "duplicate").astype(int)
    return table


def _row(time: str, judgement: Judgement) -> tuple[str, ...]:
    (image1, image2, y, x, tag), verdict, reviewer = judgement
    offset = ("", "") if y is None or x is None else (str(y), str(x))
    return (time, text_name(image1), text_name(image2), tag, *offset, verdict, text_name(reviewer))


def _line(row: Iterable[str]) -> bytes:
    fields, text = list(row), io.StringIO()
    # csv leaves a lone carriage return bare, and then reads it as the end of the row.
    bare = not any("\r" in field for field in fields)
    csv.writer(text, quoting=csv.QUOTE_MINIMAL if bare else csv.QUOTE_ALL, lineterminator="\n").writerow(
        fields
    )
    return text.getvalue().encode("utf-8", "surrogateescape")


def _rewritten(
    path: Path, old: io.BufferedRandom, times: list[str], judgements: list[Judgement]
) -> io.BufferedRandom:
    """The file with today's columns, locked before it takes the place of the old one."""
    with atomic_path(path) as beside:
        file = open(beside, "a+b")  # noqa: SIM115  closed by Judgements.close()
        try:
            _lock(file, path)
            rows = [COLUMNS, *(_row(time, one) for time, one in zip(times, judgements, strict=True))]
            file.write(b"".join(map(_line, rows)))
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # pragma: no cover  there an open file cannot be renamed
                file.close()
                old.close()
        except BaseException:
            file.close()
            raise
    if file.closed:  # pragma: no cover
        return _open_locked(path)
    old.close()
    _sync_folder(path.parent)
    return file


def _open_locked(path: Path) -> io.BufferedRandom:
    while True:
        file = open(path, "a+b")  # noqa: SIM115  closed by Judgements.close()
        try:
            _lock(file, path)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # another process has just put a newer one in its place


def _lock(file: io.BufferedRandom, path: Path) -> None:
    try:
        try:
            import fcntl
        except ImportError:  # Windows, where a lock is on bytes: one beyond all that is written
            msvcrt: Any = import_module("msvcrt")
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"{path} is being judged into by another process; close that one first.") from None


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
