"""Models: files that come back or are refused, the same scores in another backend, tables of layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_networks import SMALL, SMALL_V0, scores, small_dupnet, tiles

from dupnet.network import models
from dupnet.network.models import (
    DupnetConfig,
    DupnetV0Config,
    build,
    dupnet,
    dupnet_v0,
    from_arrays,
    layer_table,
    load_arrays,
    load_model,
    save_arrays,
    save_model,
    to_arrays,
)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return small_dupnet()


def test_dupnet_v0_is_the_figure() -> None:
    table = layer_table(dupnet_v0()).set_index(layer_table(dupnet_v0())["layer"].str.partition(":")[0])
    shapes = {name: table.loc[name, "output_shape"] for name in table.index}
    assert shapes["tile1"] == shapes["tile2"] == "256 x 256 x 3"
    assert shapes["stack"] == "256 x 256 x 6"
    assert [shapes[f"pool_{k}"] for k in range(1, 6)] == [
        "128 x 128 x 16", "64 x 64 x 32", "32 x 32 x 64", "16 x 16 x 128", "8 x 8 x 256",
    ]  # fmt: skip
    assert (shapes["dense"], shapes["score"]) == ("128", "1")
    # Counted by hand: 9 in out + out for a convolution, in out + out for a dense layer.
    channels = (6, 16, 32, 64, 128, 256)
    convolutions = sum(9 * a * b + b for a, b in pairwise(channels))
    assert table["parameters"].sum() == convolutions + (8 * 8 * 256 * 128 + 128) + (128 + 1) == 2_490_449


def test_dupnet_table_counts_the_shared_encoder_once() -> None:
    model = dupnet()
    table = layer_table(model)
    assert table["parameters"].sum() == model.count_params()
    assert (
        table["layer"].str.startswith("member_2").sum()
        == table["layer"].str.startswith("member_3").sum()
        == 1
    )
    assert sum(layer.name == "encoder" for layer in model.layers) == 1
    shared = [layer for layer in model.layers if layer.name == "encoder"]
    assert len(shared[0]._inbound_nodes) >= 2  # called for either tile


@pytest.mark.parametrize(("config", "size"), [(SMALL, 96), (SMALL_V0, 32)])
def test_model_file_comes_back(tmp_path: Path, config: DupnetConfig | DupnetV0Config, size: int) -> None:
    model = build(config)
    save_model(model, tmp_path / "a.keras")
    again = load_model(tmp_path / "a.keras")
    assert again.settings == config
    first, second = tiles(3, size)
    np.testing.assert_array_equal(scores(again, first, second), scores(model, first, second))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.keras"]


@pytest.mark.parametrize(("config", "size"), [(SMALL, 96), (SMALL_V0, 32)])
def test_arrays_come_back(tmp_path: Path, config: DupnetConfig | DupnetV0Config, size: int) -> None:
    model = build(config)
    first, second = tiles(3, size)
    exact = from_arrays(to_arrays(model), config)
    np.testing.assert_array_equal(scores(exact, first, second), scores(model, first, second))
    save_arrays(model, tmp_path / "a.npz")
    again = load_arrays(tmp_path / "a.npz")
    assert again.settings == config
    np.testing.assert_allclose(scores(again, first, second), scores(model, first, second), atol=1e-2)


def test_large_kernels_are_kept_as_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "LARGE_KERNEL", 500)
    model = build(SMALL_V0)
    model.get_layer("dense").kernel.assign(np.random.default_rng(0).normal(0, 0.1, (256, 5)))
    save_arrays(model, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["dense.kernel"].dtype == np.int8
        assert stored["conv_2.kernel"].dtype == np.float16
    before, after = to_arrays(model), to_arrays(load_arrays(tmp_path / "a.npz"))
    assert list(before) == list(after)
    np.testing.assert_allclose(after["dense.kernel"], before["dense.kernel"], atol=0.5 * 0.4 / 127)
    first, second = tiles(3, 32)
    np.testing.assert_allclose(
        scores(load_arrays(tmp_path / "a.npz"), first, second), scores(model, first, second), atol=2e-2
    )


def test_arrays_that_do_not_fit_are_named() -> None:
    arrays = to_arrays(build(SMALL_V0))
    with pytest.raises(ValueError, match=r"conv_1\.kernel is missing"):
        from_arrays({name: array for name, array in arrays.items() if name != "conv_1.kernel"}, SMALL_V0)
    with pytest.raises(ValueError, match=r"score\.bias has shape \(2,\)"):
        from_arrays({**arrays, "score.bias": np.zeros(2)}, SMALL_V0)


def rewrite(path: Path, change: Callable[[dict[str, Any]], None], member: str = "dupnet.json") -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(members[member])
    change(content)
    members[member] = json.dumps(content).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    model = build(SMALL_V0)
    for change, message in (
        (lambda settings: settings.update(format=99), "format 99"),
        (lambda settings: settings["config"].update(architecture="dupnet_v7"), "dupnet_v7"),
        (lambda settings: settings["config"].update(sixth_convolution=True), "another version"),
    ):
        save_model(model, path)
        rewrite(path, change)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=message):
            load_model(path)


def test_what_a_file_says_of_layers_is_not_built(tmp_path: Path) -> None:
    """A Lambda whose code leaves a trace, and a function of another module: the file loads without them."""
    path, trace = tmp_path / "a.keras", tmp_path / "trace"
    tile = keras.Input((4, 4, 3))
    code = compile(
        f"lambda values: (__import__('os').makedirs({str(trace)!r}, exist_ok=True), values)[1]", "", "eval"
    )
    armed = keras.Model(tile, keras.layers.Lambda(eval(code))(tile))  # noqa: S307
    armed.save(tmp_path / "armed.keras")
    trace.rmdir()
    with zipfile.ZipFile(tmp_path / "armed.keras") as archive:
        trap = json.loads(archive.read("config.json"))

    def set_trap(config: dict[str, Any]) -> None:
        config.clear()
        config.update(trap)

    def point_elsewhere(config: dict[str, Any]) -> None:
        config["config"]["layers"][-1].update(module="os", class_name="system", registered_name=None)

    model = build(SMALL_V0)
    for change in (set_trap, point_elsewhere):
        save_model(model, path)
        rewrite(path, change, "config.json")
        again = load_model(path)
        assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
        np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    with pytest.raises(ValueError, match=r"holds no dupnet\.json"):
        load_model(tmp_path / "armed.keras")
    assert not trace.exists()
    keras.saving.load_model(tmp_path / "armed.keras", safe_mode=False)
    assert trace.exists(), "the trap itself must work, or the test shows nothing"


def test_a_damaged_model_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    save_model(build(SMALL_V0), path)
    whole = path.read_bytes()
    # One bit of a weight, which Keras alone would not notice.
    kernel = load_model(path).get_layer("dense").kernel.numpy()[0].tobytes()
    assert whole.count(kernel) == 1
    flipped = whole.replace(kernel, bytes([kernel[0] ^ 1]) + kernel[1:])
    for data in (whole[:-400], whole[:-5000] + whole[-4990:], flipped, whole[:30]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.keras: (is damaged|not a \.keras file|holds no)"):
            load_model(path)
    save_arrays(build(SMALL_V0), tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:300] + bytes(50) + whole[350:])
    with pytest.raises(ValueError, match=r"a\.npz: is damaged"):
        load_arrays(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tile_size", 2**20), ("tile_size", "32"), ("tile_size", True), ("tile_size", 0), ("filters", 3),
        ("filters", [3, 10**9]), ("filters", [1] * 17), ("filters", [3, [4]]), ("filters", {}),
        ("dense_units", -5), ("dense_units", None), ("threshold", 2), ("threshold", "high"),
    ],
)  # fmt: skip
def test_settings_that_ask_for_too_much_or_nonsense_are_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    path = tmp_path / "a.keras"
    save_model(build(SMALL_V0), path)
    rewrite(path, lambda settings: settings["config"].update({key: value}))
    with pytest.raises(ValueError, match=rf"a\.keras: {key} is .*not built"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(n_members=0), "n_members is 0"),
        (lambda config: config.update(deferral_band=[1, 1]), r"deferral_band is \(1, 1\)"),
        (lambda config: config.update(deferral_band=[-1, "1"]), "deferral_band is"),
        (lambda config: config.update(deferral_band=[-1]), "deferral_band is"),
        (lambda config: config.update(deferral_band=[float("nan"), 1]), "deferral_band is"),
        (lambda config: config["first_stage"].update(cell_units=[]), r"first_stage\.cell_units is \(\)"),
        (lambda config: config["ensemble"].update(tile_units=[10**9]), r"ensemble\.tile_units is"),
        (lambda config: config["ensemble"].update(context_units=True), r"ensemble\.context_units is True"),
        (lambda config: config["ensemble"].update(depth=3), "another version .*depth"),
        (lambda config: config.update(ensemble=3), "another version"),
        (
            lambda config: config.pop("first_stage") and config.update(cell_units=[16]),
            "another version .*cell_units",
        ),
    ],
)
def test_settings_of_heads_are_refused_alike(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "a.keras"
    save_model(build(SMALL), path)
    rewrite(path, lambda settings: change(settings["config"]))
    with pytest.raises(ValueError, match=rf"a\.keras: .*{message}"):
        load_model(path)


def test_sizes_that_multiply_to_too_much_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    for config, changed in (
        (SMALL_V0, {"tile_size": 1024, "filters": [1024], "dense_units": 1024}),
        (SMALL, {"n_filters": 1024, "cell_size": 1024}),
    ):
        save_model(build(config), path)
        rewrite(path, lambda settings, changed=changed: settings["config"].update(changed))  # type: ignore[misc]
        with pytest.raises(ValueError, match=r"array of [\d,]+ weights"):
            load_model(path)


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.keras"):
        load_model(tmp_path / "absent.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ValueError, match=r"not a \.keras file"):
        load_model(tmp_path / "text.keras")
    tile = keras.Input((4,))
    keras.Model(tile, keras.layers.Dense(1)(tile)).save(tmp_path / "foreign.keras")
    with pytest.raises(ValueError, match=r"dupnet\.json"):
        load_model(tmp_path / "foreign.keras")
    with pytest.raises(ValueError, match=r"end in \.keras"):
        save_model(build(SMALL_V0), tmp_path / "model.h5")
    with pytest.raises(ValueError, match="no settings"):
        save_model(keras.Model(tile, keras.layers.Dense(1)(tile)), tmp_path / "b.keras")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"dupnet\.json"):
        load_arrays(tmp_path / "other.npz")


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    model = build(SMALL_V0)
    model.get_layer("score").bias.assign([1e6])
    with pytest.raises(ValueError, match=r"score\.bias"):
        save_arrays(model, tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


SCORE_IN_ANOTHER_BACKEND = """
import sys, numpy as np
from dupnet.network.models import load_arrays
backend, weights, pairs, scores = sys.argv[1:]
data = np.load(pairs)
np.save(scores, load_arrays(weights).predict([data["first"], data["second"]], verbose=0))
import keras
assert keras.backend.backend() == backend
"""


def test_another_backend_gives_the_same_score(tmp_path: Path, network: keras.Model) -> None:
    """Keras reads its backend once, when it is imported; the other one runs in a process of its own."""
    backend = "tensorflow" if keras.backend.backend() == "jax" else "jax"
    first, second = tiles(4, 96)
    save_arrays(network, tmp_path / "a.npz")
    np.savez(tmp_path / "tiles.npz", first=first, second=second)
    environment = {**os.environ, "KERAS_BACKEND": backend}
    files = [str(tmp_path / name) for name in ("a.npz", "tiles.npz", "scores.npy")]
    command = [sys.executable, "-c", SCORE_IN_ANOTHER_BACKEND, backend, *files]
    subprocess.run(command, env=environment, check=True)
    found = np.load(tmp_path / "scores.npy").ravel()
    np.testing.assert_allclose(found, scores(load_arrays(tmp_path / "a.npz"), first, second), atol=1e-3)
