"""A person's verdicts on overlaps, kept so that none is lost and none counts twice: an append-only CSV.

One row a judgement: ``time`` (UTC, ISO 8601), ``image1, image2, overlap_tag``, and ``verdict``:
``duplicate``, ``not_duplicate``, ``undecidable``, or ``undo``, which takes back the verdict on that overlap.
What holds now follows from reading the rows in order.
"""

from __future__ import annotations

import csv
import io
import os
import threading
from collections.abc import Container
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from dupnet.find.verdicts import (
    COLUMNS,
    VERDICTS,
    Key,
    complete_rows,
    holding_verdicts,
    read_judgements,
    verdicts_table,
)

__all__ = ["COLUMNS", "VERDICTS", "Judgements", "labels", "read_judgements"]


class Judgements:
    """The verdicts in one file, open for more; use it as a context manager or :meth:`close` it.

    Opening takes a lock: a second process that judges into the same file is refused. A last row that a crash
    cut off was never confirmed to anyone and is removed.

    Parameters
    ----------
    path
        The CSV; made, with its header, if it is not there.

    Raises
    ------
    ValueError
        If the file is not a table of judgements, or another process has it open.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._mutex = threading.Lock()
        self._file = open(self.path, "a+b")  # noqa: SIM115  # closed by close()
        try:
            _lock(self._file, self.path)
            rows, end = complete_rows(self._file, self.path)
            self._file.truncate(end)
            if not rows:
                self._append(COLUMNS)
                _sync_folder(self.path.parent)
        except BaseException:
            self._file.close()
            raise
        self._verdicts = holding_verdicts(rows[1:])

    def __enter__(self) -> Judgements:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give up its lock."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._verdicts)

    def verdict(self, image1: str, image2: str, overlap_tag: str) -> str | None:
        """The verdict that holds on an overlap, or None."""
        return self._verdicts.get((image1, image2, overlap_tag))

    def judge(self, image1: str, image2: str, overlap_tag: str, verdict: str) -> bool:
        """Write a verdict to disk; False, and nothing is written, if the overlap has one already.

        Returns only after the operating system confirmed that the row is on the disk.

        Raises
        ------
        ValueError
            If ``verdict`` is not one of :data:`VERDICTS`.
        """
        if verdict not in VERDICTS:
            raise ValueError(f"verdict is {verdict!r}; it must be one of {', '.join(VERDICTS)}.")
        key = (image1, image2, overlap_tag)
        with self._mutex:
            if key in self._verdicts:
                return False
            self._append((_now(), *key, verdict))
            self._verdicts[key] = verdict
        return True

    def undo(self, among: Container[Key] | None = None) -> Key | None:
        """Take back the latest verdict that holds, by one more row; returns whose it was, or None.

        ``among`` restricts it to the overlaps (``image1, image2, overlap_tag``) of one table.
        """
        with self._mutex:
            for key in reversed(self._verdicts):
                if among is None or key in among:
                    self._append((_now(), *key, "undo"))
                    del self._verdicts[key]
                    return key
        return None

    def table(self) -> pd.DataFrame:
        """The verdicts that hold, in the order given: ``image1, image2, overlap_tag, verdict``."""
        return verdicts_table(self._verdicts)

    def _append(self, row: tuple[str, ...]) -> None:
        text = io.StringIO()
        # csv leaves a lone carriage return bare, and then reads it as the end of the row.
        bare = not any("\r" in field for field in row)
        csv.writer(text, quoting=csv.QUOTE_MINIMAL if bare else csv.QUOTE_ALL, lineterminator="\n").writerow(
            row
        )
        # One write in append mode, then fsync: the row is there as a whole before anyone is told so.
        self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))
        self._file.flush()
        os.fsync(self._file.fileno())


def labels(judged: pd.DataFrame) -> pd.DataFrame:
    """Labels to train and evaluate with: ``image1, image2, overlap_tag, is_duplicate`` (1 or 0).

    ``judged`` is what :func:`read_judgements` gives; undecidable overlaps carry no label and are left out.
    """
    decided = judged[judged["verdict"] != "undecidable"].reset_index(drop=True)
    table = decided[["image1", "image2", "overlap_tag"]].copy()
    table["is_duplicate"] = (decided["verdict"] == "duplicate").astype(int)
    return table


def _lock(file: io.BufferedRandom, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: there the warning about a second reviewer is lost, not a judgement
        return
    try:
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
