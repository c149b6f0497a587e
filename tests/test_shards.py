"""Shards: rows found where they were written, whoever asks in which order, and harm that is named."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupnet.cluster.kinds import Tiles
from dupnet.cluster.shards import (
    read_search,
    read_shards,
    read_tiles,
    read_verify,
    token,
    write_shard,
)
from dupnet.files.identity import Identity
from dupnet.files.storage import Folder
from dupnet.find.cache import Arrays, Entry
from dupnet.find.search import hash_rows
from dupnet.find.tile_index import Tiling
from dupnet.network.filters import SEARCH_BYTES

WIDTH = 12
"""Bytes of a verify descriptor here."""

COLUMNS = Tiles(Tiling(64, 64)).columns

Images = dict[str, tuple[Entry, Arrays]]


def images(*sizes: int, seed: int = 0) -> Images:
    """Images of so many tiles each, the first row of which is not yet what it will be."""
    rng = np.random.default_rng(seed)
    found = {}
    for number, n in enumerate(sizes):
        search = rng.integers(-127, 128, (n, SEARCH_BYTES), dtype=np.int8)
        verify = rng.integers(0, 256, (n, WIDTH), dtype=np.uint8)
        entry = Entry(Identity(number, 10**18 + seed, '"tag"'), 64, 64 * n, 99, n, "grey")
        decidable = rng.random(n) < 0.5
        arrays = {"search": search, "verify": verify, "decidable": decidable, "hashes": hash_rows(verify)}
        found[f"{seed}/{number} ü\n.jpg"] = entry, arrays
    return found


SHARDS = {"b": images(2, 1, 3, seed=1), "a": images(4, seed=2)}


def written(store: Folder) -> Folder:
    for key, content in SHARDS.items():
        write_shard(store, key, content, COLUMNS)
    return store


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    address = tmp_path / "store" if request.param == "disk" else f"memory://{uuid.uuid4().hex}/store"
    return written(Folder(address))


def test_images_and_rows_are_read_back(store: Folder) -> None:
    shards = read_shards(store)
    assert [(shard.key, shard.n_rows) for shard in shards] == [("a", 4), ("b", 6)]
    for shard in shards:
        content = SHARDS[shard.key]
        n_before = np.cumsum([0] + [entry.n_rows for entry, _ in content.values()]).tolist()
        assert list(shard.entries.items()) == [
            (name, entry._replace(first_row=first))
            for (name, (entry, _)), first in zip(content.items(), n_before[:-1], strict=True)
        ]
        search = np.concatenate([data["search"] for _, data in content.values()])
        verify = np.concatenate([data["verify"] for _, data in content.values()])
        tiles = read_tiles(store, shard)
        assert tiles["decidable"].tolist() == [
            one for _, data in content.values() for one in data["decidable"]
        ]
        np.testing.assert_array_equal(tiles["verify_hash"], hash_rows(verify))
        rows = np.array([3, 0, 3, 1])
        np.testing.assert_array_equal(read_search(store, shard.key, rows), search[rows])
        assert read_search(store, shard.key, rows[:0]).shape == (0, SEARCH_BYTES)


def test_digests_are_equal_where_search_descriptors_are(tmp_path: Path) -> None:
    ((name, (entry, data)),) = images(5).items()
    data["search"][3] = data["search"][1]
    data["search"][4] = data["search"][1]
    data["search"][4, -1] ^= 1
    data["search"][2] = 0
    store = Folder(tmp_path)
    write_shard(store, "k", {name: (entry, data)}, COLUMNS)
    tiles = read_tiles(store, read_shards(store)[0])
    alike = (tiles["digest"][:, None] == tiles["digest"]).all(axis=2)
    assert np.argwhere(np.triu(alike, 1)).tolist() == [[1, 3]]
    assert tiles["searched"].tolist() == [True, True, False, True, True]


@pytest.fixture(scope="module")
def lasting() -> Folder:
    return written(Folder(f"memory://{uuid.uuid4().hex}"))


@given(st.lists(st.sampled_from([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 4), (1, 5)])))
def test_verify_descriptors_of_any_rows_in_any_order(lasting: Folder, asked: list[tuple[int, int]]) -> None:
    keys = ["a", "b"]
    verify = [np.concatenate([data["verify"] for _, data in SHARDS[key].values()]) for key in keys]
    shard, row = np.array(asked, np.int64).reshape(-1, 2).T
    found = read_verify(lasting, keys, shard, row, WIDTH)
    assert found.shape == (len(asked), WIDTH)
    for one, (number, place) in zip(found, asked, strict=True):
        np.testing.assert_array_equal(one, verify[number][place])


def test_rows_that_follow_one_another_are_read_at_once(lasting: Folder) -> None:
    asked: list[tuple[str, int, int]] = []

    class Watched(Folder):
        def read_ranges(self, names: list[str], starts: list[int], ends: list[int]) -> list[bytes]:
            asked.extend(zip(names, starts, ends, strict=True))
            return super().read_ranges(names, starts, ends)

    shard, row = np.array([(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (1, 0)]).T
    read_verify(Watched(lasting.address), ["a", "b"], shard, row, WIDTH)
    ranges = [("a.verify", 1, 4), ("b.verify", 4, 6), ("b.verify", 0, 1)]
    assert asked == [(name, start * WIDTH, end * WIDTH) for name, start, end in ranges]


def test_without_its_last_file_a_shard_does_not_count(store: Folder) -> None:
    store.remove("a.json")
    assert [shard.key for shard in read_shards(store)] == ["b"]
    assert read_shards(store.folder("none")) == []


@pytest.mark.parametrize("data", [b"{", b"\xff", b"{}", b"[]", b'{"images": {"a": 1}, "n_rows": 1}'])
def test_a_shard_whose_list_of_images_is_damaged_is_named(data: bytes, store: Folder) -> None:
    store.write("a.json", data)
    with pytest.raises(OSError, match=r"/a\.json is damaged; delete its folder and run again\.$"):
        read_shards(store)


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("kind", ["search", "verify", "tiles"])
def test_a_damaged_file_is_named_with_its_remedy(kind: str, change: int, store: Folder) -> None:
    shard = read_shards(store)[0]
    name = f"a.{kind}"
    store.write(name, store.read(name)[:change] if change < 0 else store.read(name) + b"x")
    last = np.array([shard.n_rows - (change < 0)])
    read = {
        "search": lambda: read_search(store, "a", last),
        "verify": lambda: read_verify(store, ["a"], np.array([0]), last, WIDTH),
        "tiles": lambda: read_tiles(store, shard),
    }
    message = rf"^{re.escape(store.address)}/a\.{kind} is damaged; delete its folder and run again\.$"
    with pytest.raises(OSError, match=message):
        read[kind]()


def test_equal_content_gives_equal_names_of_files() -> None:
    content = {"image": ["ü/\n.jpg", 1], "tile": 64}
    assert token(content) == token({"tile": 64, "image": ("ü/\n.jpg", 1)})
    different = [content, content | {"tile": 65}, content | {"image": ["ü/\n.jpg", "1"]}, [], None]
    names = {token(one) for one in different}
    assert len(names) == len(different)
    assert all(re.fullmatch("[0-9a-f]{24}", name) for name in names)
