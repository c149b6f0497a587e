"""The tile grid against brute force: images are painted with numbered pixels and compared pixel by pixel."""

from __future__ import annotations

import dataclasses
import string
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.tiles import (
    CELL_SIZE,
    EVIDENCE_RMS,
    MIN_EVIDENCE_CELLS,
    Grid,
    Overlap,
    cell_texture,
    is_decidable,
    is_solid,
    mirror_tag,
    neighbours,
    overlap_at,
    overlap_of_tag,
    overlaps,
    solid_kind,
    split_tiles,
    tile_slices,
)

grids = st.builds(Grid, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))


@pytest.mark.parametrize("constant", [Grid(), overlaps()[0]], ids=["grid", "overlap"])
def test_geometry_is_constant(constant: Grid | Overlap) -> None:
    """It is shared by all that use it: default arguments, the cache of overlaps."""
    for field in dataclasses.fields(constant):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(constant, field.name, 1)
    assert hash(constant) == hash(dataclasses.replace(constant))


def numbered(grid: Grid) -> np.ndarray:
    """An image in which every pixel has a number of its own."""
    return np.arange(grid.height * grid.width).reshape(grid.height, grid.width)


def shared_tiles_by_pixels(row_offset: int, col_offset: int, grid: Grid) -> list[tuple[int, int]]:
    """Pairs (tile of image 1, tile of image 2) that show the same pixels, found by comparing pixels."""
    size = grid.tile_size
    plane = np.arange(9 * grid.height * grid.width).reshape(3 * grid.height, 3 * grid.width)
    top1, left1 = grid.height, grid.width
    top2, left2 = top1 + row_offset * size, left1 + col_offset * size
    image1 = plane[top1 : top1 + grid.height, left1 : left1 + grid.width]
    image2 = plane[top2 : top2 + grid.height, left2 : left2 + grid.width]
    assert image1.shape == image2.shape == (grid.height, grid.width)
    return [
        (index1, index2)
        for index1 in range(grid.n_tiles)
        for index2 in range(grid.n_tiles)
        if np.array_equal(image1[tile_slices(index1, grid)], image2[tile_slices(index2, grid)])
    ]


class TestGrid:
    def test_default_is_the_airbus_image(self) -> None:
        grid = Grid()
        assert (grid.rows, grid.cols, grid.tile_size) == (3, 3, 256)
        assert (grid.n_tiles, grid.height, grid.width) == (9, 768, 768)

    def test_rows_and_columns_are_not_confused(self) -> None:
        grid = Grid(rows=2, cols=5, tile_size=3)
        assert (grid.n_tiles, grid.height, grid.width) == (10, 6, 15)

    @given(grids)
    def test_of_image_inverts_height_and_width(self, grid: Grid) -> None:
        assert Grid.of_image(grid.height, grid.width, grid.tile_size) == grid

    def test_of_image_takes_256_px_tiles_by_default(self) -> None:
        assert Grid.of_image(512, 1024) == Grid(2, 4, 256)

    @pytest.mark.parametrize(
        ("height", "width", "tile_size"),
        [
            (767, 768, 256),
            (768, 767, 256),
            (0, 256, 256),
            (256, 0, 256),
            (256, 256, 0),
            (256, 256, -256),
            (-256, 256, 256),
        ],
    )
    def test_of_image_refuses_what_is_not_whole_tiles(self, height: int, width: int, tile_size: int) -> None:
        with pytest.raises(ValueError, match=rf"{height} x {width} pixels.*--tile-size"):
            Grid.of_image(height, width, tile_size)

    @pytest.mark.parametrize("name", ["rows", "cols", "tile_size"])
    def test_refuses_an_empty_grid(self, name: str) -> None:
        with pytest.raises(ValueError, match=rf"{name} is 0"):
            Grid(**{name: 0})
        assert getattr(Grid(**{name: 1}), name) == 1


