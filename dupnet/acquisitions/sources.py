"""Real acquisitions and collections, fetched from where they are published, checked, and read.

Everything is fetched with the publisher's own client (pip, npm, Kaggle's) into a folder of the user's
choice, checked against a checksum, and not fetched again while what lies there is whole.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dupnet.acquisitions.registries import (
    FetchError,
    download_competition,
    download_package,
    extract,
    sha256_of,
    unpack,
)
from dupnet.files.atomic import atomic_path

__all__ = [
    "ACQUISITIONS",
    "AIRBUS_NOTICE",
    "FetchError",
    "RemoteAcquisition",
    "fetch",
    "fetch_airbus",
    "fetch_derna",
    "fetch_kitsap",
    "fetch_washington",
    "fetch_yellowstone",
    "read_acquisition",
]

Show = Callable[[str], None]


@dataclass(frozen=True)
class RemoteAcquisition:
    """Images inside a package of a public registry.

    ``registry`` is ``sdist`` or ``wheel`` (PyPI) or ``npm``, ``requirement`` what its client is asked for,
    ``sha256`` the checksum of the package's archive, and ``members`` the paths of the images inside it.
    """

    name: str
    title: str
    registry: str
    requirement: str
    sha256: str
    members: tuple[str, ...]
    licence: str
    attribution: str

    @property
    def notice(self) -> str:
        """What a user must know: what it is, its licence, whom to name."""
        return f"{self.title}\nLicence: {self.licence}\nAttribution: {self.attribution}"


_KITSAP = RemoteAcquisition(
    name="kitsap",
    title="Kitsap, USA: suburbs and forest, 0.3 m, 5000 x 5000 px",
    registry="sdist",
    requirement="splitraster==0.4.1",
    sha256="f91e87ee587c6a07649e88c8b5489d767957e33573e1845800b6364b22a8b23e",
    members=("splitraster-0.4.1/tests/data/raw/TIF/RGB5k.tif",),
    licence="public domain: an orthophoto of the U.S. Geological Survey (inferred from its geometry)",
    attribution="U.S. Geological Survey",
)
_DERNA = RemoteAcquisition(
    name="derna",
    title="Derna, Libya, 1 July 2023: open sea, surf, harbour, city, 0.3 m, 17408 x 17408 px",
    registry="sdist",
    requirement="masgeo==0.0.2",
    sha256="3e4dd46c6a2f8512dde1299db3edbdd88dc1aa00698fdbd96e5ff7a8fcaa4cb1",
    members=("masgeo-0.0.2/Libya-2023-07-01.tif",),
    licence="CC BY-NC 4.0, Maxar Open Data Program (inferred): no commercial use",
    attribution="Maxar Open Data Program, (c) 2023 Maxar Technologies",
)
_YELLOWSTONE = RemoteAcquisition(
    name="yellowstone",
    title="Yellowstone, USA: trees, 0.1 m, two images",
    registry="wheel",
    requirement="deepforest==2.1.0",
    sha256="8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54",
    members=(
        "deepforest/data/2019_YELL_2_528000_4978000_image_crop2.png",
        "deepforest/data/2019_YELL_2_541000_4977000_image_crop.png",
    ),
    licence="CC0 1.0",
    attribution="National Ecological Observatory Network (NEON)",
)
_WASHINGTON = RemoteAcquisition(
    name="washington",
    title="Washington DC, USA, with river, 4 m, 1541 x 1913 px",
    registry="npm",
    requirement="mapnik-test-data@2.2.0",
    sha256="95f43492607d0056d84194176336d441f5d67d00d9e266fc5067f8d00b0b0e05",
    members=("package/data/geotiff/DC_rgb.tif",),
    licence="public domain, National Agriculture Imagery Program",
    attribution="U.S. Department of Agriculture, Farm Service Agency",
)

ACQUISITIONS = {remote.name: remote for remote in (_KITSAP, _DERNA, _YELLOWSTONE, _WASHINGTON)}
"""Acquisitions by name, with the checksums of the archives as the registries serve them."""

AIRBUS_COMPETITION = "airbus-ship-detection"
AIRBUS_NOTICE = (
    "Airbus Ship Detection Challenge: 192,556 training images of 768 x 768 px, about 30 GB\n"
    "Licence: the competition's rules, which every user accepts on kaggle.com/c/airbus-ship-detection; "
    "the images may not be passed on\n"
    "Attribution: Airbus"
)


def fetch_kitsap(folder: str | os.PathLike[str], show: Show | None = None) -> Path:
    """Fetch the Kitsap acquisition (public domain, 68 MB) below ``folder``; the path of its TIFF."""
    return fetch(ACQUISITIONS["kitsap"], folder, show)[0]


def fetch_derna(folder: str | os.PathLike[str], show: Show | None = None) -> Path:
    """Fetch the Derna acquisition (CC BY-NC 4.0, 72 MB) below ``folder``; the path of its TIFF."""
    return fetch(ACQUISITIONS["derna"], folder, show)[0]


def fetch_yellowstone(folder: str | os.PathLike[str], show: Show | None = None) -> list[Path]:
    """Fetch the two Yellowstone images (CC0, 21 MB) below ``folder``; their paths."""
    return fetch(ACQUISITIONS["yellowstone"], folder, show)


def fetch_washington(folder: str | os.PathLike[str], show: Show | None = None) -> Path:
    """Fetch the Washington acquisition (public domain, 28 MB) with npm below ``folder``; its TIFF's path."""
    return fetch(ACQUISITIONS["washington"], folder, show)[0]


