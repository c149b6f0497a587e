"""From a folder of images to every overlap in it, and the groups that follow."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engine": ["find_overlaps"],
        "groups": ["place"],
        "judgements": ["apply_judgements", "heed"],
        "names": ["ImageNames"],
        "overlaps": ["COLUMNS"],
        "results": ["FindResult", "read_results", "read_table"],
        "verdicts": ["read_judgements", "settle"],
    },
)
