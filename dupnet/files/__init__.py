"""Tables and pictures written whole or not at all; threads; local folders and remote stores as one thing."""

from __future__ import annotations

from dupnet.files.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "atomic": ["atomic_path", "read_csv", "read_parquet", "write_csv", "write_parquet"],
        "extras": ["EXTRA_OF", "MissingExtra"],
        "storage": ["Folder"],
        "workers": ["map_in_order", "n_workers"],
    },
)
