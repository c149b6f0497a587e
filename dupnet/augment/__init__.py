"""Tiles varied as collections vary them: JPEG, hue, lightness and saturation, flips and turns, another
day."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "gimp": ["read_comparisons"],
        "shifts": ["find_limits", "measure_shifts", "share_by_shift"],
        "variation": [
            "AugmentConfig",
            "another_day",
            "augment_pair",
            "dihedral",
            "hls_shift",
            "jpeg",
            "reprocess",
        ],
    },
)
