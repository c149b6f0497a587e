import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.review.judgements import COLUMNS, Judgements, labels, read_judgements

HEADER = ",".join(COLUMNS) + "\n"


def test_judge_undo_judge_again(tmp_path):
    path = tmp_path / "judgements.csv"
    with Judgements(path) as judged:
        assert judged.judge("a.jpg", "b.jpg", "07", "duplicate")
        assert judged.judge("a.jpg", "c.jpg", "18", "undecidable")
        assert judged.undo() == ("a.jpg", "c.jpg", "18")
        assert judged.judge("a.jpg", "c.jpg", "18", "not_duplicate")
        assert len(judged) == 2
    assert [line.split(",", 1)[1] for line in path.read_text().splitlines()] == [
        "image1,image2,overlap_tag,verdict",
        "a.jpg,b.jpg,07,duplicate",
        "a.jpg,c.jpg,18,undecidable",
        "a.jpg,c.jpg,18,undo",
        "a.jpg,c.jpg,18,not_duplicate",
    ]
    with Judgements(path) as again:
        assert again.verdict("a.jpg", "c.jpg", "18") == "not_duplicate"
        assert again.undo(among={("x.jpg", "y.jpg", "08")}) is None
        assert again.undo() == ("a.jpg", "c.jpg", "18")
        assert again.undo() == ("a.jpg", "b.jpg", "07")
        assert again.undo() is None
    assert read_judgements(path).empty


def test_a_judgement_is_never_taken_twice(tmp_path):
    path = tmp_path / "judgements.csv"
    with Judgements(path) as judged:
        assert judged.judge("a", "b", "07", "duplicate")
        size = path.stat().st_size
        assert not judged.judge("a", "b", "07", "not_duplicate")
        assert path.stat().st_size == size
        threads = [
            threading.Thread(target=judged.judge, args=("c", "d", "08", "duplicate")) for _ in range(8)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert path.read_text().count("c,d,08") == 1
    assert read_judgements(path)["verdict"].tolist() == ["duplicate", "duplicate"]


def test_an_unknown_verdict_is_refused(tmp_path):
    with Judgements(tmp_path / "j.csv") as judged, pytest.raises(ValueError, match="maybe"):
        judged.judge("a", "b", "07", "maybe")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_row_cut_off_by_a_crash_is_dropped_and_the_rest_kept(tmp_path, cut):
    path = tmp_path / "judgements.csv"
    with Judgements(path) as judged:
        judged.judge("a", 'quote " and\nline', "07", "duplicate")
        whole = path.read_bytes()
        judged.judge("c", 'another "\nname', "08", "duplicate")
    path.write_bytes(path.read_bytes()[: len(whole) + min(cut, path.stat().st_size - len(whole) - 1)])
    with Judgements(path) as again:
        assert len(again) == 1
        assert path.read_bytes() == whole
        again.judge("c", 'another "\nname', "08", "not_duplicate")
    assert read_judgements(path)["verdict"].tolist() == ["duplicate", "not_duplicate"]


def test_a_header_cut_off_is_written_anew(tmp_path):
    path = tmp_path / "judgements.csv"
    path.write_text(HEADER[:9])
    with Judgements(path):
        assert path.read_text() == HEADER


@pytest.mark.parametrize(
    "content", ["image,reason\nx,y\n", "something", HEADER + "t,a,b,07,perhaps\n", HEADER + "t,a\n"]
)
def test_another_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="not a table of judgements"):
        Judgements(path)
    assert path.read_text() == content


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_a_second_process_is_refused(tmp_path):
    with Judgements(tmp_path / "j.csv"):
        with pytest.raises(ValueError, match="another process"):
            Judgements(tmp_path / "j.csv")
    Judgements(tmp_path / "j.csv").close()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["duplicate", "undecidable", "undo"])), max_size=8)
)
def test_any_names_survive_the_file(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("names") / "j.csv"
    with Judgements(path) as judged:
        for image1, image2, verdict in rows:
            if verdict == "undo":
                judged.undo()
            else:
                judged.judge(image1, image2, "07", verdict)
        expected = judged.table()
    pd.testing.assert_frame_equal(read_judgements(path), expected)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of any bytes exist on Linux only")
def test_a_name_that_is_not_utf8_survives(tmp_path):
    name = os.fsdecode(b"caf\xe9\r.jpg")
    with Judgements(tmp_path / "j.csv") as judged:
        judged.judge(name, "b", "07", "duplicate")
    assert read_judgements(tmp_path / "j.csv")["image1"].tolist() == [name]


def test_what_was_confirmed_survives_a_kill(tmp_path):
    path = tmp_path / "j.csv"
    program = (
        "import sys; from dupnet.review.judgements import Judgements; judged = Judgements(sys.argv[1])\n"
        "for i in range(10**6):\n    judged.judge(f'{i}', 'x', '07', 'duplicate'); print(i, flush=True)"
    )
    folder = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    confirmed = [process.stdout.readline().strip() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    confirmed += process.stdout.read().split()
    process.wait()
    assert read_judgements(path)["image1"].tolist()[: len(confirmed)] == confirmed


def test_labels_leave_out_the_undecidable():
    judged = pd.DataFrame(
        [("a", "b", "07", "duplicate"), ("a", "c", "18", "undecidable"), ("b", "c", "08", "not_duplicate")],
        columns=["image1", "image2", "overlap_tag", "verdict"],
    )
    expected = pd.DataFrame(
        [("a", "b", "07", 1), ("b", "c", "08", 0)],
        columns=["image1", "image2", "overlap_tag", "is_duplicate"],
    )
    pd.testing.assert_frame_equal(labels(judged), expected)


def test_a_judgement_is_on_the_disk_when_it_is_confirmed(tmp_path, monkeypatch):
    """Every row, once it is written as a whole, is synchronised before anyone is told so."""
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), fsync(file)))
    with Judgements(tmp_path / "j.csv") as judged:
        for step in (
            lambda: judged.judge("a", "b", "07", "duplicate"),
            lambda: judged.judge("c", "d", "08", "undecidable"),
            judged.undo,
        ):
            n_before = len(synced)
            assert step()
            assert synced[n_before:] == [judged.path.stat().st_size]
