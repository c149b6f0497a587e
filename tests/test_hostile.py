"""Files made to harm or to confuse: weights that would run code, mutated images, crowded and odd folders."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_images import REFUSED, encoded

from dupnet.descriptors import WEIGHTS, load_weights
from dupnet.find import find_overlaps
from dupnet.images import MAX_PIXELS, UnreadableImage, decode, list_images
from dupnet.results import read_results
from dupnet.storage import Folder

FORMATS: dict[str, Callable[[], bytes]] = {
    "baseline JPEG": encoded,
    "progressive JPEG": lambda: encoded(progressive=True),
    "CMYK JPEG": lambda: encoded("CMYK"),
    "PNG": lambda: encoded(format="PNG"),
    "palette PNG": lambda: encoded("P", "PNG"),
    "TIFF": lambda: encoded(format="TIFF"),
    "packed TIFF": lambda: encoded(format="TIFF", compression="tiff_lzw"),
}
BASES = {name: make() for name, make in FORMATS.items()}


def must_be_read_or_refused(data: bytes) -> None:
    """Anything but pixels of a sane size or UnreadableImage with a reason of one line is a defect."""
    for grey in (False, True):
        try:
            pixels, _ = decode(data, grey=grey)
        except UnreadableImage as error:
            assert error.reason
            assert not re.search("0x[0-9a-f]{6}", error.reason), "an address, another one in every run"
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == (2 if grey else 3)
            assert pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS


@given(base=st.sampled_from(sorted(BASES)), edits=st.data())
@settings(max_examples=60)
def test_images_with_bytes_changed(base: str, edits: st.DataObject) -> None:
    data = bytearray(BASES[base])
    # Headers are where sizes and offsets are: half of the changes go there.
    places = st.one_of(st.integers(0, min(len(data), 700) - 1), st.integers(0, len(data) - 1))
    for place, value in edits.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        data[place] = value
    start, end = sorted(edits.draw(st.tuples(places, places)))
    action = edits.draw(st.sampled_from(["keep", "cut out", "double", "cut off"]))
    if action == "cut out":
        del data[start:end]
    elif action == "double":
        data[start:start] = data[start:end]
    elif action == "cut off":
        del data[end:]
    must_be_read_or_refused(bytes(data))


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*"])
)
def test_noise_behind_a_signature(noise: bytes, signature: bytes) -> None:
    must_be_read_or_refused(signature + noise)


class Trap:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def shipped_with(name: str, value: np.ndarray) -> bytes:
    """The shipped weights with one array replaced or added, pickled if it holds objects."""
    with np.load(WEIGHTS) as shipped:
        arrays = {key: shipped[key] for key in shipped.files}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **(arrays | {name: value}))
    return buffer.getvalue()


def test_a_pickle_among_the_weights_runs_no_code(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trapped = np.empty(1, object)
    trapped[0] = Trap(trace)
    for name in ("score.bias", "dupnet.json", "one more"):
        path = tmp_path / "weights.npz"
        path.write_bytes(shipped_with(name, trapped))
        with pytest.raises(ValueError, match="holds no weights of dupnet"):
            load_weights(path)
        load_weights.cache_clear()
    (tmp_path / "bare.npz").write_bytes(b"\x80\x04\x95")  # a pickle without an archive around it
    with pytest.raises(ValueError, match="holds no weights of dupnet"):
        load_weights(tmp_path / "bare.npz")
    assert not trace.exists()
    with np.load(io.BytesIO(shipped_with("score.bias", trapped)), allow_pickle=True) as armed:
        armed["score.bias"]
    assert trace.exists(), "the trap itself must work, or the test shows nothing"


@given(st.data())
@settings(max_examples=20)
def test_weights_with_bytes_changed(tmp_path_factory: pytest.TempPathFactory, edits: st.DataObject) -> None:
    """Read as they were, or refused: numbers that changed are caught by the archive's checksums."""
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    data = bytearray(WEIGHTS.read_bytes())
    ends = st.one_of(
        st.integers(0, 400), st.integers(len(data) - 1500, len(data) - 1), st.integers(0, len(data) - 1)
    )
    for place, value in edits.draw(st.lists(st.tuples(ends, st.integers(0, 255)), min_size=1, max_size=5)):
        data[place] = value
    path.write_bytes(data)
    load_weights.cache_clear()
    try:
        load_weights(path)
    except ValueError as error:
        assert "holds no weights of dupnet" in str(error)
    finally:
        load_weights.cache_clear()


