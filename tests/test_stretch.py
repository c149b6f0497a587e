"""Bands and depth: which bands are taken, and which samples become black and white."""

from __future__ import annotations

import json
from pathlib import Path

import formats
import numpy as np
import pytest

from dupnet.images.collection_stretch import stretch_of_collection
from dupnet.images.raster import kind_and_sample
from dupnet.images.reading import load_image
from dupnet.images.stretch import Rendering, filled, limits_of, read_rendering, stretch, wanted_bands


@pytest.mark.parametrize(
    ("colours", "names", "asked", "bands", "said"),
    [
        (["gray"], [None], None, [1], "grey; taken"),
        (["gray", "alpha"], [None] * 2, None, [1], "grey; taken"),
        (["gray", "undefined"], [None] * 2, None, [1], "the first of 2 bands; taken"),
        (["red", "green", "blue"], [None] * 3, None, [1, 2, 3], ""),
        (["red", "green", "blue", "alpha"], [None] * 4, None, [1, 2, 3], ""),
        (["blue", "green", "red"], [None] * 3, None, [3, 2, 1], "by colour"),
        (["gray"] * 3, [None] * 3, None, [1, 2, 3], ""),
        (["gray"] * 4, ["Blue", "Green", "Red", "NIR"], None, [3, 2, 1], "by description"),
        (["gray"] * 4, ["band 1", "band_2", "Band-3", "BAND 4"], None, [4, 3, 2], "by description"),
        (["gray"] * 4, ["B01", "B02", "B03", "B04"], None, [4, 3, 2], "by description"),
        (["gray"] * 4, ["B4", "B3", "B2", "B1"], None, [1, 2, 3], "by description"),
        (["gray"] * 4, ["x", "b", "g", "r"], None, [4, 3, 2], "by description"),
        (["gray"] * 8, [None] * 8, None, [1, 2, 3], "first three of 8"),
        (
            ["red", "green", "blue", "undefined"],
            ["a", "b", "c", "d"],
            (4, 1, 2),
            [4, 1, 2],
            "bands 4 1 2 of 4",
        ),
        (["red", "green", "blue"], [None] * 3, (3, 2, 1), [1, 2, 3], ""),
        (["alpha"], [None], None, [1], "alpha alone"),
    ],
)
def test_bands(
    colours: list[str],
    names: list[str | None],
    asked: tuple[int, int, int] | None,
    bands: list[int],
    said: str,
) -> None:
    found, note = wanted_bands(colours, names, asked)
    assert found == bands
    assert said in note
    assert bool(said) == bool(note)


def test_a_band_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="4 bands; band 5 is asked for"):
        wanted_bands(["gray"] * 4, [None] * 4, (1, 5, 2))


def test_renderings_from_options() -> None:
    assert Rendering.checked() == Rendering()
    assert Rendering.checked([4, 3, 2], "collection") == Rendering((4, 3, 2))
    assert Rendering.checked(None, "0:3000") == Rendering(None, (0.0, 3000.0))
    assert Rendering.checked(None, (-1, 1)) == Rendering(None, (-1.0, 1.0))


@pytest.mark.parametrize("bands", [[1, 2], [0, 1, 2], [1, 2, 3, 4]])
def test_bands_that_are_none(bands: list[int]) -> None:
    with pytest.raises(ValueError, match="name three, from 1"):
        Rendering.checked(bands)


@pytest.mark.parametrize("how", ["", "best", "1", "1:2:3", "5:5", "9:2", "nan:1", "0:inf", (3, 1)])
def test_a_stretch_that_is_none(how: str) -> None:
    with pytest.raises(ValueError, match="'file', 'collection' or LOW:HIGH"):
        Rendering.checked(None, how)


def test_a_record_that_is_none() -> None:
    for record in (
        {"bands": 5},
        {"limits": [1]},
        {"limits": [2, 1]},
        {"by_kind": [1]},
        {"by_kind": {"a": [1]}},
    ):
        with pytest.raises(ValueError, match=r"no record|LOW:HIGH"):
            read_rendering(record)


