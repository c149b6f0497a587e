"""Splits without a leak, and the leaks of a given split."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "assignment": ["SPLIT_NAMES", "group_array", "random_split", "read_strata", "split", "strata_of"],
        "leaks": ["Audit", "audit"],
    },
)
