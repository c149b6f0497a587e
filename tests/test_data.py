"""The command `dupnet data`: collections that it fetches and cuts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dupnet.commands import cli


@pytest.fixture(scope="module")
def acquisition() -> np.ndarray:
    """(1024, 1280, 3) of noise: textured everywhere."""
    return np.random.default_rng(0).integers(60, 200, (1024, 1280, 3), dtype=np.uint8)


def test_data_cut(acquisition: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(acquisition).save(tmp_path / "large.png")
    command = ["data", "cut", str(tmp_path / "large.png"), "--out", str(tmp_path / "out"), "--n-images", "2"]
    assert cli.main(command) == 0
    assert len(pd.read_csv(tmp_path / "out" / "images.csv")) == 2
    record = json.loads((tmp_path / "out" / "cut.json").read_text())
    assert record["image"] == str((tmp_path / "large.png").resolve())
    assert cli.main(command) == 0
    assert "is cut already" in capsys.readouterr().out
    for options, differs in (
        (["--hard"], "hard False, not True"),
        (["--n-images", "3", "--seed", "1"], "n_images 2, not 3; seed 0, not 1"),
    ):
        assert cli.main([*command, *options]) == 2
        assert f"out' holds what `dupnet data` made with {differs}. Choose" in capsys.readouterr().err


def test_data_cut_leaves_other_files_alone(
    acquisition: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(acquisition).save(tmp_path / "large.png")
    command = ["data", "cut", str(tmp_path / "large.png"), "--out"]
    assert cli.main([*command, str(tmp_path)]) == 2
    assert "is not an output folder of `dupnet data`; choose a new" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["large.png"]
    command += [str(tmp_path / "out"), "--n-images"]
    assert cli.main([*command, "99"]) == 2
    assert "n_images is 99" in capsys.readouterr().err
    assert cli.main([*command, "2"]) == 0  # nothing came of the other number


def test_data_fetch(
    acquisition: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dupnet.acquisitions import sources

    Image.fromarray(acquisition).save(tmp_path / "stand_in.png")

    def fetch(remote: sources.RemoteAcquisition, folder: str, show: sources.Show) -> list[Path]:
        show(remote.notice)
        return [tmp_path / "stand_in.png"]

    monkeypatch.setattr(sources, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "derna", "--hard", "--n-images", "3"]) == 0
    assert "CC BY-NC" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "data" / "processed" / "derna-hard" / "images.csv")) >= 3

    def refuse(*_: object) -> None:
        raise sources.FetchError("no credentials")

    monkeypatch.setattr(sources, "fetch_airbus", refuse)
    assert cli.main(["data", "airbus"]) == 2
    assert capsys.readouterr().err == "dupnet: no credentials\n"
