"""The report page and the mosaics of a result."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "mosaics": ["mosaic", "write_mosaics"],
        "page": ["write"],
        "previews": [
            "difference_map",
            "outline",
            "reduce_to",
            "region_boxes",
            "shared_regions",
            "shown_name",
        ],
    },
)
