"""Input made to harm or to confuse, row by row with its outcome; and weights that would run code."""

from __future__ import annotations

import io
import os
import re
import resource
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_find import acquisition
from test_images import READ, REFUSED, bomb, encoded

from dupnet.commands.cli import main
from dupnet.find import describe
from dupnet.find.engine import find_overlaps
from dupnet.find.results import read_table
from dupnet.images.listing import list_images
from dupnet.images.reading import MAX_PIXELS, UnreadableImage, decode
from dupnet.network.descriptors import WEIGHTS, load_weights

TRIED: Counter[str] = Counter()
"""How many inputs of each kind were tried."""


@pytest.fixture(scope="module", autouse=True)
def inputs_tried(tally: Callable[..., None]) -> Iterator[None]:
    """After the tests of this file, how many inputs they tried; no line means that one of them failed."""
    yield
    for kind, count in TRIED.items():
        tally("hostile", case=kind, inputs=count)


class Folders(NamedTuple):
    """What a row changes: images, of which ``one.png`` and ``two.png`` overlap, and an output."""

    images: Path
    out: Path


def put(name: str, make: Callable[[], bytes]) -> Callable[[Folders], None]:
    """Lay a file of some content among the images."""

    def change(folders: Folders) -> None:
        with open(os.fsencode(folders.images) + b"/" + os.fsencode(name), "wb") as file:
            file.write(make())

    return change


def find(folders: Folders, *more: str) -> int:
    options = ["--tile-size", "256", "--no-report", "--quiet", *more]
    return main(["find", os.fspath(folders.images), "--out", os.fspath(folders.out), *options])


def another_collection(folders: Folders) -> None:
    shutil.copytree(folders.images, folders.images.parent / "others")
    assert find(Folders(folders.images.parent / "others", folders.out)) == 0


def an_older_version(folders: Folders) -> None:
    assert find(folders) == 0
    made_by = folders.out / "cache" / "tiles" / "made_by.json"
    made_by.write_text(made_by.read_text().replace('"dupnet": "', '"dupnet": "0.0.'))


def an_output_that_is_a_file(folders: Folders) -> None:
    folders.out.write_text("")


def files_of_another_program(folders: Folders) -> None:
    folders.out.mkdir()
    (folders.out / "thesis.tex").write_text("")


LISTED = {
    "truncated": (put("x.jpg", lambda: encoded()[:9000]), "damaged JPEG"),
    "zero bytes": (put("x.jpg", bytes), "empty file"),
    "not what its ending says": (put("x.jpg", lambda: b"GIF89a"), "does not decode"),
    "bomb of 60,000 x 60,000": (put("x.png", bomb), "at most 67108864 pixels are decoded"),
    "two pages": (put("x.tif", REFUSED["pages.tif"][0]), "2 frames"),
    "animated PNG": (put("x.png", REFUSED["animated.png"][0]), "2 frames"),
    "animated GIF": (put("x.gif", REFUSED["animated.gif"][0]), "2 frames"),
    "wrong size": (put("x.png", lambda: png(acquisition(1)[:100])), "wrong size: 100 x 256 pixels"),
    "mixed sizes": (put("x.png", lambda: png(acquisition(1))), "most images here are 512 x 512"),
    "name that is not UTF-8": (put("x\udcff.png", encoded), "not UTF-8"),
    "link that leads nowhere": (lambda at: os.symlink("none", at.images / "x"), "leads nowhere"),
    "loop of links": (lambda at: os.symlink("x", at.images / "x"), "symbolic links"),
    "pipe": (lambda at: os.mkfifo(at.images / "x"), "not a regular file"),
}
"""Files that are left out: what is done to the folder, and a part of the reason in unreadable.csv."""

TAKEN = {
    "CMYK": (put("x.jpg", READ["cmyk.jpg"][0]), "CMYK"),
    "grey": (put("x.jpg", READ["grey.jpg"][0]), "grey"),
    "palette": (put("x.png", READ["palette.png"][0]), "palette"),
    "alpha": (put("x.png", READ["alpha.png"][0]), "alpha"),
    "turned by EXIF": (put("x.jpg", READ["exif_turned.jpg"][0]), ""),
    "progressive": (put("x.jpg", READ["progressive.jpg"][0]), ""),
    "PNG called JPEG": (put("x.jpg", READ["png_named.jpg"][0]), ""),
    **{
        f"name {name!r}": (put(name, encoded), "")
        for name in (
            "with space.jpg",
            "'single' \"double\".jpg",
            "new\nline.jpg",
            "-rf.jpg",
            "--help",
            "<script>alert(1)<\u2215script>.jpg",
            "&amp;.jpg",
            "=HYPERLINK(1).jpg",
            "+1.jpg",
            "@sum.jpg",
            "Two.png",
            "TWO.PNG",
            "NA",
        )
    },
    "link to an image": (lambda at: os.symlink("../one.png", at.images / "x.png"), ""),
}
"""Files that take part: what is done to the folder, and a part of the note in converted.csv."""