def test_what_a_rendering_is_recorded_as() -> None:
    """Different pixels have different records, and where nothing is asked for there is none."""
    some = [
        Rendering(),
        Rendering((1, 2, 3)),
        Rendering((3, 2, 1)),
        Rendering(None, (0, 1)),
        Rendering(None, None, {"a": [(0, 1)]}),
        Rendering(None, None, {"a": [(0, 2)]}),
    ]
    assert len({str(one.record()) for one in some}) == len(some)
    assert Rendering().record() == {}
    for one in some:
        assert read_rendering(json.loads(json.dumps(one.record()))) == one


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint32"])
def test_a_stretch_is_linear(dtype: str) -> None:
    samples = np.arange(1000, dtype=dtype).reshape(1, 20, 50)
    levels = stretch(samples, [(100.0, 355.0)])[:, :, 0].ravel().astype(int)
    np.testing.assert_array_equal(levels, np.clip(np.arange(1000) - 100, 0, 255))


def test_limits() -> None:
    samples = np.arange(10_001, dtype=np.float32).reshape(1, 73, 137)
    assert limits_of(samples, None) == [(200.0, 9800.0)]
    assert limits_of(samples, samples[0] >= 5001)[0] == pytest.approx((5101, 9900), abs=0.1)
    holed = samples.copy()
    holed[0, :40] = np.nan
    assert limits_of(holed, None)[0][0] > 5480
    assert limits_of(np.full((1, 9, 9), 5), None) == [(5.0, 6.0)]
    assert limits_of(np.full((1, 9, 9), np.nan), None) == [(0.0, 1.0)]
    nearly = np.full((1, 100, 100), 5)
    nearly[0, 0, 0] = 9  # all percentiles are the same
    assert limits_of(nearly, None) == [(5.0, 9.0)]


def test_a_collar_that_nothing_declares_is_no_limit() -> None:
    samples = np.random.default_rng(0).integers(500, 2000, (3, 100, 100)).astype(np.uint16)
    inside = samples.copy()
    samples[:, :, :30] = 0
    outside = filled(samples)
    assert outside[:, :30].all() and not outside[:, 30:].any()
    assert not filled(inside).any()
    assert not filled(np.zeros((1, 9, 9))).any()


def test_limits_are_taken_of_a_copy_of_bounded_size(tmp_path: Path) -> None:
    scene = np.random.default_rng(0).integers(0, 4000, (1, 700, 300)).astype(np.uint16)
    formats.raster(scene)(tmp_path / "a.tif")
    found = kind_and_sample(tmp_path / "a.tif", "GTiff", Rendering())
    assert found is not None and found[1].shape == (1, 512, 300)


def test_one_stretch_for_a_collection(tmp_path: Path) -> None:
    """Of two halves of a scene, one dark and one light, a sample has one level in both."""
    scene = np.linspace(100, 4000, 96 * 256).reshape(1, 96, 256).astype(np.uint16)
    for name, part in {"a.tif": scene[:, :, :160], "b.tif": scene[:, :, 96:]}.items():
        formats.raster(part)(tmp_path / name)
    formats.raster()(tmp_path / "plain.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    paths = [
        tmp_path / name for name in ("a.tif", "b.tif", "broken.tif", "gone.tif", "photo.jpg", "plain.tif")
    ]
    one = stretch_of_collection(paths, Rendering())
    assert list(one.by_kind) == ["1 bands, 1 taken, uint16"]
    ((low, high),) = one.by_kind["1 bands, 1 taken, uint16"]
    assert 100 < low < 300 and 3700 < high < 4000
    assert stretch_of_collection(paths[::-1], Rendering()) == one
    shared = [
        load_image(tmp_path / name, grey=True, rendering=one).pixels[part]
        for name, part in (("a.tif", np.s_[:, 96:]), ("b.tif", np.s_[:, :64]))
    ]
    np.testing.assert_array_equal(*shared)
    apart = [load_image(tmp_path / name, grey=True).pixels for name in ("a.tif", "b.tif")]
    assert not np.array_equal(apart[0][:, 96:], apart[1][:, :64])
    fixed = load_image(tmp_path / "a.tif", grey=True, rendering=Rendering.checked(None, "0:25500"))
    np.testing.assert_array_equal(fixed.pixels, np.rint(scene[0, :, :160] / 100))
    assert "0 to 25500 stretched" in fixed.note
