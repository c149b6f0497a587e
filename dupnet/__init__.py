"""DupNet: find duplicated tiles of a satellite collection, rebuild its acquisitions, split without a leak."""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"
__all__ = ["__version__", "audit", "compare", "find_overlaps", "read_results", "split"]

_HOME = {
    "audit": "dupnet.splits.leaks",
    "compare": "dupnet.network.comparison",
    "find_overlaps": "dupnet.find.engine",
    "read_results": "dupnet.find.results",
    "split": "dupnet.splits.assignment",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that ``import dupnet`` stays light."""
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'dupnet' has no attribute {name!r}")