class TestTiles:
    def test_index_runs_row_by_row_from_the_upper_left(self) -> None:
        grid = Grid(2, 3, 10)
        origins = [
            (rows.start, cols.start) for rows, cols in (tile_slices(index, grid) for index in range(6))
        ]
        assert origins == [(0, 0), (0, 10), (0, 20), (10, 0), (10, 10), (10, 20)]

    @given(grids)
    def test_tiles_cover_every_pixel_once(self, grid: Grid) -> None:
        counts = np.zeros((grid.height, grid.width), int)
        for index in range(grid.n_tiles):
            counts[tile_slices(index, grid)] += 1
        assert (counts == 1).all()

    @pytest.mark.parametrize("index", [-1, 9, 100])
    def test_no_such_tile(self, index: int) -> None:
        with pytest.raises(ValueError, match=rf"index is {index}; .* tiles 0 to 8"):
            tile_slices(index)

    @given(grids, st.sampled_from([(), (3,), (2, 2)]))
    def test_split_is_slicing(self, grid: Grid, rest: tuple[int, ...]) -> None:
        image = np.arange(grid.height * grid.width * int(np.prod(rest))).reshape(
            grid.height, grid.width, *rest
        )
        tiles = split_tiles(image, grid)
        assert tiles.shape == (grid.n_tiles, grid.tile_size, grid.tile_size, *rest)
        for index in range(grid.n_tiles):
            assert np.array_equal(tiles[index], image[tile_slices(index, grid)])

    def test_split_finds_the_grid_of_256_px_tiles(self) -> None:
        image = np.zeros((512, 768, 3), np.uint8)
        image[256:, 512:] = 7
        tiles = split_tiles(image)
        assert tiles.shape == (6, 256, 256, 3)
        assert (tiles[5] == 7).all() and not tiles[:5].any()

    def test_split_refuses_another_size(self) -> None:
        with pytest.raises(
            ValueError, match="512 x 768 pixels; a grid of 3 x 3 tiles of 256 px takes 768 x 768"
        ):
            split_tiles(np.zeros((512, 768), np.uint8), Grid())
        with pytest.raises(ValueError, match="whole number of 256 px tiles"):
            split_tiles(np.zeros((700, 768), np.uint8))


class TestOverlaps:
    @settings(max_examples=40)
    @given(grids)
    def test_every_overlap_is_what_the_pixels_say(self, grid: Grid) -> None:
        expected = {}
        for row_offset in range(-grid.rows, grid.rows + 1):
            for col_offset in range(-grid.cols, grid.cols + 1):
                shared = shared_tiles_by_pixels(row_offset, col_offset, grid)
                if shared:
                    expected[row_offset, col_offset] = shared
        found = overlaps(grid)
        assert [(overlap.row_offset, overlap.col_offset) for overlap in found] == sorted(expected)
        for overlap in found:
            shared = expected[overlap.row_offset, overlap.col_offset]
            assert list(zip(overlap.tiles1, overlap.tiles2, strict=True)) == shared
            assert overlap.n_tiles == len(shared)

    def test_the_25_patterns_of_an_airbus_image(self) -> None:
        sizes = [overlap.n_tiles for overlap in overlaps()]
        assert {n: sizes.count(n) for n in set(sizes)} == {9: 1, 6: 4, 4: 4, 3: 4, 2: 8, 1: 4}

    @pytest.mark.parametrize(
        ("tag", "offset"),
        [("08", (0, 0)), ("07", (0, -1)), ("18", (0, 1)), ("00", (-2, -2)), ("88", (2, 2)), ("36", (1, -2))],
    )
    def test_known_tags(self, tag: str, offset: tuple[int, int]) -> None:
        assert overlap_at(*offset).tag == tag
        overlap = overlap_of_tag(tag)
        assert (overlap.row_offset, overlap.col_offset) == offset

    def test_a_whole_overlap(self) -> None:
        assert overlap_of_tag("07") == Overlap("07", 0, -1, (0, 1, 3, 4, 6, 7), (1, 2, 4, 5, 7, 8))

    @given(grids)
    def test_tags_are_unique_and_name_first_and_last_tile(self, grid: Grid) -> None:
        digits = string.digits + string.ascii_lowercase + string.ascii_uppercase
        tags = [overlap.tag for overlap in overlaps(grid)]
        assert len(set(tags)) == len(tags) == (2 * grid.rows - 1) * (2 * grid.cols - 1)
        for overlap in overlaps(grid):
            assert [digits.index(digit) for digit in overlap.tag] == [overlap.tiles1[0], overlap.tiles1[-1]]

    @given(grids)
    def test_mirror_is_the_same_overlap_from_the_other_image(self, grid: Grid) -> None:
        for overlap in overlaps(grid):
            seen_from_2 = overlap_of_tag(mirror_tag(overlap.tag, grid), grid)
            assert (seen_from_2.row_offset, seen_from_2.col_offset) == (
                -overlap.row_offset,
                -overlap.col_offset,
            )
            assert (seen_from_2.tiles1, seen_from_2.tiles2) == (overlap.tiles2, overlap.tiles1)
            assert mirror_tag(seen_from_2.tag, grid) == overlap.tag

    def test_known_mirrors(self) -> None:
        assert mirror_tag("07") == "18"
        assert mirror_tag("00") == "88"
        assert mirror_tag("08") == "08"

    def test_grids_at_the_limit_of_one_character_a_tile(self) -> None:
        # 62 characters name the tiles of a 2 x 31 grid; one row more takes decimal numbers.
        assert overlap_at(0, 0, Grid(2, 31)).tag == "0Z"
        assert overlap_at(0, 0, Grid(9, 7)).tag == "0-62"
        assert overlap_of_tag("1-62", Grid(9, 7)).col_offset == 1

    @pytest.mark.parametrize("offset", [(3, 0), (0, -3), (-3, 3)])
    def test_offsets_without_a_shared_tile(self, offset: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match=r"3 x 3 tiles share no tile"):
            overlap_at(*offset)

    @pytest.mark.parametrize("tag", ["80", "09", "", "0-8", "24"])
    def test_unknown_tags(self, tag: str) -> None:
        with pytest.raises(ValueError, match=rf"{tag!r} is unknown for a 3 x 3 grid.* are: .* 07 08 "):
            overlap_of_tag(tag)


