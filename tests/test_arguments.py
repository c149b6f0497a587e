"""Arguments of the commands: numbers out of their range are refused in one line."""

from __future__ import annotations

import pytest

from dupnet.commands import cli


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["split", "out", "--seed", "-1"], "--seed: '-1' is not a whole number of at least 0"),
        (
            ["pairs", "out", "--out", "pairs", "--rows", "0"],
            "--rows: '0' is not a whole number of at least 1",
        ),
        (["train", "pairs", "images", "--out", "run", "--epochs", "none"], "--epochs: 'none' is not"),
        (["train", "pairs", "images", "--out", "run", "--batch-size", "0"], "--batch-size: '0' is not"),
        (["review", "out", "--port", "65536"], "--port: '65536' is not a whole number in 0 to 65535"),
        (["review", "out", "--tile-size", "0"], "--tile-size: '0' is not"),
        (["find", "images", "--out", "out", "--workers", "0"], "--workers: '0' is not a whole number of at"),
        (["find", "images", "--out", "out", "--workers", "abc"], "--workers: 'abc' is not a whole number"),
        (["find", "images", "--out", "out", "--tile-size", "0"], "--tile-size: '0' is not"),
        (["find", "images", "--out", "out", "--stride", "-8"], "--stride: '-8' is not"),
        (
            ["tiles", "images", "--out", "out", "--quality", "101"],
            "--quality: '101' is not a whole number in 1",
        ),
        (["data", "derna", "--n-images", "0"], "--n-images: '0' is not"),
        (["data", "derna", "--image-size", "0"], "--image-size: '0' is not"),
        (["data", "derna", "--stride", "0"], "--stride: '0' is not"),
        *(
            (
                ["evaluate", "pairs", "images", "--threshold", value],
                f"--threshold: '{value}' is not a number in 0 to 1",
            )
            for value in ("nan", "5", "-1", "inf", "half")
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_numbers_are_checked(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(options)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
