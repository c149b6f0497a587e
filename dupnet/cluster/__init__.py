"""The steps of :mod:`dupnet.find` on a Dask cluster."""

from __future__ import annotations

from dupnet.files.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "distributed": ["find_on_cluster"],
    },
)
