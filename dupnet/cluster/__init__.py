"""The steps of :mod:`dupnet.find` on a Dask cluster."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "distributed": ["IMAGES_A_TASK", "TILES_A_PART", "find_on_cluster"],
        "scheduler": ["Cluster"],
        "sharded_index": ["Image", "code_of", "describe_on", "list_folder", "worker_weights"],
        "sharded_search": ["Search"],
        "shards": [
            "TILES",
            "Places",
            "Shard",
            "read_search",
            "read_shards",
            "read_tiles",
            "read_verify",
            "token",
            "write_shard",
        ],
    },
)
