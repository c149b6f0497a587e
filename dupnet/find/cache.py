"""The descriptors of a collection on disk: appended as they come, found again after a stop at any moment.

A folder holds flat files with one row a tile (search descriptors, verify descriptors and their hashes,
decidable or not) and a journal with one JSON line an image, which names the image's file as it was (size and
time of change, hash on demand) and its rows. Rows are written before the line that names them: what a stop
leaves behind, rows without a line or half a line, is cut off when the cache is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dupnet.files.atomic import atomic_path
from dupnet.files.identity import Identity
from dupnet.find.search import hash_rows
from dupnet.network.descriptors import Descriptors

__all__ = ["Cache", "Entry"]

FORMAT = 2
"""Raised whenever the layout of the files changes."""

FILES = ("search.rows", "verify.rows", "decidable.rows", "hashes.rows")


class Entry(NamedTuple):
    """One image of the cache: its file, its size in pixels, its rows, and what was converted on reading."""

    identity: Identity
    height: int
    width: int
    first_row: int
    n_rows: int
    note: str


class Cache:
    """Descriptors by image, in a folder; a context manager. One process at a time may have it open.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    made_by : mapping
        All that the descriptors depend on beside the images (weights, code, tile size). A cache made by
        something else is emptied, and :attr:`discarded` says why.
    widths : (int, int)
        Bytes of a search and of a verify descriptor.
    """

    def __init__(
        self, folder: str | os.PathLike[str], made_by: Mapping[str, Any], widths: tuple[int, int]
    ) -> None:
        self.folder = Path(folder)
        self.entries: dict[str, Entry] = {}
        self.discarded = ""
        self.n_rows = 0
        self._widths = (*widths, 1, 8)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._made_by = json.dumps({"format": FORMAT, "widths": widths, **made_by}, sort_keys=True)
        self._open()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in (*self._rows, self._journal):
            with suppress(OSError):  # a full disk: what was not flushed is described again
                file.close()

    def append(self, key: str, entry: Entry, descriptors: Descriptors) -> None:
        """Add the descriptors of one image (``first_row`` is set here). :meth:`flush` makes it last."""
        hashes = hash_rows(descriptors.verify)
        arrays = (descriptors.search, descriptors.verify, descriptors.decidable, hashes)
        for file, array in zip(self._rows, arrays, strict=True):
            file.write(np.ascontiguousarray(array).tobytes())
        entry = entry._replace(first_row=self.n_rows)
        self.n_rows += entry.n_rows
        self._pending.append(json.dumps([key, *entry]) + "\n")
        self.entries[key] = entry

    def flush(self) -> None:
        """Write what was appended, rows first: a process killed later has lost nothing of it."""
        for file in self._rows:
            file.flush()
        self._journal.write("".join(self._pending).encode())
        self._journal.flush()
        self._pending.clear()

    def search(self, first_rows: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.int8]:
        """Search descriptors of images, one after the other: (len(first_rows) * n_rows, d) int8."""
        rows = (first_rows[:, None] + np.arange(n_rows)).reshape(-1)
        return self._read(0, rows).view(np.int8)

    def verify(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Verify descriptors of rows: (len(rows), bytes) uint8."""
        return self._read(1, rows)

    def decidable(self, first_rows: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.bool_]:
        """Which tiles of images are decidable: (len(first_rows) * n_rows,) bool."""
        rows = (first_rows[:, None] + np.arange(n_rows)).reshape(-1)
        return self._read(2, rows)[:, 0].view(np.bool_)

    def hashes(self, first_rows: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.uint64]:
        """Hashes of the verify descriptors of images: (len(first_rows) * n_rows,) uint64."""
        rows = (first_rows[:, None] + np.arange(n_rows)).reshape(-1)
        return self._read(3, rows).reshape(-1).view(np.uint64)

    def _read(self, which: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        # Read, not mapped: pages of a mapped file would count as this process's memory.
        width = self._widths[which]
        found = np.empty((len(rows), width), np.uint8)
        if not len(rows):
            return found
        descriptor = self._rows[which].fileno()
        # Runs of rows that follow one another are read at once, up to what one call can return.
        starts = np.union1d(np.flatnonzero(np.diff(rows, prepend=-2) != 1), np.arange(0, len(rows), 65_536))
        for start, end in pairwise([*starts.tolist(), len(rows)]):
            n_read = os.preadv(descriptor, [found[start:end].data], int(rows[start]) * width)
            if n_read != (end - start) * width:
                raise OSError(f"{self.folder}: the cache is damaged; delete this folder and run again.")
        return found

    def _open(self) -> None:
        marker = self.folder / "made_by.json"
        journal = self.folder / "journal.jsonl"
        paths = [self.folder / name for name in FILES]
        before = marker.read_text(errors="replace") if marker.exists() else ""
        if before != self._made_by:
            if before:
                self.discarded = "made by another version of dupnet, other weights or another tile size"
            for path in (marker, journal, *paths):  # the marker first: without it the rest counts for nothing
                path.unlink(missing_ok=True)
            with atomic_path(marker) as beside:
                beside.write_text(self._made_by)
        self._rows = [open(path, "a+b", buffering=1 << 20) for path in paths]  # noqa: SIM115 (see close)
        self._journal = open(journal, "a+b")  # noqa: SIM115
        self._pending: list[str] = []
        self._read_journal()
        for file, width in zip(self._rows, self._widths, strict=True):
            file.truncate(self.n_rows * width)

    def _read_journal(self) -> None:
        n_stored = min(
            file.seek(0, os.SEEK_END) // width for file, width in zip(self._rows, self._widths, strict=True)
        )
        self._journal.seek(0)
        whole = 0
        for line in self._journal:
            try:
                key, identity, *rest = json.loads(line)
                entry = Entry(Identity(*identity), *rest)
                is_whole = line.endswith(b"\n") and entry.first_row == self.n_rows
                is_stored = entry.first_row + entry.n_rows <= n_stored
            except (TypeError, ValueError):
                break
            if not (is_whole and is_stored):
                break
            self.entries[key] = entry
            self.n_rows += entry.n_rows
            whole += len(line)
        self._journal.truncate(whole)
