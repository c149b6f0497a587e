"""Splits without a leak, the leaks of a given split, one of each of the duplicates, labels that disagree."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "assignment": ["SPLIT_NAMES", "random_split", "split"],
        "conflicts": ["Conflicts", "compare_labels"],
        "entries": ["BUFFER"],
        "ground": ["Tables"],
        "keeping": ["Kept", "clean", "link_images"],
        "labels": ["Labels", "read_labels"],
        "leaks": ["Audit", "audit"],
        "lists": ["Lists", "find_lists", "read_lists"],
        "repair": ["Repair", "repair"],
        "strata": ["read_strata", "strata_of"],
    },
)
