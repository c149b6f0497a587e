"""``python tests/fuzz.py [SECONDS [TARGET ...]]``: coverage-guided fuzzing of what reads unknown files.

Atheris changes the files of ``tests/corpus``, keeps those that reach lines of Python that no other reached
(in dupnet, Pillow, zipfile, csv, yaml, numpy's, json's and Keras's readers; the C of the decoders is not
counted), and stops at the first that brings about anything but pixels, weights, a model, a list or the
documented error. What it kept is boiled down to the smallest files and put back into ``tests/corpus``, for
``tests/test_fuzz.py``.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

CORPUS = Path(__file__).parent / "corpus"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

SECONDS = 120
"""Budget of each target."""

READERS = ("PIL", "csv", "dupnet", "json", "keras.src.saving", "numpy.lib", "yaml", "zipfile")
"""Packages whose lines count; Keras's only when the corpus is boiled down, for it is slow enough as it is."""

INSTRUMENTED = (
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.TiffImagePlugin",
    "dupnet.network.descriptors",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.WebPImagePlugin",
    "dupnet.images.georeference",
    "dupnet.images.raster",
    "dupnet.images.reading",
    "dupnet.images.windows",
    "dupnet.find.cache",
    "dupnet.find.results",
    "dupnet.review.judgements",
    "dupnet.splits.labels",
    "dupnet.splits.lists",
)
"""Modules that are imported for it, with what they import of these packages."""

ODD_VALUES = (
    "0",
    "-1",
    "1e999",
    "NaN",
    "99999999999",
    "0.5",
    "null",
    "true",
    '""',
    '"x"',
    "[]",
    "[[1]]",
    "{}",
)
"""Put in the place of values in JSON."""

LARGEST = 4096
"""Bytes of a corpus file at most: small files are changed fastest."""


