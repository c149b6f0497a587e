"""What is kept of the images of a collection on disk: appended as it comes, found again after a stop at any
moment.

A folder holds flat files, one a column, with rows of a fixed number of bytes, and a journal with one JSON
line an image, which names the image's file as it was (size and time of change, hash on demand), its rows, and
a checksum of them. Rows are written before the line that names them: what a stop leaves behind, rows without
a line or half a line, is cut off when the cache is opened again. What a power cut leaves behind, lines
without their rows, is told by the checksum.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.files.atomic import atomic_path
from dupnet.files.identity import Identity

__all__ = ["Cache", "Entry"]

FORMAT = 4
"""Raised whenever the layout of the files changes."""

SYNC_SECONDS = 10.0
"""What a power cut can cost at most, beside what was being read."""

SAMPLE = 256
"""Images whose rows are checked when a cache is opened: its last ones, which a power cut takes first, and as
many spread over the rest. If one fails, all are checked."""

RUN_ROWS = 65_536
"""Rows that are read at once at most: what one call can return, of rows of up to 32 kB."""

Arrays = Mapping[str, npt.NDArray[Any]]


class Entry(NamedTuple):
    """One image of the cache: its file, its size in pixels, its rows, what was converted on reading, and the
    CRC-32 of its name, of all this but ``first_row``, and of its rows."""

    identity: Identity
    height: int
    width: int
    first_row: int
    n_rows: int
    note: str
    checksum: int = 0


class Cache:
    """Rows by image, in a folder; a context manager. One process at a time may have it open.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    made_by : mapping
        All that the rows depend on beside the images (weights, versions, tile size). A cache made by
        something else is emptied, and :attr:`discarded` says why.
    columns : mapping
        Name of each column to the bytes of one of its rows.
    check_all : bool
        Check the rows of every image, not those of a sample alone.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        made_by: Mapping[str, Any],
        columns: Mapping[str, int],
        *,
        check_all: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.entries: dict[str, Entry] = {}
        self.discarded = ""
        self.damaged: list[str] = []
        """Images whose rows were not what had been written; they are no entries any more."""
        self.n_rows = 0
        self._columns = dict(columns)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._made_by = json.dumps({"format": FORMAT, "columns": self._columns, **made_by}, sort_keys=True)
        self._lock = Lock()
        self._synced = time.monotonic()
        self._open(check_all)

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Make all last that was appended, and close the files."""
        with suppress(OSError):
            self.flush()
            self._sync()
        for file in (*self._rows.values(), self._journal):
            with suppress(OSError):  # a full disk: what was not flushed is described again
                file.close()

    def append(self, key: str, entry: Entry, arrays: Arrays) -> None:
        """Add the rows of one image (``first_row`` and ``checksum`` are set here). :meth:`flush` makes it
        last.

        ``arrays`` has one array (n_rows, ...) for every column.
        """
        checksum = _checksum(key, entry)
        for name, width in self._columns.items():
            data = np.ascontiguousarray(arrays[name]).tobytes()
            if len(data) != entry.n_rows * width:
                raise ValueError(f"{name}: {len(data)} bytes; {entry.n_rows} rows of {width} are needed.")
            self._rows[name].write(data)
            checksum = zlib.crc32(data, checksum)
        entry = entry._replace(first_row=self.n_rows, checksum=checksum)
        self.n_rows += entry.n_rows
        self._pending.append(json.dumps([key, *entry]) + "\n")
        self.entries[key] = entry

    def flush(self) -> None:
        """Write what was appended, rows first: a process killed later has lost nothing of it."""
        for file in self._rows.values():
            file.flush()
        self._journal.write("".join(self._pending).encode())
        self._journal.flush()
        self._pending.clear()
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync()

    def read(self, column: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Rows of a column: (len(rows), bytes) uint8. Read, not mapped: pages of a mapped file would count as
        this process's memory.

        Raises
        ------
        OSError
            If the file is shorter than it was.
        """
        width, file = self._columns[column], self._rows[column]
        found = np.empty((len(rows), width), np.uint8)
        if not len(rows):
            return found
        # Rows that follow one another are read at once.
        starts = np.union1d(np.flatnonzero(np.diff(rows, prepend=-2) != 1), np.arange(0, len(rows), RUN_ROWS))
        with self._lock:
            for start, end in pairwise([*starts.tolist(), len(rows)]):
                file.seek(int(rows[start]) * width)
                if file.readinto(found[start:end].data) != (end - start) * width:
                    raise OSError(f"{self.folder}: the cache is damaged; delete this folder and run again.")
        return found

    def rows_of(self, images: Iterable[str]) -> npt.NDArray[np.int64]:
        """The rows of images, one image after the other."""
        entries = [self.entries[image] for image in images]
        counts = np.array([entry.n_rows for entry in entries], np.int64)
        first = np.array([entry.first_row for entry in entries], np.int64)
        start = np.cumsum(counts) - counts
        return np.asarray(np.arange(counts.sum()) + np.repeat(first - start, counts), np.int64)

    def _sync(self) -> None:
        """Rows before the journal, so that a line on the disk has its rows there."""
        for file in (*self._rows.values(), self._journal):
            file.flush()
            os.fsync(file.fileno())
        self._synced = time.monotonic()

    def _open(self, check_all: bool) -> None:
        marker = self.folder / "made_by.json"
        journal = self.folder / "journal.jsonl"
        paths = {name: self.folder / f"{name}.rows" for name in self._columns}
        before = marker.read_text(errors="replace") if marker.exists() else ""
        if before != self._made_by:
            if before:
                self.discarded = "made by another version of dupnet, other weights or other settings"
            marker.unlink(missing_ok=True)  # first: without it the rest counts for nothing
            for path in (journal, *self.folder.glob("*.rows")):
                path.unlink(missing_ok=True)
            with atomic_path(marker, sync=True) as beside:
                beside.write_text(self._made_by)
        self._rows: dict[str, Any] = {
            name: open(path, "a+b", buffering=1 << 20)  # noqa: SIM115 (see close)
            for name, path in paths.items()
        }
        self._journal = open(journal, "a+b")  # noqa: SIM115 (see close)
        self._pending: list[str] = []
        self._read_journal()
        for name, width in self._columns.items():
            self._rows[name].truncate(self.n_rows * width)
        self._check(check_all)

    def _read_journal(self) -> None:
        n_stored = min(
            self._rows[name].seek(0, os.SEEK_END) // width for name, width in self._columns.items()
        )
        self._journal.seek(0)
        whole = 0
        for line in self._journal:
            try:
                key, identity, *rest = json.loads(line)
                entry = Entry(Identity(*identity), *rest)
            except (RecursionError, TypeError, ValueError):
                break
            numbers = (entry.height, entry.width, entry.first_row, entry.n_rows)
            if not isinstance(key, str) or any(type(number) is not int or number < 0 for number in numbers):
                break
            is_whole = line.endswith(b"\n") and entry.first_row == self.n_rows
            if not (is_whole and entry.first_row + entry.n_rows <= n_stored):
                break
            self.entries[key] = entry
            self.n_rows += entry.n_rows
            whole += len(line)
        self._journal.truncate(whole)

    def _check(self, check_all: bool) -> None:
        """Forget the images whose rows are not those that were written."""
        images = list(self.entries)
        sample = images
        if not check_all and len(images) > 2 * SAMPLE:
            sample = [*images[-SAMPLE:], *images[: -SAMPLE : len(images) // SAMPLE]]
        bad = [image for image in sample if not self._is_sound(image)]
        if bad and len(sample) < len(images):
            bad = [image for image in images if not self._is_sound(image)]
        for image in bad:
            del self.entries[image]
        self.damaged = bad

    def _is_sound(self, image: str) -> bool:
        entry = self.entries[image]
        rows = np.arange(entry.first_row, entry.first_row + entry.n_rows)
        checksum = _checksum(image, entry)
        for name in self._columns:
            checksum = zlib.crc32(self.read(name, rows).data, checksum)
        return checksum == entry.checksum


def _checksum(image: str, entry: Entry) -> int:
    """CRC-32 of what the journal says of an image, wherever its rows begin."""
    return zlib.crc32(json.dumps([image, *entry._replace(first_row=0, checksum=0)]).encode())
