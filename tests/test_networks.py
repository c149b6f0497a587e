"""Networks: shapes as described, and what leaves the score as it is."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from small_networks import SMALL, SMALL_V0, scores, small_dupnet, tiles

from dupnet.network.architectures import DupnetConfig, DupnetV0Config, dupnet, dupnet_v0
from dupnet.network.models import build, to_arrays


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return small_dupnet()


@pytest.mark.parametrize(("config", "size"), [(SMALL, 96), (SMALL_V0, 32)])
def test_score_is_one_number_from_0_to_1(config: DupnetConfig | DupnetV0Config, size: int) -> None:
    found = build(config).predict(list(tiles(3, size)), verbose=0)
    assert found.shape == (3, 1)
    assert ((found >= 0) & (found <= 1)).all()


def test_swap_symmetry(network: keras.Model) -> None:
    first, second = tiles(6, 96)
    found = scores(network, first, second)
    np.testing.assert_allclose(scores(network, second, first), found, atol=1e-5)
    assert np.ptp(found) > 1e-4


TURNS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda t, k=k, m=m: np.rot90(t[:, ::-1] if m else t, k, axes=(1, 2))  # type: ignore[misc]
    for k in range(4)
    for m in (False, True)
]


@pytest.mark.parametrize("turn", TURNS)
def test_flips_and_quarter_turns_of_both_change_nothing(
    network: keras.Model, turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    first, second = tiles(6, 96)
    turned = scores(network, turn(first), turn(second))
    np.testing.assert_allclose(turned, scores(network, first, second), atol=1e-5)


def test_turning_one_tile_alone_does_change_the_score(network: keras.Model) -> None:
    first, second = tiles(6, 96)
    changed = scores(network, np.rot90(first, 1, (1, 2)), second) - scores(network, first, second)
    assert np.abs(changed).max() > 1e-4


def test_encoder_against_plain_numpy(network: keras.Model) -> None:
    first, _ = tiles(2, 96)
    encoder = network.get_layer("encoder")
    found = {name: np.asarray(part) for name, part in encoder.predict(first, verbose=0).items()}
    filters = to_arrays(network)["projection.filters"].astype(np.float64)
    filters = (
        filters
        - filters.mean(1, keepdims=True)
        - filters.mean(2, keepdims=True)
        + filters.mean((1, 2), keepdims=True)
    )
    filters /= np.linalg.norm(filters, axis=(1, 2), keepdims=True)
    grey = np.rint(first @ np.array([0.299, 0.587, 0.114]))
    for row in range(3):
        for col in range(3):
            cell = grey[1, row * 32 : row * 32 + 32, col * 32 : col * 32 + 32]
            assert abs(found["mean"][1, row, col, 0] - cell.mean()) <= 0.51
            for number, one in enumerate(filters):
                copies = np.array(
                    [float((np.rot90(turned, k) * cell).sum()) for turned in (one, one.T) for k in range(4)]
                )
                power = np.square(copies).sum() + 0.2
                codes, expected = found["codes"][1, row, col, number], 127 * copies / np.sqrt(power)
                # Grey that lies on a tie may round the other way in float32: one level in one pixel.
                np.testing.assert_allclose(np.sort(codes), np.sort(expected), atol=0.7)
                assert abs(found["powers"][1, row, col, number] - 16 * (np.log(power) + 1.7)) <= 0.6


def test_stripes_carry_no_power(network: keras.Model) -> None:
    """What is constant along rows or columns repeats from tile to tile and proves nothing."""
    stripes = np.zeros((1, 96, 96, 3), np.uint8)
    stripes[:, :40] = 255
    stripes[:, :, 80:] += 90
    found = network.get_layer("encoder").predict(stripes, verbose=0)
    powered = np.asarray(found["powers"]).max(axis=-1).ravel() > 1
    assert np.sum(powered) <= 4  # only where a row edge and a column edge cross
    assert not np.asarray(found["codes"])[0, 2].any()


def test_gradients_pass_the_rounding_of_the_encoder() -> None:
    keras.utils.set_random_seed(0)
    model = dupnet(SMALL)
    before = to_arrays(model)["projection.filters"].copy()
    model.compile(keras.optimizers.SGD(10.0), "binary_crossentropy")
    model.train_on_batch(list(tiles(4, 96)), np.array([[1.0], [0.0], [1.0], [0.0]]))
    assert np.abs(to_arrays(model)["projection.filters"] - before).max() > 0


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="tile_size is 100"):
        dupnet(DupnetConfig(tile_size=100))
    with pytest.raises(ValueError, match="multiple of 32"):
        dupnet_v0(DupnetV0Config(tile_size=48))
