"""One run at a time on a folder of a store: what a second does while the first lives, and once it died."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from dupnet.files import leases
from dupnet.files.leases import FILE, leased
from dupnet.files.storage import Folder

EVERY = 0.05
"""Seconds between renewals here."""


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out" if request.param == "disk" else f"memory://{uuid.uuid4().hex}/out")


def owner(folder: Folder) -> dict[str, object]:
    found = json.loads(folder.read(FILE))
    assert isinstance(found, dict)
    return found


def left_by(folder: Folder, **changes: object) -> None:
    """A lease that another run left behind."""
    other = {"host": "elsewhere", "process": 1, "token": "other", "since": "yesterday", "renewed": "then"}
    folder.write(FILE, json.dumps(other | changes).encode())


def test_held_named_and_given_back(folder: Folder) -> None:
    with leased(folder, EVERY) as check:
        assert owner(folder)["host"] == socket.gethostname()
        assert owner(folder)["process"] == os.getpid()
        with pytest.raises(BlockingIOError, match="Another dupnet is at work"), leased(folder, EVERY):
            pass
        check()
    assert FILE not in folder.files()
    with leased(folder, EVERY):
        pass


def test_renewed_while_held(folder: Folder) -> None:
    renewed = threading.Event()
    write = folder.write

    def counted(name: str, data: bytes) -> None:
        write(name, data)
        renewed.set()

    folder.write = counted  # type: ignore[method-assign]
    with leased(folder, EVERY):
        first = owner(folder)
        assert renewed.wait(30)
        assert owner(folder)["renewed"] != first["renewed"]
        assert owner(folder)["since"] == first["since"]


def test_a_lease_that_does_not_change_is_taken(folder: Folder) -> None:
    left_by(folder)
    with leased(folder, EVERY):
        assert owner(folder)["process"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"{}"])
def test_a_lease_that_says_nothing_is_taken(content: bytes, folder: Folder) -> None:
    folder.write(FILE, content)
    with leased(folder, EVERY):
        assert owner(folder)["process"] == os.getpid()


def test_of_a_dead_process_of_this_machine_at_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left_by(folder, host=socket.gethostname(), process=ended.pid)

    def no_waiting(seconds: float) -> None:
        assert seconds <= EVERY / 10, "it need not be watched"

    monkeypatch.setattr(leases.time, "sleep", no_waiting)
    with leased(folder, EVERY):
        assert owner(folder)["process"] == os.getpid()


@pytest.mark.parametrize("process", [None, "1", -1, 0, 2**80, 1])
def test_a_process_that_may_live_is_watched(
    process: object, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by(folder, host=socket.gethostname(), process=process)
    slept: list[float] = []
    monkeypatch.setattr(leases.time, "sleep", slept.append)
    monkeypatch.setattr(leases.time, "monotonic", lambda: float(len(slept)))
    with leased(folder, 2.0):
        pass
    assert len(slept) > 4


def test_of_two_that_take_a_dead_lease_the_one_whose_name_is_left_stays(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other takes it over in the moment after this one did, so this one must wait and look again."""
    left_by(folder)

    def other_writes(seconds: float) -> None:
        if owner(folder)["process"] == os.getpid():
            assert seconds > 0
            left_by(folder, host="faster", token="its own")

    monkeypatch.setattr(leases.time, "sleep", other_writes)
    times = iter(range(10**6))
    monkeypatch.setattr(leases.time, "monotonic", lambda: float(next(times)))
    with pytest.raises(BlockingIOError, match="of faster"), leased(folder, 2.0):
        pass
    assert owner(folder)["host"] == "faster"


def test_a_lease_that_another_took_is_noticed_and_left_to_it(folder: Folder) -> None:
    with leased(folder, EVERY) as check:
        left_by(folder, host="thief")
        with pytest.raises(BlockingIOError, match="of thief"):
            check()
        folder.remove(FILE)
        with pytest.raises(BlockingIOError):
            check()
        left_by(folder, host="thief")
    assert owner(folder)["host"] == "thief"


def test_a_store_that_does_not_answer_for_a_while(folder: Folder) -> None:
    read, failed, back = folder.read, threading.Event(), threading.Event()

    def failing(name: str) -> bytes:
        if not back.is_set() and threading.current_thread().name == "lease":
            failed.set()
            raise ConnectionError("no answer")
        return read(name)

    folder.read = failing  # type: ignore[method-assign]
    with leased(folder, EVERY) as check:
        first = owner(folder)["renewed"]
        assert failed.wait(30)
        back.set()
        while owner(folder)["renewed"] == first:
            assert any(thread.name == "lease" for thread in threading.enumerate())
        check()
