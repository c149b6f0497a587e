"""What tells whether a file is still the one that was read: size, time of change, and a hash on demand."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import Any, NamedTuple

__all__ = ["Identity", "identity_of", "identity_to_keep", "is_still"]

RECENT_SECONDS = 2.0
"""Age up to which a second change may leave a file's time as it is: the coarsest clock of a file system in
use, FAT's, ticks every two seconds."""

RECENT_BYTES = 2**28
"""Size in bytes up to which such a file is read once more for its hash."""

RECENT = "recent:"
"""Before the hash of a file that was as young when it was read: its time alone proves nothing."""


class Identity(NamedTuple):
    """What a file was when it was read: size in bytes, time of change in nanoseconds, hash (or "")."""

    size: int
    changed: int
    content: str = ""


def identity_of(path: str | os.PathLike[str], content: bool = False) -> Identity:
    """The identity of a file; ``content`` reads it and adds a hash (BLAKE2b, 16 bytes) of what is in it.

    What is no regular file has no hash: to read a pipe would wait for ever.
    """
    state = os.stat(path)
    if not content or not stat.S_ISREG(state.st_mode):
        return Identity(state.st_size, state.st_mtime_ns)
    with open(path, "rb") as file:
        return Identity(state.st_size, state.st_mtime_ns, hashlib.file_digest(file, _digest).hexdigest())


def identity_to_keep(path: str | os.PathLike[str], content: bool = False) -> Identity:
    """The identity of a file, to be compared with :func:`is_still` later.

    Of a file that changed within the last :data:`RECENT_SECONDS` (or, by its clock, has yet to) the hash is
    kept in any case, for it may change once more without a trace in its size and time; but for a file of more
    than :data:`RECENT_BYTES`, which takes longer to write anew than a clock to tick.
    """
    found = identity_of(path, content)
    if found.size > RECENT_BYTES or time.time_ns() - found.changed > RECENT_SECONDS * 1e9:
        return found
    found = identity_of(path, content=True)
    return found._replace(content=RECENT + found.content)


def is_still(path: str | os.PathLike[str], known: Identity, content: bool = False) -> bool:
    """Whether a file is there and the one whose identity was kept; ``content`` compares the hash, too."""
    try:
        if identity_of(path)[:2] != known[:2]:
            return False
        if not (content or known.content.startswith(RECENT)):
            return True
        return identity_of(path, content=True).content == known.content.removeprefix(RECENT)
    except OSError:
        return False


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)
