"""Transforms of one image into another: matrices, words, resampling, common ground."""

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import textured

from dupnet.images import transforms as module


def affine(degrees: float, scale_y: float, scale_x: float, turn: int) -> np.ndarray:
    """A transform that turns, then resizes, then rotates."""
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.diag([scale_y, scale_x]) @ module.turn_matrix(turn, 1, 1)[:, :2]
    return np.column_stack([linear, [3.5, -7.25]])


@pytest.mark.parametrize("turn", range(module.N_TURNS))
def test_a_turned_image_lies_where_its_matrix_says(turn: int) -> None:
    image = np.arange(35).reshape(5, 7)
    expected = np.rot90(image[:, ::-1] if turn >= 4 else image, turn % 4)
    shown = module.turned(image, turn)
    assert (shown == expected).all()
    assert module.turned_sizes(np.array([[5, 7]]), turn).tolist() == [list(expected.shape)]
    points = np.argwhere(np.ones_like(image))
    y, x = module.moved(module.turn_matrix(turn, 5, 7, 10, 20), points).astype(int).T
    assert (shown[y - 10, x - 20] == image.ravel()).all()


def test_relative_turns() -> None:
    """Turned back by the first, what the second turned is image 2 turned by the relative one."""
    image = np.arange(9).reshape(3, 3)
    for one in range(module.N_TURNS):
        for two in range(module.N_TURNS):
            turn = int(module.relative_turn[one, two])
            first = module.turned(image, turn)
            assert (module.turned(first, one) == module.turned(image, two)).all()


@pytest.mark.parametrize("turn", range(module.N_TURNS))
@pytest.mark.parametrize(("degrees", "scales"), [(0, (1, 1)), (12.5, (0.5, 0.5)), (-14, (1.3, 0.8))])
def test_words_of_a_transform(turn: int, degrees: float, scales: tuple[float, float]) -> None:
    said = module.decompose(affine(degrees, *scales, turn))
    assert said.scale == pytest.approx(np.sqrt(scales[0] * scales[1]))
    assert (said.scale_y, said.scale_x) == pytest.approx(scales)
    if degrees == 0 or scales[0] == scales[1]:
        assert said.rotation == pytest.approx(degrees, abs=1e-9)
        quarters = said.turn // 90
        linear = np.array([[0, -1], [1, 0]])
        flip = np.diag([1, -1]) if said.flip else np.eye(2)
        expected = module.turn_matrix(turn, 1, 1)[:, :2]
        assert np.allclose(np.linalg.matrix_power(linear, quarters) @ flip, expected)
        assert said.flip == (turn >= 4)


def test_a_row_of_the_table_maps_points() -> None:
    matrix = affine(5, 0.7, 0.9, 6)
    row = module.transform_columns([matrix], [0.25]).iloc[0]
    points = np.array([[0.0, 0.0], [100.0, 40.0]])
    assert np.allclose(module.to_image1(row, points), module.moved(matrix, points), atol=1e-3)
    assert row["residual"] == 0.25
    plain = pd.Series({"y_offset": 12, "x_offset": -3, "yy": np.nan})
    assert (module.to_image1(plain, points) == points + np.array([12, -3])).all()


def test_which_rows_are_transformed() -> None:
    upright = np.column_stack([np.eye(2), [5, 6]])
    table = module.transform_columns([upright, affine(0, 1, 1, 3), affine(2, 1, 1, 0)], np.zeros(3))
    assert module.is_transformed(table).tolist() == [False, True, True]
    assert not module.is_transformed(pd.DataFrame({"y_offset": [3]})).any()
    assert not module.is_transformed(table.assign(yy=np.nan)).any()
    assert [module.in_words(row) for _, row in table.iterrows()] == ["", "turned by 270°", "rotated by 2.0°"]
    stretched = module.transform_columns([affine(0, 0.5, 0.8, 4)], [0])
    assert module.in_words(stretched.iloc[0]) == "mirrored, resized by 0.500 x 0.800"


def test_the_inverse_leads_back() -> None:
    matrix = affine(9, 0.5, 0.6, 5)
    points = np.array([[3.0, 4.0], [50.0, 9.0]])
    assert np.allclose(module.moved(module.inverse(matrix), module.moved(matrix, points)), points)
    with pytest.raises(ValueError, match="no inverse"):
        module.inverse(np.zeros((2, 3)))


@pytest.mark.parametrize("turn", range(module.N_TURNS))
def test_whole_pixels_are_resampled_exactly(turn: int) -> None:
    image = textured(1, 48)[0][:, :40]
    matrix = module.turn_matrix(turn, *image.shape, 5, 9)
    assert module.bounds(matrix, *image.shape) == (5, 9, *module.turned(image, turn).shape)
    assert (module.laid(image, matrix) == module.turned(image, turn)).all()


def test_what_shrinks_is_averaged() -> None:
    image = (np.indices((32, 32)).sum(axis=0) % 2 * 200).astype(np.uint8)
    smaller = module.resampled(image, [[0.25, 0, -0.375], [0, 0.25, -0.375]], 8, 8)
    assert np.abs(smaller.astype(int) - 100).max() <= 1


def test_beyond_the_image_there_is_nothing() -> None:
    image = np.full((40, 40), 200, np.uint8)
    drawn = module.laid(image, affine(15, 1, 1, 0))
    assert (drawn[0, 0], drawn[-1, -1]) == (0, 0)
    assert drawn[drawn.shape[0] // 2, drawn.shape[1] // 2] == 200


def test_common_ground_is_a_polygon() -> None:
    shifted = np.column_stack([np.eye(2), [10, 30]])
    outline = module.common_outline(shifted, (50, 60), (50, 60))
    assert cv2.contourArea(outline.astype(np.float32)) == 40 * 30
    assert outline.min(axis=0).tolist() == [10, 30]
    apart = np.column_stack([np.eye(2), [100, 0]])
    assert len(module.common_outline(apart, (50, 60), (50, 60))) == 0