STOPPED = {
    "output of another collection": (another_collection, "choose another folder for the results"),
    "output with files of another program": (
        files_of_another_program,
        "not an output folder of `dupnet find`",
    ),
    "output that is a file": (an_output_that_is_a_file, "is a file; choose a folder for the results"),
}
"""What stops a run: what is done, and a part of the message."""


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    for name, left in (("one.png", 0), ("two.png", 256)):
        (folder / name).write_bytes(png(acquisition(3)[:512, left : left + 512]))
    return folder


@pytest.fixture
def folders(pair: Path, tmp_path: Path) -> Folders:
    shutil.copytree(pair, tmp_path / "images")
    shutil.copy(pair / "one.png", tmp_path)
    return Folders(tmp_path / "images", tmp_path / "out")


def overlaps_found(out: Path) -> set[tuple[str, str]]:
    return set(read_table(out / "overlaps.csv")[["image1", "image2"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("row", LISTED)
def test_listed_and_the_run_goes_on(row: str, folders: Folders) -> None:
    change, reason = LISTED[row]
    change(folders)
    assert find(folders) == 0
    unreadable = read_table(folders.out / "unreadable.csv")
    assert len(unreadable) == 1
    assert reason in unreadable["reason"][0]
    assert overlaps_found(folders.out) == {("one.png", "two.png")}
    TRIED["rows of the table"] += 1


@pytest.mark.parametrize("row", TAKEN)
def test_taken_and_noted(row: str, folders: Folders) -> None:
    change, note = TAKEN[row]
    before = set(os.listdir(folders.images))
    change(folders)
    (name,) = set(os.listdir(folders.images)) - before or {"Two.png"}
    assert find(folders) == 0
    assert read_table(folders.out / "unreadable.csv").empty
    assert set(read_table(folders.out / "groups.csv")["image"]) == {"one.png", "two.png", name}
    converted = read_table(folders.out / "converted.csv")
    assert list(converted["image"]) == [name] * bool(note)
    assert all(note in words for words in converted["note"])
    assert ("one.png", "two.png") in overlaps_found(folders.out)
    written = pd.read_csv(folders.out / "groups.csv", dtype=str, keep_default_na=False)
    assert not written["image"].str.match("[=+@-]").any()
    TRIED["rows of the table"] += 1


@pytest.mark.parametrize("row", STOPPED)
def test_stopped_with_a_message(row: str, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    change, message = STOPPED[row]
    change(folders)
    before = {path: path.read_bytes() for path in folders.out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert find(folders) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1
    for path, content in before.items():
        assert path.read_bytes() == content
    TRIED["rows of the table"] += 1


def test_output_of_an_older_version_is_made_anew(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    an_older_version(folders)
    capsys.readouterr()
    command = ["find", os.fspath(folders.images), "--out", os.fspath(folders.out), "--no-report"]
    assert main([*command, "--tile-size", "256"]) == 0  # not quiet: that hides warnings too
    assert "described again" in capsys.readouterr().err
    assert overlaps_found(folders.out) == {("one.png", "two.png")}
    TRIED["rows of the table"] += 1


@contextmanager
def permissions_that_bind() -> Iterator[Path]:
    """A folder of one whom permissions bind: root's do not, so root becomes somebody else for a while."""
    folder = Path(tempfile.mkdtemp(prefix="dupnet-"))
    user = os.geteuid()
    try:
        if user == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        os.seteuid(user)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)
        shutil.rmtree(folder)


def test_no_permission_to_read_an_image(folders: Folders) -> None:
    find(folders)  # imports what it needs, which another user may not be allowed to
    with permissions_that_bind() as home:
        mine = Folders(home / "images", home / "out")
        mine.images.mkdir()
        for path in ("one.png", "two.png"):
            (mine.images / path).write_bytes(png(acquisition(3)[:512, 256 * (path == "two.png") :][:, :512]))
        (mine.images / "x.jpg").write_bytes(encoded())
        (mine.images / "x.jpg").chmod(0)
        assert find(mine) == 0
        unreadable = read_table(mine.out / "unreadable.csv")
        assert list(unreadable["image"]) == ["x.jpg"]
        assert "Permission denied" in unreadable["reason"][0]
        assert overlaps_found(mine.out) == {("one.png", "two.png")}
    TRIED["rows of the table"] += 1


def test_an_output_folder_that_is_read_only(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    find(folders)
    with permissions_that_bind() as home:
        mine = Folders(home / "images", home / "out")
        mine.images.mkdir()
        (mine.images / "x.jpg").write_bytes(encoded())
        mine.out.mkdir(mode=0o555)
        capsys.readouterr()
        assert find(mine) == 2
        assert "Permission denied" in capsys.readouterr().err
        assert os.listdir(mine.out) == []
    TRIED["rows of the table"] += 1


@pytest.mark.parametrize("harm", ["vanishes", "changes"])
def test_a_file_that_does_not_stay(
    harm: str, folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("x.jpg", encoded)(folders)
    load = describe.load_image

    def disturbed(path: Path, **options: bool) -> object:
        if Path(path).name != "x.jpg":
            return load(path, **options)
        if harm == "vanishes":
            Path(path).unlink()
        pixels = load(path, **options)
        os.utime(path, (0, 0))
        return pixels

    monkeypatch.setattr(describe, "load_image", disturbed)
    assert find(folders) == 0
    (reason,) = read_table(folders.out / "unreadable.csv")["reason"]
    assert {"vanishes": "vanished before it was read", "changes": "changed while it was read"}[harm] in reason
    assert overlaps_found(folders.out) == {("one.png", "two.png")}
    TRIED["rows of the table"] += 1


def test_a_full_disk(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever file the disk is full at: one line that says so, and the same command goes on later."""
    replace = os.replace

    def full(name: str, source: str, target: str) -> None:
        if Path(target).name == name:
            raise OSError(28, "No space left on device", os.fspath(target))
        replace(source, target)

    for name in ("collection.json", "overlaps.csv", "groups.csv", "overlaps.parquet", "run.json"):
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", partial(full, name))
            assert find(folders) == 2
        assert "No space left on device" in capsys.readouterr().err
        assert not (folders.out / "run.json").exists()
        assert not list(folders.out.rglob(".partial-*"))
    assert find(folders) == 0
    assert overlaps_found(folders.out) == {("one.png", "two.png")}
    TRIED["rows of the table"] += 1


@pytest.mark.parametrize("room", [0, 100, 1_000, 10_000])
def test_a_disk_that_ends_within_a_file(
    room: int, folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file may grow beyond some bytes, so that writing stops in the middle of one, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        status = find(folders)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 2
    assert "too large" in capsys.readouterr().err
    assert not (folders.out / "run.json").exists()
    assert not list(folders.out.rglob(".partial-*"))
    assert find(folders) == 0
    assert overlaps_found(folders.out) == {("one.png", "two.png")}
    TRIED["rows of the table"] += 1


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
    TRIED["images with bytes changed"] += 1
    for grey in (False, True):
        try:
            pixels, _, _ = decode(data, grey=grey)
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
    TRIED["weights with bytes changed"] += 1
    try:
        load_weights(path)
    except ValueError as error:
        assert "holds no weights of dupnet" in str(error)


def test_a_zip_bomb_is_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dupnet.json.npy", np.lib.format.magic(1, 0) + b"\x10\0{'descr': '|u1'}")
        archive.writestr("projection.filters.npy", bytes(2**24))
    with pytest.raises(ValueError, match="holds no weights of dupnet"):
        load_weights(path)


@pytest.mark.soak
def test_a_folder_of_very_many_entries(folders: Folders) -> None:
    names = [f"{number:06d}.jpg" for number in range(100_000)]
    descriptor = os.open(folders.images, os.O_RDONLY)
    try:
        for name in names:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    finally:
        os.close(descriptor)
    assert list_images(folders.images) == [*names, "one.png", "two.png"]
    assert find(folders) == 0
    assert list(read_table(folders.out / "unreadable.csv")["image"]) == names
    assert overlaps_found(folders.out) == {("one.png", "two.png")}
    TRIED["entries of one folder"] += len(names)


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


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    for name in ("a.jpg", "A.jpg", "A.JPG"):
        (tmp_path / name).write_bytes(encoded())
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("this file system does not tell them apart")
    result = find_overlaps(tmp_path, tile_size=64)
    assert list(result.groups["image"]) == ["A.JPG", "A.jpg", "a.jpg"]
    assert len(result.overlaps) == 3


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
