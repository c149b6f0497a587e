"""What tells whether a file is still the one that was read: size, time of change, and a hash on demand."""

from __future__ import annotations

import hashlib
import os
from typing import Any, NamedTuple

__all__ = ["Identity", "identity_of"]


class Identity(NamedTuple):
    """What a file was when it was read: size in bytes, time of change in nanoseconds, hash (or "")."""

    size: int
    changed: int
    content: str = ""


def identity_of(path: str | os.PathLike[str], content: bool = False) -> Identity:
    """The identity of a file; ``content`` reads it and adds a hash (BLAKE2b, 16 bytes) of what is in it."""
    state = os.stat(path)
    if not content:
        return Identity(state.st_size, state.st_mtime_ns)
    with open(path, "rb") as file:
        return Identity(state.st_size, state.st_mtime_ns, hashlib.file_digest(file, _digest).hexdigest())


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)
