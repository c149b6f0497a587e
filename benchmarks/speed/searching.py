"""The search alone: synthetic descriptors with planted duplicates, DupNet's search and faiss on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dupnet.find.search import candidates
from dupnet.find.tile_search import SEARCH_THRESHOLD

Rows = npt.NDArray[np.int64]
Descriptors = npt.NDArray[np.int8]

PLANTED_COSINES = (0.75, 1.0)
"""Cosines of planted pairs, evenly drawn. The lowest of true duplicates on real images is 0.87."""

CHUNK = 65_536

HNSW_NEIGHBOURS = 10
"""A tile, and the nine images of a 3 x 3 grid that show its place."""


def plant(path: Path, n: int, d: int, n_planted: int, n_equal: int, seed: int = 0) -> Rows:
    """Write n random descriptors (n, d) int8 as ``.npy``: some equal, some pairs of a drawn cosine.

    Returns the planted pairs, (n_planted, 2), smaller row first.
    """
    rng = np.random.default_rng(seed)
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.int8, shape=(n, d))
    for start in range(0, n, CHUNK):
        part = stored[start : start + CHUNK]
        part[:] = _rounded(rng.standard_normal(part.shape, dtype=np.float32))
    chosen = rng.permutation(n)[: 2 * n_planted + n_equal]
    one, other = chosen[: 2 * n_planted].reshape(2, -1)
    for start in range(0, n_planted, CHUNK):
        rows = slice(start, start + CHUNK)
        vector = _unit(stored[one[rows]].astype(np.float32))
        noise = rng.standard_normal(vector.shape, dtype=np.float32)
        noise = _unit(noise - (noise * vector).sum(axis=1, keepdims=True) * vector)
        cosine = rng.uniform(*PLANTED_COSINES, (len(vector), 1)).astype(np.float32)
        stored[other[rows]] = _rounded(cosine * vector + np.sqrt(1 - cosine**2) * noise)
    equal = chosen[2 * n_planted :]
    stored[equal] = stored[equal[:1]]
    stored.flush()
    return np.sort(np.stack([one, other], axis=1), axis=1)


def recall(found: Rows, planted: Rows, n: int) -> float:
    """Share of the planted pairs (k, 2) that are among those found (m, 2), whichever way round."""
    keys = np.sort(found, axis=1) @ np.array([n, 1])
    return float(np.isin(planted @ np.array([n, 1]), keys).mean()) if len(planted) else 1.0


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _rounded(vectors: npt.NDArray[np.float32]) -> Descriptors:
    return np.rint(127 * _unit(vectors)).astype(np.int8)


Counts = dict[str, int]
Index = Callable[[Descriptors], tuple[Rows, Counts]]


def _dupnet(exact: bool | None) -> Index:
    def run(descriptors: Descriptors) -> tuple[Rows, Counts]:
        limit = {} if exact is None else {"exact_up_to": len(descriptors) if exact else 0}
        found = candidates(descriptors, threshold=SEARCH_THRESHOLD, workers=2, **limit)
        return np.stack([found.rows1, found.rows2], axis=1), {"n_equal": found.n_equal}

    return run


def _flat(descriptors: Descriptors) -> tuple[Rows, Counts]:
    """faiss: every descriptor compared with every other."""
    import faiss

    faiss.omp_set_num_threads(2)
    return _in_ranges(_filled(faiss.IndexFlatIP(descriptors.shape[1]), descriptors), descriptors)


def _hnsw(ef: int) -> Index:
    """faiss: a graph of 32 neighbours a descriptor, walked with a list of the best ``ef``; 8 bits a number.

    Its search by radius fails in faiss 1.15, so the nearest ``HNSW_NEIGHBOURS`` are asked for.
    """

    def run(descriptors: Descriptors) -> tuple[Rows, Counts]:
        import faiss

        faiss.omp_set_num_threads(2)
        kind = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexHNSWSQ(descriptors.shape[1], kind, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = index.hnsw.efSearch = ef
        index.train(_unit(descriptors[:CHUNK].astype(np.float32)))
        _filled(index, descriptors)
        found = []
        for start in range(0, len(descriptors), CHUNK):
            vectors = _unit(descriptors[start : start + CHUNK].astype(np.float32))
            cosine, others = index.search(vectors, HNSW_NEIGHBOURS)
            rows = np.arange(start, start + len(vectors))[:, None]
            query, place = np.nonzero((cosine >= SEARCH_THRESHOLD) & (others != rows))
            found.append(np.stack([rows[query, 0], others[query, place]], axis=1))
        return np.unique(np.sort(np.concatenate(found), axis=1), axis=0), {}

    return run


def _ivf(n_probe: int, scalar: bool = False) -> Index:
    """faiss: inverted lists by k-means, the nearest of them searched for everything above the threshold."""

    def run(descriptors: Descriptors) -> tuple[Rows, Counts]:
        import faiss

        faiss.omp_set_num_threads(2)
        n, d = descriptors.shape
        n_lists = int(4 * np.sqrt(n))
        coarse = faiss.IndexFlatIP(d)
        if scalar:
            kind = faiss.ScalarQuantizer.QT_8bit
            index = faiss.IndexIVFScalarQuantizer(coarse, d, n_lists, kind, faiss.METRIC_INNER_PRODUCT)
        else:
            index = faiss.IndexIVFFlat(coarse, d, n_lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 5
        sample = np.sort(np.random.default_rng(0).choice(n, min(n, 40 * n_lists), replace=False))
        index.train(_unit(descriptors[sample].astype(np.float32)))
        index.nprobe = n_probe
        return _in_ranges(_filled(index, descriptors), descriptors)

    return run


def _multi_hash(n_flip: int) -> Index:
    """faiss: sign bits in 16 hash tables, every code within a flip of one of them compared."""

    def run(descriptors: Descriptors) -> tuple[Rows, Counts]:
        import faiss

        faiss.omp_set_num_threads(2)
        n, d = descriptors.shape
        codes = np.packbits(np.asarray(descriptors) > 0, axis=1)
        index = faiss.IndexBinaryMultiHash(d, d // 16, 16)
        index.add(codes)
        index.nflip = n_flip
        radius = int(d * np.arccos(SEARCH_THRESHOLD) / np.pi) + 1
        return _in_radius(index, n, lambda part: codes[part], radius)

    return run


def _filled(index: Any, descriptors: Descriptors) -> Any:
    """The index with all descriptors in it, as unit vectors."""
    for start in range(0, len(descriptors), CHUNK):
        index.add(_unit(descriptors[start : start + CHUNK].astype(np.float32)))
    return index


def _in_ranges(index: Any, descriptors: Descriptors) -> tuple[Rows, Counts]:
    """All pairs of a cosine above the threshold that the index gives."""

    def unit_vectors(part: slice) -> npt.NDArray[np.float32]:
        return _unit(descriptors[part].astype(np.float32))

    return _in_radius(index, len(descriptors), unit_vectors, SEARCH_THRESHOLD)


def _in_radius(
    index: Any, n: int, queries: Callable[[slice], np.ndarray], radius: float
) -> tuple[Rows, Counts]:
    """Pairs (k, 2) within the radius, the smaller row first, queried 8,192 rows at a time."""

    def parts() -> Iterator[Rows]:
        for start in range(0, n, 8192):
            part = slice(start, min(start + 8192, n))
            limits, _, others = index.range_search(queries(part), radius)
            rows = np.repeat(np.arange(part.start, part.stop), np.diff(limits).astype(np.int64))
            later = rows < others
            yield np.stack([rows[later], others[later]], axis=1).astype(np.int64)

    return np.concatenate(list(parts())), {}


INDEXES: dict[str, Index] = {
    "dupnet": _dupnet(None),
    "dupnet, every pair": _dupnet(True),
    "dupnet, hash tables": _dupnet(False),
    "faiss flat": _flat,
    "faiss HNSW 8 bits, list of 64": _hnsw(64),
    "faiss IVF flat, 16 probes": _ivf(16),
    "faiss IVF flat, 64 probes": _ivf(64),
    "faiss IVF 8 bits, 64 probes": _ivf(64, scalar=True),
    "faiss MultiHash, 0 flips": _multi_hash(0),
    "faiss MultiHash, 1 flip": _multi_hash(1),
}
