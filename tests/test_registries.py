"""Registries: clients that fail in words, and archives of which a file is unpacked whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from dupnet.acquisitions.registries import (
    FetchError,
    download_competition,
    download_package,
    extract,
    sha256_of,
    unpack,
)

LARGE = random.Random(0).randbytes(3 << 20)
MEMBERS = {"package/a.tif": LARGE, "package/b.tif": b"", "package/other": b"other"}


@pytest.fixture(params=["wheel", "tar", "tgz"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"archive.{request.param}"
    if request.param == "wheel":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, content in MEMBERS.items():
                zipped.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if request.param == "tgz" else "w") as packed:
        for name, content in MEMBERS.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return path


def client(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch, name: str = "npm") -> None:
    """A stand-in for a registry's client, and nothing else, on the PATH."""
    folder.mkdir()
    (folder / name).write_text(f"#!{sys.executable}\nimport os, sys\n{code}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_members_are_written_where_they_are_wanted(archive: Path, tmp_path: Path) -> None:
    targets = {"package/b.tif": tmp_path / "b.tif", "package/a.tif": tmp_path / "deep" / "er" / "scene.tif"}
    extract(archive, targets)
    for member, target in targets.items():
        assert target.read_bytes() == MEMBERS[member]
    assert sorted(os.listdir(tmp_path)) == sorted([archive.name, "b.tif", "deep"])
    assert os.listdir(tmp_path / "deep" / "er") == ["scene.tif"]


def test_a_member_that_is_not_there(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "scene.tif").write_text("before")
    with pytest.raises(KeyError, match="absent"):
        extract(archive, {"absent": tmp_path / "scene.tif"})
    assert (tmp_path / "scene.tif").read_text() == "before"


def test_a_folder_of_a_tar_archive_is_no_file(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        entry = tarfile.TarInfo("package")
        entry.type = tarfile.DIRTYPE
        packed.addfile(entry)
    with pytest.raises(FetchError, match=r"^a\.tar: package is no file\.$"):
        extract(tmp_path / "a.tar", {"package": tmp_path / "scene.tif"})
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_folder_of_a_zip_archive_is_no_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.mkdir("package")
    with pytest.raises(FetchError, match=r"^a\.zip: package/ is no file\.$"):
        extract(tmp_path / "a.zip", {"package/": tmp_path / "scene.tif"})
    assert os.listdir(tmp_path) == ["a.zip"]


def test_a_damaged_member_leaves_what_was_there(tmp_path: Path) -> None:
    path, target = tmp_path / "a.zip", tmp_path / "scene.tif"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("scene.tif", LARGE)
    data = bytearray(path.read_bytes())
    data[2 << 20] ^= 1
    path.write_bytes(data)
    target.write_text("before")
    with zipfile.ZipFile(path) as zipped, zipped.open("scene.tif") as packed:
        with pytest.raises(zipfile.BadZipFile):
            unpack(packed, target)
    assert target.read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "scene.tif"]


@pytest.mark.parametrize("content", [b"", LARGE], ids=["empty", "large"])
def test_sha256(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", r"^standin@1\.0: expected one archive, the client left nothing\.$"),
        (
            "[open(os.path.join(sys.argv[4], name), 'w').close() for name in ('b.tgz', 'a.tgz')]",
            r"^standin@1\.0: expected one archive, the client left a\.tgz, b\.tgz\.$",
        ),
        ("print('not found'); sys.exit(3)", "^npm failed with status 3: not found$"),
        (
            "print('progress'); sys.exit('0' * 9000 + ': no network')",
            "^npm failed with status 1: 0{1488}: no network$",
        ),
    ],
)
def test_a_client_that_brings_no_archive_is_an_error_in_words(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path / "bin", code, monkeypatch)
    (tmp_path / "raw").mkdir()
    with pytest.raises(FetchError, match=message):
        download_package("npm", "standin@1.0", "0" * 64, tmp_path / "raw")


def test_an_archive_counts_by_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client(tmp_path / "bin", "open(os.path.join(sys.argv[4], 'a.tgz'), 'w').write('served')", monkeypatch)
    (tmp_path / "raw").mkdir()
    served = hashlib.sha256(b"served").hexdigest()
    assert download_package("npm", "standin@1.0", served, tmp_path / "raw") == tmp_path / "raw" / "a.tgz"
    other = f"{int(served[0], 16) ^ 1:x}{served[1:]}"
    with pytest.raises(FetchError, match=rf"^standin@1\.0: the archive's sha256 is {served}, not {other}\."):
        download_package("npm", "standin@1.0", other, tmp_path / "raw")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("status 403", "Accept the competition's rules on kaggle.com/c/ships, then run this again."),
        ("FORBIDDEN", "Accept the competition's rules on kaggle.com/c/ships, then run this again."),
        ("status 401", "Kaggle needs credentials: "),
        ("Unauthorized", "Kaggle needs credentials: "),
        ("Could not find kaggle.json", "Kaggle needs credentials: "),
        ("Missing Credential", "Kaggle needs credentials: "),
        ("You must authenticate", "Kaggle needs credentials: "),
        ("disk full", "kaggle failed with status 1: disk full"),
    ],
)
def test_what_kaggle_refuses_comes_with_its_remedy(
    said: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path / "bin", f"sys.exit({said!r})", monkeypatch, "kaggle")
    with pytest.raises(FetchError) as refused:
        download_competition("ships", tmp_path)
    assert str(refused.value).startswith(remedy)
    assert str(refused.value).endswith(f"kaggle failed with status 1: {said}")
