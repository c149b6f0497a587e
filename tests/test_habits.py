"""Habits of all commands: help with examples, one line for bad use, JSON alone, a closed pipe, names made
harmless, no progress in a file, and stopping without a trace."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from results import found, written
from textures import textured

from dupnet.commands import cli
from dupnet.commands.arguments import default_out
from dupnet.commands.output import printable, progress_of, safe_output
from dupnet.files.atomic import write_csv

ROOT = Path(__file__).parents[1]
Captured = pytest.CaptureFixture[str]

EXEMPLARY = ("find", "split", "audit", "clean", "labels", "tiles", "data", "pairs", "evaluate", "train")


def folder_of_images(folder: Path, n: int = 2, side: int = 256) -> Path:
    folder.mkdir()
    for number in range(n):
        Image.fromarray(textured(1, side, seed=number // 2, contrast=25)[0]).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("command", EXEMPLARY)
def test_help_has_examples_that_parse(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    examples = said.split("examples:\n")[1].splitlines()
    assert len(examples) >= 3
    parser = cli._parser()
    for line in examples:
        words = line.split("#")[0].split()
        assert words[0] == "dupnet"
        parser.parse_args(words[1:])


@pytest.mark.parametrize("command", EXEMPLARY)
def test_every_command_that_prints_a_result_has_the_habits(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    for option in ("-q, --quiet", "-v, --verbose", "--json", "-o "):
        assert option in said
    with pytest.raises(SystemExit) as end:
        cli.main(
            [command, "cut", *(["y"] if command not in ("tiles", "pairs") else []), "-o", "z", "-q", "-v"]
        )
    assert end.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["fnd"], ["find", "x", "--nonsense"], ["split"], ["audit"], ["split", "x", "y\x1b[2J\n"]]
)
def test_bad_use_is_one_harmless_line(words: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("dupnet: ") and said.count("\n") == 1 and "--help`" in said
    assert "\x1b" not in said


# --- where results go -----------------------------------------------------------------------------


def test_results_go_beside_the_images_and_never_into_them(tmp_path: Path) -> None:
    (tmp_path / "set" / "train").mkdir(parents=True)
    outer, inner = str(tmp_path / "set"), str(tmp_path / "set" / "train")
    assert default_out([outer]) == tmp_path / "set-dupnet"
    assert default_out([outer + "/"]) == tmp_path / "set-dupnet"
    assert default_out([inner]) == tmp_path / "set" / "train-dupnet"
    assert default_out([inner, outer]) == tmp_path / "set-dupnet"
    with pytest.raises(ValueError, match=r"is a URL; say where the results go \(--out\)"):
        default_out(["s3://bucket/images"])
    with pytest.raises(ValueError, match="There is no room for results beside '/'"):
        default_out(["/"])


def test_find_without_images_needs_an_output_folder(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "list.txt").write_text("a.png\n")
    for words in ([], ["--from-file", str(tmp_path / "list.txt")], ["x", "--add"]):
        assert cli.main(["find", *words]) == 2
        assert "Say where the results go, or are (--out)" in capsys.readouterr().err


def test_find_without_an_output_folder(tmp_path: Path, capsys: Captured) -> None:
    images = folder_of_images(tmp_path / "images")
    assert cli.main(["find", str(images), "--no-report"]) == 0
    assert (tmp_path / "images-dupnet" / "overlaps.csv").exists()
    assert sorted(path.name for path in images.iterdir()) == ["0.png", "1.png"]
    assert str(tmp_path / "images-dupnet") in capsys.readouterr().out
    assert cli.main(["find", str(images), "--no-report", "-o", str(tmp_path / "short")]) == 0
    assert (tmp_path / "short" / "run.json").exists()


# --- what is printed ------------------------------------------------------------------------------


def test_find_as_json_and_in_words(tmp_path: Path, capsys: Captured) -> None:
    images = folder_of_images(tmp_path / "images")
    (images / "broken.png").write_bytes(b"no image")
    command = ["find", str(images), "--no-report"]
    assert cli.main([*command, "--json"]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["counts"]["images"] == 2 and record["unreadable"][0]["image"] == "broken.png"
    assert record["searched"]["offsets"] == "any" and record["coverage"][0].startswith("Searched: any offset")
    assert said.err == ""
    assert cli.main([*command, "-v"]) == 0
    said = capsys.readouterr()
    assert "left out 'broken.png'" in said.out and "tables: " in said.out


def test_json_holds_numbers_as_numbers_and_nothing_but_json(tmp_path: Path, capsys: Captured) -> None:
    out = written(found([(0, 0, 0), (0, 0, 50)], names=["a\x1b[31m.jpg", "b\u202e.jpg"]), tmp_path / "out")
    pd.DataFrame({"image": ["a\x1b[31m.jpg", "b\u202e.jpg"], "split": ["x", "y"]}).to_csv(tmp_path / "s.csv")
    assert cli.main(["audit", str(tmp_path / "s.csv"), str(out), "--json"]) == 1
    said = capsys.readouterr().out
    record = json.loads(said)
    assert record["pairs"][0]["image1"] == "a\x1b[31m.jpg" and record["pairs"][0]["height"] == 100
    assert said.isascii() and "\x1b" not in said


def test_names_are_harmless_on_a_terminal(tmp_path: Path, capsys: Captured) -> None:
    names = ["a\x1b]0;title\x07.jpg", "b\u202egpj.jpg", "c\r.jpg", "d\n.jpg"]
    out = written(found([(0, 0, 0)] * 4, names=sorted(names)), tmp_path / "out")
    for command in (["clean", str(out)], ["split", str(out), "--ratios", ".5", ".5"]):
        cli.main(command)
    write_csv(pd.DataFrame({"image": sorted(names), "split": [*"abab"]}), tmp_path / "s.csv")
    assert cli.main(["audit", str(tmp_path / "s.csv"), str(out)]) == 1
    said = capsys.readouterr()
    for raw in ("\x1b", "\x07", "\u202e", "\r"):
        assert raw not in said.out + said.err
    assert "\\x1b]0;title\\x07.jpg" in said.out


def test_errors_and_warnings_are_harmless_on_a_terminal(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever name a command puts into them."""

    def complaining(_: argparse.Namespace) -> None:
        warnings.warn("a\x1b[2J is odd", stacklevel=1)
        raise ValueError("b\x1b[2J\nis wrong")

    monkeypatch.setattr("dupnet.commands.split.run", complaining)
    assert cli.main(["split", "x"]) == 2
    assert capsys.readouterr().err == "dupnet: a\\x1b[2J is odd\ndupnet: b\\x1b[2J is wrong\n"


