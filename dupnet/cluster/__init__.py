"""The steps of :mod:`dupnet.find` on a Dask cluster."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "distributed": ["find_on_cluster"],
    },
)