def constant(*colour: int) -> np.ndarray:
    """A tile of one colour: (256, 256, 3) uint8."""
    return np.full((256, 256, 3), colour, np.uint8)


class TestSolid:
    def test_one_pixel_off_is_not_solid(self) -> None:
        tile = constant(10, 20, 30)
        assert is_solid(tile)
        tile[255, 255, 2] += 1
        assert not is_solid(tile)
        assert is_solid(tile, tolerance=1)

    def test_channels_are_judged_apart(self) -> None:
        assert is_solid(constant(0, 255, 0))

    def test_grey_tiles(self) -> None:
        assert is_solid(np.full((8, 8), 5, np.uint8))
        assert not is_solid(np.eye(8, dtype=np.uint8))

    @given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 8))
    def test_tolerance_is_the_span_and_does_not_wrap(self, low: int, high: int, tolerance: int) -> None:
        tile = np.full((4, 4), low, np.uint8)
        tile[1, 2] = high
        assert is_solid(tile, tolerance) == (abs(high - low) <= tolerance)

    @pytest.mark.parametrize(
        ("colour", "kind"),
        [
            ((255, 255, 255), "white"),
            ((251, 251, 251), "white"),
            ((250, 255, 255), "other"),
            ((0, 0, 0), "black"),
            ((4, 4, 4), "black"),
            ((0, 5, 0), "other"),
            ((0, 0, 255), "blue"),
            ((55, 55, 200), "blue"),
            ((56, 0, 255), "other"),
            ((0, 56, 255), "other"),
            ((0, 0, 199), "other"),
            ((90, 90, 90), "other"),
        ],
    )
    def test_kinds(self, colour: tuple[int, int, int], kind: str) -> None:
        assert solid_kind(constant(*colour)) == kind

    def test_kind_of_a_textured_tile_is_empty(self) -> None:
        tile = constant(255, 255, 255)
        tile[0, 0] = 250
        assert solid_kind(tile) == ""
        tile[0, 0] = 251
        assert solid_kind(tile) == "white"
        assert solid_kind(tile, tolerance=3) == ""

    def test_a_few_odd_pixels_do_not_decide_the_kind(self) -> None:
        tile = constant(0, 0, 255)
        tile[:100, :100] = (4, 4, 251)
        assert solid_kind(tile) == "blue"


