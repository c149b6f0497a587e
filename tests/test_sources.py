"""Fetching, on stand-ins: a package index that is a folder, and clients that are small scripts."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dupnet.acquisitions import sources
from dupnet.acquisitions.registries import FetchError, sha256_of
from dupnet.acquisitions.sources import ACQUISITIONS, RemoteAcquisition, fetch, fetch_airbus, read_acquisition

# A build backend inside the package: pip must ask a package for its metadata, and there is no network to
# get one from.
BACKEND = """
import os
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    home = os.path.join(folder, "standin-1.0.dist-info")
    os.makedirs(home)
    with open(os.path.join(home, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: standin\\nVersion: 1.0\\n")
    with open(os.path.join(home, "WHEEL"), "w") as file:
        file.write("Wheel-Version: 1.0\\nTag: py3-none-any\\n")
    return "standin-1.0.dist-info"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise RuntimeError("a wheel was built; only metadata may be asked for")
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def tiff(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    return file.getvalue()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def index(tmp_path, monkeypatch, pixels):
    """A folder that pip takes for the package index; it holds the sdist and the wheel of a stand-in."""
    folder = tmp_path / "index"
    folder.mkdir()
    with tarfile.open(folder / "standin-1.0.tar.gz", "w:gz") as archive:
        members = {
            "PKG-INFO": b"Metadata-Version: 2.1\nName: standin\nVersion: 1.0\n",
            "pyproject.toml": PYPROJECT.encode(),
            "backend.py": BACKEND.encode(),
            "scene.tif": tiff(pixels),
        }
        for name, content in members.items():
            entry = tarfile.TarInfo(f"standin-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(folder / "standin-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("standin/scene.tif", tiff(pixels))
        archive.writestr(
            "standin-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: standin\nVersion: 1.0\n"
        )
        archive.writestr("standin-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("standin-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


def stand_in(index, registry="sdist"):
    archive, member = {
        "sdist": ("standin-1.0.tar.gz", "standin-1.0/scene.tif"),
        "wheel": ("standin-1.0-py3-none-any.whl", "standin/scene.tif"),
    }[registry]
    checksum = sha256_of(index / archive)
    return RemoteAcquisition(
        "place", "A place", registry, "standin==1.0", checksum, (member,), "public domain", "nobody"
    )


@pytest.mark.parametrize("registry", ["sdist", "wheel"])
def test_pip_brings_the_acquisition(index, tmp_path, pixels, registry):
    shown = []
    (path,) = fetch(stand_in(index, registry), tmp_path / "raw", shown.append)
    assert path == tmp_path / "raw" / "place" / "scene.tif"
    assert np.array_equal(read_acquisition(path), pixels)
    assert shown == ["A place\nLicence: public domain\nAttribution: nobody"]
    assert "Licence: public domain" in (path.parent / "SOURCE.txt").read_text()
    assert sorted(file.name for file in path.parent.iterdir()) == ["SHA256SUMS", "SOURCE.txt", "scene.tif"]


def test_what_is_whole_is_not_fetched_again(index, tmp_path, pixels):
    remote = stand_in(index)
    (path,) = fetch(remote, tmp_path / "raw")
    emptied = replace(remote, requirement="nothing==0")
    assert fetch(emptied, tmp_path / "raw") == [path]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FetchError, match="nothing==0"):
        fetch(emptied, tmp_path / "raw")
    assert np.array_equal(read_acquisition(fetch(remote, tmp_path / "raw")[0]), pixels)


def test_another_archive_is_refused_before_its_code_runs(index, tmp_path):
    remote = replace(stand_in(index), sha256="0" * 64)
    with pytest.raises(FetchError, match=r"(?i)hash"):
        fetch(remote, tmp_path / "raw")
    assert not (tmp_path / "raw").exists() or not any((tmp_path / "raw").rglob("*.tif"))


def script(folder, name, code):
    """An executable of that name on a PATH of its own, in Python."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport os, sys, zipfile\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def clients(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


NPM = """
assert sys.argv[1:3] == ["pack", "standin@1.0"], sys.argv
import io, tarfile
with tarfile.open(os.path.join(sys.argv[4], "standin-1.0.tgz"), "w") as archive:
    entry = tarfile.TarInfo("package/scene.tif"); entry.size = 4
    archive.addfile(entry, io.BytesIO(b"tiff"))
"""


def test_npm(clients, tmp_path):
    remote = RemoteAcquisition(
        "place", "A place", "npm", "standin@1.0", "0" * 64, ("package/scene.tif",), "", ""
    )
    with pytest.raises(FetchError, match="npm is not installed"):
        fetch(remote, tmp_path / "raw")
    script(clients, "npm", NPM)
    with pytest.raises(FetchError, match="nothing was kept") as refused:
        fetch(remote, tmp_path / "raw")
    served = str(refused.value).split("sha256 is ")[1][:64]
    (path,) = fetch(replace(remote, sha256=served), tmp_path / "raw")
    assert path.read_bytes() == b"tiff"


KAGGLE = """
assert sys.argv[1:6] == ["competitions", "download", "-c", "airbus-ship-detection", "-p"], sys.argv
with zipfile.ZipFile(os.path.join(sys.argv[6], "airbus-ship-detection.zip"), "w") as archive:
    wanted = ["train_v2/00003e153.jpg", "train_v2/0001124c7.jpg"]
    for name in [*wanted, "test_v2/00dc3.jpg", "train_v2/../../evil.jpg"]:
        archive.writestr(name, "jpeg of " + name)
    archive.writestr("train_ship_segmentations_v2.csv", "ImageId,EncodedPixels")
"""


def test_airbus(clients, tmp_path):
    script(clients, "kaggle", KAGGLE)
    shown = []
    images = fetch_airbus(tmp_path / "airbus", shown.append)
    assert "may not be passed on" in shown[0]
    assert images == tmp_path / "airbus" / "train_v2"
    assert sorted(path.name for path in images.iterdir()) == ["00003e153.jpg", "0001124c7.jpg"]
    assert (images / "0001124c7.jpg").read_text() == "jpeg of train_v2/0001124c7.jpg"
    assert (tmp_path / "airbus" / "train_ship_segmentations_v2.csv").is_file()
    assert not list(tmp_path.rglob("evil.jpg"))
    # A stopped download is resumed by the client.
    archive = tmp_path / "airbus" / "airbus-ship-detection.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    fetch_airbus(tmp_path / "airbus")
    # A stopped run goes on: what lies there stays, what is missing is unpacked, nothing is downloaded.
    script(clients, "kaggle", "sys.exit('called again')")
    (images / "00003e153.jpg").unlink()
    kept = (images / "0001124c7.jpg").stat().st_mtime_ns
    fetch_airbus(tmp_path / "airbus")
    assert (images / "00003e153.jpg").is_file()
    assert (images / "0001124c7.jpg").stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("sys.exit('401 - Unauthorized')", "credentials"),
        ("sys.exit('OSError: Could not find kaggle.json. Make sure')", "credentials"),
        ("sys.exit('403 - Forbidden')", "Accept the competition's rules"),
        ("sys.exit('disk full')", "disk full"),
        ("", "is not there"),
        ("open(os.path.join(sys.argv[6], 'airbus-ship-detection.zip'), 'w').write('x')", "is damaged"),
        (
            "zipfile.ZipFile(os.path.join(sys.argv[6], 'airbus-ship-detection.zip'), 'w').close()",
            "holds no train_v2",
        ),
    ],
)
def test_airbus_says_what_to_do(clients, tmp_path, code, remedy):
    script(clients, "kaggle", code)
    with pytest.raises(FetchError, match=remedy):
        fetch_airbus(tmp_path / "airbus")


def test_airbus_without_client(clients, tmp_path):
    with pytest.raises(FetchError, match="pip install kaggle"):
        fetch_airbus(tmp_path / "airbus")


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_each_acquisition_has_its_function(monkeypatch, tmp_path, name):
    asked = []
    monkeypatch.setattr(sources, "fetch", lambda remote, *_: asked.append(remote) or [tmp_path])
    getattr(sources, f"fetch_{name}")(tmp_path)
    assert asked == [ACQUISITIONS[name]]
    assert len(ACQUISITIONS[name].sha256) == 64


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(tmp_path, pixels, mode):
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "scene.tif")
    assert np.array_equal(read_acquisition(tmp_path / "scene.tif"), np.asarray(image.convert("RGB")))


def test_strips_join(tmp_path):
    tall = np.random.default_rng(1).integers(0, 255, (2500, 8, 3), dtype=np.uint8)
    Image.fromarray(tall).save(tmp_path / "tall.png")
    assert np.array_equal(read_acquisition(tmp_path / "tall.png"), tall)


def test_very_large_images_are_read(tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    assert read_acquisition(tmp_path / "scene.png").shape == pixels.shape
    assert Image.MAX_IMAGE_PIXELS == 100


def test_arrays_are_read(tmp_path, pixels):
    np.save(tmp_path / "scene.npy", pixels)
    assert np.array_equal(read_acquisition(tmp_path / "scene.npy"), pixels)
    np.save(tmp_path / "grey.npy", pixels[..., 0])
    with pytest.raises(ValueError, match=r"expected \(height, width, 3\)"):
        read_acquisition(tmp_path / "grey.npy")


def test_what_is_no_acquisition(tmp_path, pixels):
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(ValueError, match="does not decode"):
        read_acquisition(tmp_path / "text.tif")
    (tmp_path / "cut.tif").write_bytes(tiff(pixels)[:-3000])
    with pytest.raises(ValueError, match="does not decode"):
        read_acquisition(tmp_path / "cut.tif")
    Image.fromarray(pixels[..., 0].astype(np.int32)).save(tmp_path / "deep.tif")
    with pytest.raises(ValueError, match="8 bits a channel"):
        read_acquisition(tmp_path / "deep.tif")
    with pytest.raises(FileNotFoundError):
        read_acquisition(tmp_path / "missing.tif")
