"""A lease on a folder of a store, so that no two runs write into it: stores have no locks.

The lease is a file that names its owner. It is created only if there is none (:meth:`Folder.create`) and
written anew every few seconds, so whoever finds it can tell an owner at work, whose file changes, from one
that was killed, whose file no longer changes. The lease of a process of this machine that has ended is taken
over at once. Where two runs take over one dead lease at the same moment, the one whose name is left stays.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from dupnet.files.storage import Folder

__all__ = ["FILE", "RENEWED_EVERY", "leased"]

FILE = "lease.json"
"""The lease, in the folder that it is of."""

RENEWED_EVERY = 10.0
"""Seconds. An owner whose lease has not changed for four times as long is taken for dead."""


@contextmanager
def leased(folder: Folder, renewed_every: float = RENEWED_EVERY) -> Iterator[Callable[[], None]]:
    """Hold a folder for this run; yields a function that raises once the folder is no longer held.

    Raises
    ------
    BlockingIOError
        If another run holds it, or took it while the store did not answer.
    """
    own = {"host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex, "since": _now()}
    if not folder.create(FILE, _content(own)):
        _wait_until_dead(folder, 4 * renewed_every)
        folder.write(FILE, _content(own))
        time.sleep(renewed_every / 10)  # for another that takes over now, and sees what is written last
    ended, lost = threading.Event(), threading.Event()

    def check() -> None:
        if lost.is_set() or not _is_of(folder, own):
            lost.set()
            raise _held(folder, _owner(folder))

    def renew() -> None:
        while not ended.wait(renewed_every):
            try:
                if not _is_of(folder, own):
                    lost.set()
                    return
                folder.write(FILE, _content(own))
            except Exception:  # each store has its own kinds of not answering; check() tells, if it lasts
                continue

    check()
    thread = threading.Thread(target=renew, daemon=True, name="lease")
    thread.start()
    try:
        yield check
    finally:
        ended.set()
        thread.join()
        if _is_of(folder, own):
            folder.remove(FILE)


def _wait_until_dead(folder: Folder, patience: float) -> None:
    """Watch another's lease; returns once its owner must be dead."""
    first = _owner(folder)
    if first.get("host") == socket.gethostname() and not _is_running(first.get("process")):
        return
    end = time.monotonic() + patience
    while time.monotonic() < end:
        time.sleep(patience / 20)
        now = _owner(folder)
        if not now:
            return
        if now != first:
            raise _held(folder, now)


def _held(folder: Folder, owner: dict[str, object]) -> BlockingIOError:
    return BlockingIOError(
        f"Another dupnet is at work in {folder.address!r}: process {owner.get('process', '?')} of "
        f"{owner.get('host', '?')}, since {owner.get('since', '?')}. Wait for it, or choose another folder."
    )


def _content(own: dict[str, object]) -> bytes:
    return json.dumps({**own, "renewed": _now()}).encode()


def _owner(folder: Folder) -> dict[str, object]:
    """What the lease says; nothing if there is none, or none that can be read."""
    try:
        found = json.loads(folder.read(FILE))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_of(folder: Folder, own: dict[str, object]) -> bool:
    return _owner(folder).get("token") == own["token"]


def _is_running(process: object) -> bool:
    """Whether this machine has such a process; a number that is none says nothing, so yes."""
    if not isinstance(process, int) or process < 1:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