class TestTexture:
    def test_against_a_loop_over_cells(self) -> None:
        tiles = np.random.default_rng(0).integers(0, 256, (2, 96, 96), np.uint8)
        found = cell_texture(tiles)
        assert found.shape == (2, 3, 3) and found.dtype == np.float32
        for k in range(2):
            for row in range(3):
                for col in range(3):
                    cell = tiles[k, 32 * row : 32 * row + 32, 32 * col : 32 * col + 32].astype(float)
                    residual = cell - cell.mean(axis=0) - cell.mean(axis=1)[:, None] + cell.mean()
                    assert found[k, row, col] == pytest.approx(np.sqrt((residual**2).mean()), rel=1e-4)

    @given(st.integers(0, 2**32 - 1))
    def test_stripes_borders_and_steps_along_the_axes_show_nothing(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows, cols = rng.integers(0, 100, (64, 1)), rng.integers(0, 100, (1, 64))
        assert cell_texture((rows + cols)[None].astype(np.uint8)).max() < 1e-3

    @given(st.integers(0, 2**32 - 1))
    def test_flips_and_quarter_turns_only_move_the_cells(self, seed: int) -> None:
        tile = np.random.default_rng(seed).integers(0, 256, (64, 64), np.uint8)
        texture = cell_texture(tile[None])[0]
        for turned, moved in (
            (np.rot90(tile), np.rot90(texture)),
            (tile[::-1], texture[::-1]),
            (tile.T, texture.T),
        ):
            assert cell_texture(turned[None])[0] == pytest.approx(moved, rel=1e-4)

    @pytest.mark.parametrize("shape", [(1, 32, 64), (1, 48, 48), (1, 0, 0)])
    def test_refuses_what_is_not_whole_cells(self, shape: tuple[int, int, int]) -> None:
        with pytest.raises(ValueError, match=rf"whole {CELL_SIZE} px cells"):
            cell_texture(np.zeros(shape, np.uint8))

    def test_a_tile_needs_two_cells_of_evidence(self) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (CELL_SIZE, CELL_SIZE), np.uint8)
        tiles = np.zeros((3, 256, 256), np.uint8)
        tiles[1, :32, :32] = noise
        tiles[2, :32, :32] = noise
        tiles[2, -32:, -32:] = noise
        assert MIN_EVIDENCE_CELLS == 2
        assert is_decidable(tiles).tolist() == [False, False, True]

    def test_evidence_starts_above_rounding(self) -> None:
        # A checkerboard of two neighbouring levels has a texture of exactly one half.
        board = np.indices((256, 256)).sum(axis=0) % 2
        assert cell_texture(board[None].astype(np.uint8)) == pytest.approx(0.5)
        assert 1 / np.sqrt(12) < EVIDENCE_RMS < 0.5
        assert is_decidable(board[None].astype(np.uint8)).tolist() == [True]

    def test_solid_tiles_are_never_decidable(self) -> None:
        tiles = np.stack([np.full((256, 256), level, np.uint8) for level in (0, 29, 128, 255)])
        assert not is_decidable(tiles).any()


def brute_neighbours(boxes: list[tuple[int, ...]], least: int) -> list[tuple[int, ...]]:
    """Pairs of (group, y, x, height, width) that share enough, pixel row by pixel row."""
    found = []
    for (first, one), (second, other) in combinations(enumerate(boxes), 2):
        common = [
            set(range(one[axis], one[axis] + one[axis + 2]))
            & set(range(other[axis], other[axis] + other[axis + 2]))
            for axis in (1, 2)
        ]
        if one[0] == other[0] and min(map(len, common)) >= least:
            found.append((first, second, other[1] - one[1], other[2] - one[2]))
    return found


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(-4, 8), st.integers(-4, 8), st.integers(1, 6), st.integers(1, 6)
        ),
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_neighbours_share_enough_ground(boxes: list[tuple[int, ...]], least: int) -> None:
    """Images of any sizes, of several groups, at places that may be negative."""
    columns = zip(*boxes, strict=True) if boxes else [()] * 5
    found = neighbours(*columns, least)
    assert [values.dtype for values in found] == [np.int64] * 4
    assert [tuple(pair) for pair in np.stack(found, axis=1).tolist()] == brute_neighbours(boxes, least)


def test_neighbours_of_a_large_plane_are_exact() -> None:
    """A pixel more or less of common ground tells, at places of millions and in the thousandth group."""
    y, x = np.array([0, 0, 743]), 3_000_000 + np.array([0, 744, 25])
    group, n = np.repeat(np.arange(1000), 3), 1000
    sizes = np.full(3 * n, 768)
    for least, pairs in ((24, 3), (25, 2), (26, 0)):
        first, second, down, right = neighbours(group, np.tile(y, n), np.tile(x, n), sizes, sizes, least)
        expected = [(0, 1, 0, 744), (0, 2, 743, 25), (1, 2, 743, -719)]
        common = [24, 25, 25]
        expected = [row for row, shared in zip(expected, common, strict=True) if shared >= least]
        assert len(expected) == pairs
        assert len(first) == n * pairs
        of_last = [row for row in zip(first, second, down, right, strict=True) if row[0] >= 3 * n - 3]
        assert of_last == [(one + 3 * n - 3, two + 3 * n - 3, *rest) for one, two, *rest in expected]
