"""A disk that fills at any point: one line of error, no file half-written, and the next run goes on."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from textures import textured

from dupnet.commands import cli
from dupnet.find import point_search
from dupnet.find.engine import find_overlaps

Captured = pytest.CaptureFixture[str]
Contents = dict[str, bytes]


class Disk:
    """Counts what is written below a folder, and is full from the ``full_at``-th time on; of that write half
    still goes onto it."""

    def __init__(self, folder: Path) -> None:
        self.folder = os.fspath(folder)
        self.full_at: int | None = None
        self.n_writes = 0
        self.kinds: dict[tuple[str, str], int] = {}
        """The first write into each kind of file: its folder and its ending."""

    def is_mine(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.folder)

    def takes(self, path: str | os.PathLike[str]) -> bool:
        self.n_writes += 1
        self.kinds.setdefault((os.path.dirname(path), os.path.splitext(path)[1]), self.n_writes)
        return self.full_at is None or self.n_writes < self.full_at

    def refuse(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def filling(self, full_at: int | None) -> Iterator[None]:
        """Put this disk under all that Python opens for writing."""
        disk, opened, os_open = self, builtins.open, os.open
        self.full_at, self.n_writes = full_at, 0

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                if disk.takes(self.name):
                    return super().write(data)
                if disk.n_writes > disk.full_at or len(data) < 2:
                    disk.refuse()
                return super().write(memoryview(data)[: len(data) // 2])

        def open_file(file: Any, mode: str = "r", buffering: int = -1, *texts: Any, **more: Any) -> Any:
            if not (disk.is_mine(file) and set(mode) & set("wxa+")):
                return opened(file, mode, buffering, *texts, **more)
            raw = File(file, mode.replace("b", "").replace("t", ""))
            kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
            buffered = kind(raw, buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *texts, **more)

        def open_descriptor(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if (
                disk.is_mine(path)
                and flags & os.O_CREAT
                and not os.path.exists(path)
                and not disk.takes(path)
            ):
                disk.refuse()
            return os_open(path, flags, *rest, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builtins, "open", open_file)
            patch.setattr(io, "open", open_file)
            patch.setattr(os, "open", open_descriptor)
            yield


def contents(folder: Path) -> Contents:
    """Every result below a folder: neither caches nor ``run.json``, which holds seconds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "cache" not in path.parts and path.name != "run.json"
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, two of which overlap, in ``images``, their overlaps in ``found``, and a table of labels."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "images").mkdir()
    ground = textured(2, 320)
    for name, pixels in {
        "a": ground[0, :256, :256],
        "b": ground[0, 40:296, 30:286],
        "c": ground[1, :256, :256],
    }.items():
        cv2.imwrite(str(folder / "images" / f"{name}.png"), pixels)
    (folder / "labels.csv").write_text("image,label\na.png,1\nb.png,2\nc.png,1\n")
    (folder / "splits.csv").write_text("image,split\na.png,train\nb.png,test\nc.png,test\n")
    find_overlaps(folder / "images", out=folder / "found", workers=1)
    return folder


COMMANDS = {
    "find": (["find", "{images}", "-o", "{out}/o", "--workers", "1"], 0),
    "find --grid": (["find", "{images}", "-o", "{out}/o", "--grid", "128", "--workers", "1"], 0),
    "tiles": (["tiles", "{images}", "-o", "{out}/o", "--tile-size", "128", "--workers", "1"], 0),
    "split": (["split", "{found}", "--ratios", ".5", ".5", "-o", "{out}/splits.csv"], 0),
    "split --from": (["split", "{found}", "--from", "{splits}", "-o", "{out}/splits.csv"], 0),
    "audit --pairs": (["audit", "{splits}", "{found}", "--pairs", "{out}/pairs.csv"], 1),
    "clean": (["clean", "{found}", "-o", "{out}"], 0),
    "labels": (["labels", "{labels}", "{found}", "-o", "{out}/labels.csv"], 1),
}
"""Each command that writes, and its exit status where the disk has room."""

MOST_POINTS = 10
"""Points of one command at which the disk fills: all of them, or so many spread over them and one in each
kind of file."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_fills_at_any_point(
    command: str, found: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, well = COMMANDS[command]
    names = {name: str(found / name) for name in ("images", "found")}
    names |= {name: str(found / f"{name}.csv") for name in ("splits", "labels")}
    out = tmp_path / "out"

    def run(full_at: int | None) -> int:
        out.mkdir(exist_ok=True)
        with disk.filling(full_at):
            return cli.main([*(part.format(out=out, **names) for part in line), "-q"])

    disk = Disk(tmp_path)
    map_file = np.memmap

    def map_for_reading(path: object, dtype: object, mode: str, **options: object) -> np.memmap:
        assert mode == "r"  # writing through a map onto a full disk kills Python
        return map_file(path, dtype, mode, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(np, "memmap", map_for_reading)
    assert run(None) == well
    wanted, n_writes = contents(out), disk.n_writes
    assert wanted and n_writes >= 2
    points = {1 + k * n_writes // MOST_POINTS for k in range(MOST_POINTS)} | {n_writes}
    points |= {1 + first for first in disk.kinds.values() if first < n_writes}  # made, and then not written
    for full_at in sorted(points):
        shutil.rmtree(out)
        capsys.readouterr()
        assert run(full_at) == 2, full_at
        said = capsys.readouterr().err
        assert (
            said.startswith("dupnet: ")
            and said.count("\n") == 1
            and "No space left on device; make room" in said
        )
        left = contents(out)
        assert left.items() <= wanted.items(), set(left) - set(wanted)
        assert not (out / "o" / "run.json").exists()
        assert not list(out.rglob(".partial-*")) and not list(out.rglob("join-*"))
        assert run(None) == well
        assert contents(out) == wanted


def test_a_disk_that_fills_while_points_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into memory is written, not mapped: an error, where a mapped file kills Python."""
    monkeypatch.setattr(point_search, "IN_MEMORY", 0)
    mapped = np.memmap

    def map_for_reading(path: object, dtype: object, mode: str, **options: object) -> np.memmap:
        assert mode == "r"
        return mapped(path, dtype, mode, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(np, "memmap", map_for_reading)
    images = tmp_path / "images"
    images.mkdir()
    ground = textured(1, 320)[0]
    for name, pixels in {"a": ground[:256, :256], "b": ground[40:296, 30:286]}.items():
        cv2.imwrite(str(images / f"{name}.png"), pixels)
    out = tmp_path / "out"
    wanted = find_overlaps(images, report=False, workers=1)
    for name in ("codes", "pairs-"):
        disk = Disk(tmp_path)
        disk.is_mine = lambda path, name=name: name in os.path.basename(str(path))  # type: ignore[method-assign]
        with disk.filling(1), pytest.raises(OSError, match="No space left"):
            find_overlaps(images, out=out, report=False, workers=1)
        assert disk.n_writes
        assert not list((out / "cache").glob("join-*"))
    again = find_overlaps(images, out=out, report=False, workers=1)
    assert again.overlaps.equals(wanted.overlaps)