def fetch(remote: RemoteAcquisition, folder: str | os.PathLike[str], show: Show | None = None) -> list[Path]:
    """Fetch an acquisition's images into ``folder/NAME``, unless they lie there already and are whole.

    Beside them ``SOURCE.txt`` keeps licence and attribution, ``SHA256SUMS`` their checksums.

    Parameters
    ----------
    remote : RemoteAcquisition
        One of :data:`ACQUISITIONS`.
    folder : path
        Made where it is missing.
    show : callable, optional
        Called with the notice on licence and attribution, such as ``print``.

    Returns
    -------
    list of Path
        The images, in the order of ``remote.members``.

    Raises
    ------
    FetchError
        If the registry's client is missing or fails, or the archive is not the one that is expected.
    """
    if show is not None:
        show(remote.notice)
    home = Path(folder) / remote.name
    targets = [home / Path(member).name for member in remote.members]
    if not _is_whole(home, targets):
        with tempfile.TemporaryDirectory() as scratch:
            archive = download_package(remote.registry, remote.requirement, remote.sha256, Path(scratch))
            extract(archive, dict(zip(remote.members, targets, strict=True)))
        with atomic_path(home / "SOURCE.txt") as beside:
            beside.write_text(
                f"{remote.notice}\nFrom: {remote.requirement} ({remote.registry})\n", encoding="utf-8"
            )
        with atomic_path(home / "SHA256SUMS") as beside:
            lines = (f"{sha256_of(target)}  {target.name}\n" for target in targets)
            beside.write_text("".join(lines), encoding="utf-8")
    return targets


def fetch_airbus(folder: str | os.PathLike[str], show: Show | None = None) -> Path:
    """Fetch the Airbus training images through Kaggle's client; the folder ``train_v2`` below ``folder``.

    An archive that is already there is not downloaded again, and an image not unpacked again, so a stopped
    run goes on where it was. The ship masks (``train_ship_segmentations_v2.csv``) lie beside ``train_v2``.

    Raises
    ------
    FetchError
        If Kaggle's client is missing, has no credentials, or is refused; the message tells which.
    """
    if show is not None:
        show(AIRBUS_NOTICE)
    folder = Path(folder)
    archive = folder / f"{AIRBUS_COMPETITION}.zip"
    # A stopped download leaves an archive without its directory, which comes last; the client resumes it.
    if not zipfile.is_zipfile(archive):
        folder.mkdir(parents=True, exist_ok=True)
        download_competition(AIRBUS_COMPETITION, folder)
    if not archive.is_file():
        raise FetchError(
            f"Kaggle's client ended well, but {archive} is not there; see what it wrote in {folder}."
        )
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                name = Path(entry.filename).name
                if entry.filename == f"train_v2/{name}" and name.endswith(".jpg"):
                    target = folder / "train_v2" / name
                elif entry.filename == "train_ship_segmentations_v2.csv":
                    target = folder / name
                else:
                    continue
                if not target.is_file() or target.stat().st_size != entry.file_size:
                    with opened.open(entry) as packed:
                        unpack(packed, target)
    except zipfile.BadZipFile as error:
        raise FetchError(f"{archive} is damaged ({error}); delete it and run the command again.") from error
    if not (folder / "train_v2").is_dir():
        raise FetchError(f"{archive} holds no train_v2/*.jpg; the competition's archive may have changed.")
    return folder / "train_v2"


def read_acquisition(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """An image file of any size as RGB: (height, width, 3) uint8.

    Of a TIFF the first page counts; a ``.npy`` file holds such an array.

    Pillow decodes every format: decoders of JPEG inside TIFF differ by up to 18 levels on Derna, and
    figures for crops are comparable only if one of them is pinned. Pillow's guard against very large images
    is lifted for the call.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it does not decode, or has not 8 bits a channel.
    """
    path = Path(path)
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(
                f"{path}: shape {array.shape}, type {array.dtype}; expected (height, width, 3) uint8."
            )
        return np.asarray(array, dtype=np.uint8)
    limit = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "RGB", "RGBA", "CMYK", "YCbCr"):
                raise ValueError(f"{path} has mode {image.mode}: convert it to 8 bits a channel first.")
            acquisition = np.empty((image.height, image.width, 3), dtype=np.uint8)
            # In strips: a conversion of the whole would hold the picture three times.
            for top in range(0, image.height, 1024):
                strip = image.crop((0, top, image.width, min(top + 1024, image.height)))
                acquisition[top : top + strip.height] = np.asarray(strip.convert("RGB"))
            return acquisition
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} does not decode: {error}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _is_whole(home: Path, targets: Sequence[Path]) -> bool:
    sums = home / "SHA256SUMS"
    if not sums.is_file() or not all(target.is_file() for target in targets):
        return False
    lines = [f"{sha256_of(target)}  {target.name}" for target in targets]
    return lines == sums.read_text(encoding="utf-8").splitlines()