def test_a_zip_bomb_is_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dupnet.json.npy", np.lib.format.magic(1, 0) + b"\x10\0{'descr': '|u1'}")
        archive.writestr("projection.filters.npy", bytes(2**24))
    with pytest.raises(ValueError, match="holds no weights of dupnet"):
        load_weights(path)


@pytest.mark.soak
def test_a_folder_of_very_many_entries(tmp_path: Path) -> None:
    names = [f"{number:06d}.jpg" for number in range(100_000)]
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        for name in names:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    finally:
        os.close(descriptor)
    assert list_images(tmp_path) == names


def test_a_folder_that_is_a_loop_of_links(tmp_path: Path) -> None:
    os.symlink("b", tmp_path / "a")
    os.symlink("a", tmp_path / "b")
    with pytest.raises(OSError, match=r"symbolic link|no folder|Symlink"):
        find_overlaps(tmp_path / "a", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_to_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(encoded())
    os.symlink("images", tmp_path / "link")
    os.symlink(".", tmp_path / "images" / "loop")  # a folder within itself: not entered
    result = find_overlaps(tmp_path / "link", tile_size=64)
    assert list(result.groups["image"]) == ["a.jpg"]
    assert result.unreadable.empty


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_an_output_folder_that_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(encoded())
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(PermissionError):
        find_overlaps(tmp_path / "images", out=tmp_path / "out", tile_size=64)


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    for name in ("a.jpg", "A.jpg", "A.JPG"):
        (tmp_path / name).write_bytes(encoded())
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("this file system does not tell them apart")
    result = find_overlaps(tmp_path, tile_size=64)
    assert list(result.groups["image"]) == ["A.JPG", "A.jpg", "a.jpg"]
    assert len(result.overlaps) == 3


def test_results_of_another_kind_of_run(tmp_path: Path) -> None:
    """A run.json that another program, or a later version, wrote is an error in words."""
    for content in (json.dumps({"tool": "another"}), "[]", "{", '{"grid": {"rows": 3}}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ValueError, match=r"not written by this version of `dupnet find`"):
            read_results(tmp_path)


def test_every_refused_file_is_one_that_fuzzing_would_accept() -> None:
    """The table of test_images is part of what must hold here: refused with the same reason twice."""
    for make, reason in REFUSED.values():
        data = make()
        seen = set()
        for _ in range(2):
            with pytest.raises(UnreadableImage) as refused:
                decode(data, grey=True, tile_size=256)
            seen.add(refused.value.reason)
        assert len(seen) == 1
        assert reason in seen.pop()


def test_addresses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be reached"):
        Folder("gopher-web://host/folder")
    odd = tmp_path / "a::b [c]*?#%20"
    odd.mkdir()
    folder = Folder(odd)
    folder.write("x[1].bin", b"0123456789")
    assert folder.path == odd
    assert folder.files()["x[1].bin"].size == 10
    assert folder.read("x[1].bin") == b"0123456789"
    assert folder.read_ranges(["x[1].bin", "x[1].bin"], [0, 4], [2, 6]) == [b"01", b"45"]
    found = folder.read_many(["x[1].bin", "absent"])
    assert found["x[1].bin"] == b"0123456789"
    assert isinstance(found["absent"], FileNotFoundError)
    assert Folder(tmp_path).folders() == [odd.name]
    folder.remove("x[1].bin")
    assert folder.files() == {}
    folder.remove("x[1].bin")
    assert Folder(tmp_path / "none").files() == {}
