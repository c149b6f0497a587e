"""The report page and the mosaics of a result."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "mosaics": ["BACKGROUND", "mosaic", "write_mosaics"],
        "page": ["render", "write"],
        "previews": [
            "data_uri",
            "difference_map",
            "encode",
            "outline",
            "reduce_to",
            "shared_regions",
            "shown_name",
        ],
    },
)