def _folder() -> TemporaryDirectory[str]:
    """A folder that goes afterwards, in memory where there is one."""
    return TemporaryDirectory(prefix="dupnet-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    """A file alone in a folder that goes afterwards."""
    with _folder() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        yield path


def read_image(data: bytes) -> None:
    """Grey and colour are read alike, with a sane size, or both refused with a reason of one line."""
    from dupnet.images.reading import MAX_PIXELS, UnreadableImage, decode

    shapes = set()
    for grey in (True, False):
        try:
            pixels, valid, _ = decode(data, grey=grey)
        except UnreadableImage as error:
            assert error.reason and "\n" not in error.reason
            assert not re.search("0x[0-9a-f]{6}", error.reason), "an address, another one in every run"
            shapes.add(None)
        else:
            assert pixels.dtype == "uint8" and pixels.ndim == (2 if grey else 3)
            assert 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS
            assert valid is None or (valid.dtype == "bool" and valid.shape == pixels.shape[:2])
            shapes.add(pixels.shape[:2])
    assert len(shapes) == 1


def read_scene(data: bytes) -> None:
    """A file read in windows, and its georeference: pixels of a sane size, or a reason of one line."""
    from dupnet.images.georeference import read_georeference
    from dupnet.images.reading import UnreadableImage
    from dupnet.images.windows import open_scene, windows_of

    with _file("scene", data) as path:
        where = read_georeference(path)
        assert where is None or (where.height > 0 and np.isfinite(where.bounds).all())
        try:
            with open_scene(path) as scene:
                for window in itertools.islice(windows_of(scene, 256, 16), 4):
                    assert window.pixels.dtype == "uint8" and window.pixels.ndim == 2
                    assert window.valid is None or window.valid.shape == window.pixels.shape
        except UnreadableImage as error:
            assert error.reason and "\n" not in error.reason
            assert str(path.parent) not in error.reason
        assert os.listdir(path.parent) == ["scene"]


def read_weights(data: bytes) -> None:
    """Arrays of numbers, or ValueError."""
    from dupnet.network import descriptors

    with _file("weights.npz", data) as path:
        try:
            weights = descriptors.load_weights(path)
        except ValueError as error:
            assert "holds no weights of dupnet" in str(error)
        else:
            assert all(array.dtype == "float32" for array in weights.arrays.values())


def read_record(data: bytes) -> None:
    """The record of a run, from a folder that anybody may have written: understood, or ValueError."""
    from dupnet.find.results import read_results

    with _file("run.json", data) as path:
        try:
            read_results(path.parent)
        except ValueError as error:
            assert "run.json" in str(error)
        except FileNotFoundError as error:  # the record is sound, and the tables are not there
            assert "overlaps.csv" in str(error)


def read_model(data: bytes) -> None:
    """A ``.keras`` file: a network as its settings say, float32, or ValueError."""
    from dupnet.network.models import build, load_model

    with _file("model.keras", data) as path:
        try:
            model = load_model(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:
            wanted = build(model.settings).weights
            assert [part.shape for part in model.weights] == [part.shape for part in wanted]
            assert all(part.dtype == "float32" for part in model.weights)
        assert os.listdir(path.parent) == ["model.keras"]


IMAGES = ("a.jpg", "train/b.jpg", "val/images/c.jpg", "NA", "007.png")
"""The collection whose lists are fuzzed."""


def read_table_lists(data: bytes) -> None:
    """A table: a split of the images, labels of them, or ValueError."""
    _read_lists({"splits.csv": data}, ["splits.csv"], labels="splits.csv")


def read_coco_lists(data: bytes) -> None:
    """A JSON file: COCO, records or names by split."""
    _read_lists({"splits.json": data}, ["splits.json"], ["train=splits.json"], labels="splits.json")


def read_yolo_lists(data: bytes) -> None:
    """A ``data.yaml``, and, behind the first zero byte, the list of one split that it may name."""
    described, _, listed = data.partition(b"\0")
    if b".." in described or re.search(rb"(^|[^\w.])/", described):
        return  # leads out of the folder, to whatever is on this machine
    files = {"data.yaml": described, "train.txt": listed, "val/images/c.jpg": b""}
    _read_lists(files, ["data.yaml"], ["train.txt", "val=val"])


def _read_lists(files: dict[str, bytes], *sources: list[str], labels: str | None = None) -> None:
    from dupnet.splits.entries import entries_of
    from dupnet.splits.labels import read_labels

    with _folder() as folder:
        for name, content in files.items():
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_bytes(content)
        before = os.getcwd()
        os.chdir(folder)
        try:
            for some in sources:
                try:
                    entries, unmatched = entries_of(some, IMAGES)
                except (OSError, ValueError) as error:
                    assert str(error) and not isinstance(error, UnicodeError)
                else:
                    assert entries["number"].between(0, len(IMAGES) - 1).all()
                    assert (entries["split"] != "").all() and (unmatched["reason"] != "").all()
            if labels is not None:
                try:
                    found = read_labels(labels, IMAGES)
                except (OSError, ValueError) as error:
                    assert str(error) and not isinstance(error, UnicodeError)
                else:
                    assert found.labelled() <= set(IMAGES)
        finally:
            os.chdir(before)


def read_cache(data: bytes) -> None:
    """A journal and, behind the first zero byte, the rows: what is whole is read back, the rest forgotten."""
    from dupnet.find.cache import Cache

    journal, _, rows = data.partition(b"\0")
    with _folder() as folder:
        with Cache(folder, {}, CACHED) as cache:
            _append(cache)
        Path(folder, "journal.jsonl").write_bytes(journal)
        Path(folder, "code.rows").write_bytes(rows)
        with Cache(folder, {}, CACHED) as cache:
            for image, entry in cache.entries.items():
                assert isinstance(image, str) and min(entry.height, entry.width, entry.n_rows) >= 0
                cache.read("code", cache.rows_of([image]))
            assert not set(cache.damaged) & set(cache.entries)
            _append(cache)
        with Cache(folder, {}, CACHED) as cache:
            assert "new.jpg" in cache.entries


CACHED = {"code": 2}
"""Columns of the cache that is fuzzed."""


def _append(cache: Any) -> None:
    from dupnet.files.identity import Identity
    from dupnet.find.cache import Entry

    cache.append(
        "new.jpg", Entry(Identity(1, 2, "x"), 3, 4, 0, 2, ""), {"code": np.arange(4, dtype=np.uint8)}
    )


def read_judged(data: bytes) -> None:
    """A file of judgements: read as a table, opened and judged into, or ValueError."""
    from dupnet.review.judgements import Judged, Judgements, labels, read_judgements
    from dupnet.tiles import Grid

    with _file("judgements.csv", data) as path:
        try:
            table = read_judgements(path)
            labels(table)
            with Judgements(path, Grid(3, 3)) as judgements:
                judgements.judge(Judged("new", "newer", 1, 2, ""), "duplicate")
        except ValueError as error:
            assert str(path.parent) in str(error) and not isinstance(error, UnicodeError)
            assert path.read_bytes() == data
        else:
            assert len(read_judgements(path)) in (len(table), len(table) + 1)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "images": read_image,
    "scenes": read_scene,
    "weights": read_weights,
    "records": read_record,
    "models": read_model,
    "tables": read_table_lists,
    "coco": read_coco_lists,
    "yolo": read_yolo_lists,
    "caches": read_cache,
    "judgements": read_judged,
}
"""What is fuzzed, each with a folder of the corpus."""


def seeds(target: str) -> list[bytes]:
    """Files to begin with, where the corpus has none."""
    import json

    from PIL import Image

    if target == "records":
        about = {"options": {}, "searched": {}, "counts": {}, "seconds": {}, "versions": {}}
        about["folders"] = ["images"]
        return [json.dumps(about | {"grid": {"rows": 3, "cols": 3, "tile_size": 256}}).encode()]
    if target == "models":
        return _small_models()
    if target == "caches":
        return _small_caches()
    if target == "judgements":
        return [
            b"time,image1,image2,overlap_tag,y_offset,x_offset,verdict,reviewer\n"
            b't1,a,b,07,0,-256,duplicate,\nt2,\'=a,"b\n",,3,-4,undo,me\n',
            b"time,image1,image2,overlap_tag,verdict\nt,a,b,07,not_duplicate\n",
        ]
    if target in ("tables", "coco", "yolo"):
        return _small_lists(target)
    if target == "scenes":
        return _small_rasters()
    buffer = io.BytesIO()
    if target == "weights":
        settings = json.dumps({"config": {"architecture": "dupnet", "threshold": 0.5}})
        np.savez(buffer, **{"dupnet.json": np.array(settings), "score.bias": np.zeros(2, np.float32)})
        return [buffer.getvalue()]
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    found = []
    kinds = [("JPEG", mode) for mode in ("RGB", "L", "CMYK")]
    kinds += [("PNG", mode) for mode in ("RGB", "RGBA", "LA", "L", "P", "1", "I;16")]
    kinds += [("TIFF", mode) for mode in ("RGB", "L", "CMYK", "P", "F", "I;16")]
    kinds += [(format, mode) for format in ("WEBP", "GIF", "BMP", "AVIF", "PPM") for mode in ("RGB", "L")]
    for format, mode in kinds:
        for options in ({}, {"progressive": True} if format == "JPEG" else {"compression": "tiff_lzw"}):
            buffer = io.BytesIO()
            image = Image.fromarray(pixels)
            image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
            image.save(buffer, format, **options)
            found.append(buffer.getvalue())
    return list(dict.fromkeys(found))


def _small_caches() -> list[bytes]:
    """A cache of two images, and one that was cut off."""
    from dupnet.find.cache import Cache

    with _folder() as folder:
        for _ in range(2):
            with Cache(folder, {}, CACHED) as cache:
                _append(cache)
        journal, rows = (Path(folder, name).read_bytes() for name in ("journal.jsonl", "code.rows"))
    return [journal + b"\0" + rows, journal[:-9] + b"\0" + rows[:-1]]


def _small_lists(target: str) -> list[bytes]:
    """The smallest lists of each form."""
    import json

    if target == "tables":
        return [
            b"image,split\na.jpg,train\nb,val\n",
            b"a.jpg;test\nNA;train\n",
            b"id,x,fold\n007,1,2\nc,,1\n",
            b"ImageId,EncodedPixels\na.jpg,1 3 9 2\nb.jpg,\n",
            b"file,xmin,ymin,xmax,ymax,class\na.jpg,1,2,3,4,ship\nb.jpg,,,,,\n",
        ]
    if target == "yolo":
        listed = b"\0a.jpg\nimages/b.jpg -1\n"
        return [
            b"train: train.txt\nval: [val, val/images]" + listed,
            b"path: .\ntest: train\nval: val\nnames: {0: ship}" + listed,
        ]
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "coco_url": "x/b.jpg"}]
    things: list[dict[str, Any]] = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 2, "image_id": 2, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]], "iscrowd": 0},
        {"image_id": 1, "bbox": [1, 2, 3, 4], "segmentation": {"size": [4, 4], "counts": "04d0"}},
    ]
    coco = {"images": images, "categories": [{"id": 1, "name": "ship"}], "annotations": things}
    records = [{"image": "a.jpg", "split": "train"}, {"image": "NA", "split": None}]
    forms = (coco, records, {"train": ["a.jpg", 7], "val": ["b"]}, {"a.jpg": "train", "b": "val"})
    return [json.dumps(form).encode() for form in forms]


def _small_rasters() -> list[bytes]:
    """The smallest rasters of several drivers, depths and layouts."""
    import formats
    from rasterio.transform import from_origin

    pixels = np.random.default_rng(0).integers(1, 256, (4, 16, 16), dtype=np.uint8)
    place = {"crs": "EPSG:32631", "transform": from_origin(500_000, 5_700_000, 0.5, 0.5)}
    kinds: list[tuple[np.ndarray, dict[str, Any]]] = [
        (pixels[:3], {"compress": "deflate", **place}),
        (pixels.astype(np.uint16) * 8, {"nbits": 11, "compress": "lzw"}),
        (pixels[:1].astype(np.float32), {"nodata": 7.0, "tiled": True, "blockxsize": 16, "blockysize": 16}),
        (pixels[:3], {"compress": "jpeg", "photometric": "ycbcr"}),
        (pixels[:1], {"palette": {0: (1, 2, 3, 0), 255: (9, 9, 9, 255)}}),
        (pixels[:3], {"mask": True, "environment": {"GDAL_TIFF_INTERNAL_MASK": True}}),
        (pixels[:3], {"driver": "JP2OpenJPEG", **place}),
        (pixels[:1].astype(np.uint16), {"driver": "NITF"}),
        (pixels[:1].astype(np.uint16), {"driver": "PNG"}),
    ]
    found = []
    for array, options in kinds:
        with _folder() as folder:
            path = Path(folder, "raster")
            formats.raster(array, **options)(path)
            found.append(path.read_bytes())
    return found


def _small_models() -> list[bytes]:
    """The smallest networks of both kinds, weights all zero, as files."""
    from dupnet.network.models import DupnetConfig, DupnetV0Config, HeadConfig, build, save_model

    head = HeadConfig((1,), 1, 1, ())
    configs = (
        DupnetV0Config(tile_size=2, filters=(1,), dense_units=1),
        DupnetConfig(tile_size=32, n_filters=2, first_stage=head, ensemble=head, n_members=1),
    )
    found = []
    for config in configs:
        model = build(config)
        model.set_weights([np.zeros_like(array) for array in model.get_weights()])
        with _folder() as folder:
            path = Path(folder, "model.keras")
            save_model(model, path)
            members = _members(path.read_bytes())
        # What Keras notes besides is not read.
        found.append(_archive({name: members[name] for name in ("dupnet.json", "model.weights.h5")}))
    return found


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def change_model(data: bytes, largest: int, seed: int) -> bytes:
    """Change the bytes of an archive, or a member of it, whose checksum is made right again."""
    draw = random.Random(seed)
    try:
        members = _members(data)
    except Exception:  # no archive any more: its bytes are all there is to change
        members = {}
    if not members or draw.random() < 0.2:
        return _with_bytes_changed(data, draw)[:largest]
    name = draw.choice(sorted(members))
    action = draw.choice(["bytes", "bytes", "bytes", "values", "values", "leave out"])
    if action == "bytes":
        members[name] = _with_bytes_changed(members[name], draw)
    elif action == "values":
        values = list(re.finditer(rb'-?[0-9.]+|"[^"]*"(?!:)', members[name]))
        if values:
            start, end = draw.choice(values).span()
            value = draw.choice(ODD_VALUES).encode()
            members[name] = members[name][:start] + value + members[name][end:]
    else:
        del members[name]
    changed = _archive(members)
    return changed if len(changed) <= largest else data


def _with_bytes_changed(data: bytes, draw: random.Random) -> bytes:
    content = bytearray(data)
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    action = draw.choice(["change"] * 6 + ["cut out", "double", "cut off"])
    if action == "change":
        places = [
            place for place, value in enumerate(content) if value
        ]  # most of HDF5 is zeros, and not read
        for place in draw.choices(places, k=draw.randint(1, 8)) if places else ():
            content[place] = draw.choice([0, 1, 2, 127, 128, 255, draw.randrange(256)])
    elif action == "cut out":
        del content[start:end]
    elif action == "double":
        content[start:start] = content[start:end]
    else:
        del content[end:]
    return bytes(content)


def fuzz(target: str, arguments: list[str]) -> None:
    """Fuzz one target until its budget is spent; libFuzzer ends the process."""
    import atheris

    instrumented = INSTRUMENTED
    if target == "models":
        importlib.import_module("keras")
        instrumented += ("dupnet.network.models",)
    with atheris.instrument_imports(include=[name for name in READERS if not name.startswith("keras")]):
        for name in instrumented:
            importlib.import_module(name)
    warnings.simplefilter("ignore")
    changes = {"custom_mutator": change_model} if target == "models" else {}
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target], **changes)
    atheris.Fuzz()


def boiled_down(target: str, files: list[bytes]) -> Iterator[bytes]:
    """The smallest files that together reach every line, of the modules fuzzed, that all of them reach."""
    reached: set[tuple[str, int]] = set()
    parts = [os.sep + reader.replace(".", os.sep) for reader in READERS]

    def trace(frame: FrameType, event: str, argument: object) -> object:
        name = frame.f_code.co_filename
        if not any(part in name for part in parts):
            return None
        if event == "line":
            lines.add((name, frame.f_lineno))
        return trace

    warnings.simplefilter("ignore")
    for data in sorted(set(files), key=lambda data: (len(data), data)):
        lines: set[tuple[str, int]] = set()
        before = sys.gettrace()  # that of a coverage run, which must go on
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            TARGETS[target](data)
        finally:
            sys.settrace(before)
        if not lines <= reached:
            reached |= lines
            yield data


def main() -> int:
    """Fuzz every target, or those named, in a process of its own, and boil its corpus down."""
    if sys.argv[1:2] and sys.argv[1] in TARGETS:
        fuzz(sys.argv[1], sys.argv[2:])
        return 0
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    rows = []
    targets = sys.argv[2:] or list(TARGETS)
    for target in targets:
        kept = CORPUS / target
        with TemporaryDirectory(prefix="dupnet-") as work:
            grown = Path(work, "grown")
            grown.mkdir()
            if kept.is_dir():
                shutil.copytree(kept, grown, dirs_exist_ok=True)
            for number, data in enumerate(seeds(target)):
                (grown / f"seed{number}").write_bytes(data)
            common = ["-rss_limit_mb=3000", "-timeout=20", f"-max_len={LARGEST}", f"-artifact_prefix={work}/"]
            command = [sys.executable, __file__, target]
            options = [f"-max_total_time={seconds}", "-seed=1", "-print_final_stats=1", *common]
            done = subprocess.run([*command, *options, str(grown)], capture_output=True, text=True)
            stats = dict(
                line.split(": ", 1) for line in done.stderr.splitlines() if line.startswith("stat::")
            )
            inputs = int(stats.get("stat::number_of_executed_units", "0"))
            found = [path for path in Path(work).iterdir() if path.is_file()]
            print(f"{target}: {inputs} inputs in {seconds} s, {len(found)} failures", flush=True)
            rows.append((target, inputs, seconds, len(found)))
            if done.returncode or found:
                print(done.stderr[-4000:])
                kept.mkdir(parents=True, exist_ok=True)
                for path in found:
                    print(f"kept as {shutil.copy(path, kept / path.name)}")
                continue
            fewest = list(boiled_down(target, [path.read_bytes() for path in grown.iterdir()]))
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            for data in fewest:
                (kept / hashlib.blake2b(data, digest_size=8).hexdigest()).write_bytes(data)
            print(f"{target}: {len(list(kept.iterdir()))} files kept", flush=True)
    table = pd.DataFrame(rows, columns=["target", "inputs", "seconds", "failures"])
    known = pd.read_csv(RESULTS / "fuzz.csv")
    known = known[~known["target"].isin(targets)]
    pd.concat([known, table]).to_csv(RESULTS / "fuzz.csv", index=False, lineterminator="\n")
    return int(table["failures"].any())


if __name__ == "__main__":
    sys.exit(main())
