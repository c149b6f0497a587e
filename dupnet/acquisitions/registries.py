"""The clients of public registries (pip, npm, Kaggle's), and the archives that they bring."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from dupnet.files.atomic import atomic_path

__all__ = ["FetchError", "download_competition", "download_package", "extract", "sha256_of", "unpack"]


class FetchError(RuntimeError):
    """Something could not be fetched; the message says why and what to do about it."""


def download_package(registry: str, requirement: str, sha256: str, folder: Path) -> Path:
    """Download a package's archive into an empty folder; its path.

    Parameters
    ----------
    registry : str
        ``sdist`` or ``wheel`` (PyPI, by pip), or ``npm``.
    requirement : str
        What the registry's client is asked for: ``NAME==VERSION`` of pip, ``NAME@VERSION`` of npm.
    sha256 : str
        Of the archive, in hexadecimal digits.
    folder : Path
        Empty; the archive is written there.

    Raises
    ------
    FetchError
        If the client is missing or fails, or the archive is not the one that is expected.
    """
    if registry == "npm":
        _run(_npm(), "pack", requirement, "--pack-destination", str(folder))
    else:
        # pip prepares an sdist by running code from it; with the hash required, only code that is known.
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        kind = ("--no-binary", ":all:") if registry == "sdist" else ("--only-binary", ":all:")
        _run(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", *kind,
             "--require-hashes", "--dest", str(folder), "--requirement", str(pinned))  # fmt: skip
        pinned.unlink()
    archives = sorted(folder.iterdir())
    if len(archives) != 1:
        names = ", ".join(archive.name for archive in archives) or "nothing"
        raise FetchError(f"{requirement}: expected one archive, the client left {names}.")
    found = sha256_of(archives[0])
    if found != sha256:
        raise FetchError(
            f"{requirement}: the archive's sha256 is {found}, not {sha256}. What was served is not what this "
            "version of DupNet knows; nothing was kept."
        )
    return archives[0]


def _npm() -> str:
    found = shutil.which("npm")
    if found is None:
        raise FetchError(
            "npm is not installed (it comes with Node.js); this acquisition is only published there."
        )
    return found


def download_competition(competition: str, folder: Path) -> None:
    """Download a competition's archive, ``COMPETITION.zip``, into a folder through Kaggle's client.

    Raises
    ------
    FetchError
        If the client is missing, has no credentials, or is refused; the message tells which.
    """
    rules = f"kaggle.com/c/{competition}"
    token = "put an API token (kaggle.com, Settings, Create New Token) into ~/.kaggle/kaggle.json"
    client = shutil.which("kaggle")
    if client is None:
        raise FetchError(
            f"Kaggle's client is not installed: pip install kaggle. Then {token}, and accept the rules "
            f"on {rules}."
        )
    try:
        _run(client, "competitions", "download", "-c", competition, "-p", str(folder))
    except FetchError as error:
        said = str(error).lower()
        if "403" in said or "forbidden" in said:
            remedy = f"Accept the competition's rules on {rules}, then run this again."
        elif any(
            word in said for word in ("401", "unauthorized", "kaggle.json", "credential", "authenticate")
        ):
            remedy = f"Kaggle needs credentials: {token}, or set KAGGLE_USERNAME and KAGGLE_KEY."
        else:
            raise
        raise FetchError(f"{remedy}\n{error}") from error


def _run(*command: str) -> None:
    """Run a client; what it said becomes the message if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise FetchError(f"{Path(command[0]).name} failed with status {done.returncode}: {said}")


def extract(archive: Path, targets: Mapping[str, Path]) -> None:
    """Write members of a zip (wheel) or tar archive to the paths that ``targets`` gives them.

    Raises
    ------
    FetchError
        If a member is no file.
    KeyError
        If there is no such member.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for member, target in targets.items():
                if opened.getinfo(member).is_dir():
                    raise FetchError(f"{archive.name}: {member} is no file.")
                with opened.open(member) as packed:
                    unpack(packed, target)
        return
    with tarfile.open(archive) as opened_tar:
        for member, target in targets.items():
            packed_member = opened_tar.extractfile(member)
            if packed_member is None:
                raise FetchError(f"{archive.name}: {member} is no file.")
            with packed_member as packed:
                unpack(packed, target)


def unpack(packed: IO[bytes], target: Path) -> None:
    """Write an opened member of an archive to a path, whole or not at all."""
    with atomic_path(target) as beside, beside.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, 1 << 20)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