def test_printable() -> None:
    assert (
        printable("a\x1b[2J\r\u200b\u2028\U000e0041\ud800") == "a\\x1b[2J\\r\\u200b\\u2028\\U000e0041\\ud800"
    )
    assert printable("Müller\tx\n船.jpg") == "Müller\tx\n船.jpg"


def test_a_terminal_without_the_letters() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    before, sys.stdout = sys.stdout, stream
    try:
        with safe_output():
            print("船.jpg")
    finally:
        sys.stdout = before
    stream.seek(0)
    assert stream.read() == "\\u8239.jpg\n"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """The reader has gone before anything was written; the status is still that of the audit."""
    out = written(found([(n // 2, 0, n % 2) for n in range(200)]), tmp_path / "out")
    images = [f"{number:03d}.jpg" for number in range(200)]
    pd.DataFrame({"image": images, "split": [*"ab"] * 100}).to_csv(tmp_path / "s.csv", index=False)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dupnet", "audit", str(tmp_path / "s.csv"), str(out), "-v"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for quiet, terminal in ((False, True), (False, False), (True, True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal, raising=False)
        assert progress_of(argparse.Namespace(quiet=quiet)) == (terminal and not quiet)


def test_warnings_are_left_out_with_quiet(tmp_path: Path, capsys: Captured) -> None:
    out = written(found([(0, 0, 0)] * 8 + [(1, 0, 0)]), tmp_path / "out")
    command = ["split", str(out), "--ratios", ".5", ".5"]
    assert cli.main(command) == 0
    assert "cannot meet the ratios" in capsys.readouterr().err
    assert cli.main([*command, "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_remarks_of_tensorflow_are_dropped_and_nothing_else() -> None:
    code = (
        "import os, sys\n"
        "from dupnet.commands.output import without_remarks\n"
        "with without_remarks():\n"
        "    os.write(2, b'WARNING: All log messages before absl::InitializeLog() is called\\n')\n"
        "    os.write(2, b'I0000 00:00:1795807675.93 2848 port.cc:153] oneDNN operations are on.\\n')\n"
        "    os.write(2, b'E0000 00:00:1795807675.93 2848 x.cc:1] out of memory\\nI am no remark\\n')\n"
        "    print('a warning of ours', file=sys.stderr)\n"
        "os.write(2, b'after\\n')\n"
        "print('I0000 after', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(done.stderr.splitlines()) == [
        "E0000 00:00:1795807675.93 2848 x.cc:1] out of memory",
        "I am no remark",
        "I0000 after",
        "a warning of ours",
        "after",
    ]


@pytest.mark.parametrize(
    ("words", "work"),
    [
        (["train", "pairs.csv", "images", "--out", "run"], "train._train"),
        (["evaluate", "pairs.csv", "images", "--model", "m.keras"], "evaluate._judge_pairs"),
        (["evaluate", "images", "--labels", "labels.csv", "--model", "m.keras"], "evaluate._judge_labels"),
    ],
)
def test_commands_that_load_tensorflow_drop_its_remarks(
    words: list[str], work: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def remarking(_: argparse.Namespace) -> None:
        os.write(2, b"I0000 00:00:1795807675.93 2848 port.cc:153] oneDNN operations are on.\nwell\n")

    monkeypatch.setattr(f"dupnet.commands.{work}", remarking)
    assert cli.main(words) == 0
    assert capfd.readouterr().err == "well\n"


# --- stopping -------------------------------------------------------------------------------------


def test_stopped_by_sigterm_nothing_is_left_behind(tmp_path: Path) -> None:
    """SIGTERM is as Ctrl-C: temporary folders go, nothing is half-written, status 143."""
    images = folder_of_images(tmp_path / "images")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    code = (
        "import sys, time, tempfile, pathlib\n"
        "from dupnet.commands import cli\n"
        "import dupnet.find.engine as engine\n"
        "def slow(*args, **options):\n"
        "    from dupnet.files.atomic import atomic_path\n"
        "    with tempfile.TemporaryDirectory(prefix='dupnet-'), atomic_path(sys.argv[2]):\n"
        "        print('ready', file=sys.stderr, flush=True)\n"
        "        time.sleep(60)\n"
        "engine.find_overlaps = slow\n"
        "sys.exit(cli.main(['find', sys.argv[1], '-o', sys.argv[1] + '-out']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(images), str(tmp_path / "file")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None and process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "stopped" in said and "Traceback" not in said
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "tmp"]


def test_a_command_leaves_the_signals_as_they_were(capsys: Captured) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["split", "nowhere"]) == 2
    assert signal.getsignal(signal.SIGTERM) is before
    assert "no finished run" in capsys.readouterr().err
