"""What fuzzing kept: every file of the corpus is read or refused, as ``tests/fuzz.py`` says."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path

import fuzz
import pytest

FILES = sorted(path.relative_to(fuzz.CORPUS).as_posix() for path in fuzz.CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_fuzzing_kept(name: str) -> None:
    fuzz.TARGETS[Path(name).parts[0]]((fuzz.CORPUS / name).read_bytes())


@pytest.mark.parametrize("target", fuzz.TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_the_corpus_and_its_beginnings(target: str) -> None:
    for data in fuzz.seeds(target):
        fuzz.TARGETS[target](data)
    kept = [(fuzz.CORPUS / name).stat().st_size for name in FILES if Path(name).parts[0] == target]
    assert kept
    assert sum(kept) < 100_000


def test_what_is_not_as_documented_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An oracle that accepts anything would find nothing."""

    def broken(*_: object, **__: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr("dupnet.images.reading.decode", broken)
    monkeypatch.setattr("dupnet.network.models.load_model", broken)
    monkeypatch.setattr("dupnet.find.results.read_table", broken)
    with pytest.raises(KeyError):
        fuzz.read_image(b"")
    with pytest.raises(KeyError):
        fuzz.read_record(fuzz.seeds("records")[0])
    with pytest.raises(KeyError):
        fuzz.read_model(b"")


def test_the_fewest_files_that_reach_every_line() -> None:
    sound = fuzz.seeds("records")[0]
    kept = list(fuzz.boiled_down("records", [b"{", sound + b" ", b"[]   ", sound, b"{ ", b"[]"]))
    assert kept == [b"{", b"[]", sound]


def test_model_files_are_changed_behind_their_checksums() -> None:
    """Else hardly a change would be seen by more than the archive's reader."""
    sound, _ = fuzz.seeds("models")
    seen = Counter()
    for seed in range(200):
        changed = fuzz.change_model(sound, fuzz.LARGEST, seed)
        assert len(changed) <= fuzz.LARGEST
        assert fuzz.change_model(sound, fuzz.LARGEST, seed) == changed
        try:
            with zipfile.ZipFile(io.BytesIO(changed)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
        except Exception:
            seen["no archive"] += 1
        else:
            seen.update(
                name for name, content in fuzz._members(sound).items() if members.get(name) != content
            )
    assert min(seen[name] for name in ("no archive", "dupnet.json", "model.weights.h5")) >= 20
    assert fuzz.change_model(b"", fuzz.LARGEST, 0) == b""
