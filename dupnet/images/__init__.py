"""One image, or a folder of them, read as pixels; what was left out, and why."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "reading": [
            "MAX_PIXELS",
            "Store",
            "UnreadableImage",
            "check_present",
            "decode",
            "encode_jpeg",
            "list_images",
            "load",
            "load_named",
            "locate",
            "none_usable",
            "read_grey",
            "read_image",
            "save_tiles",
        ],
    },
)
