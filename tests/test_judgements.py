import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupnet.files.atomic import read_csv
from dupnet.find.verdicts import TAGS_ONLY
from dupnet.review.judgements import COLUMNS, LOCKED_BYTE, Judged, Judgements, labels, read_judgements
from dupnet.tiles import Grid

HEADER = ",".join(COLUMNS) + "\n"
TAGS_HEADER = ",".join(TAGS_ONLY) + "\n"


def at(image1, image2, y_offset=0, x_offset=0, tag=""):
    return Judged(image1, image2, y_offset, x_offset, tag)


def test_judge_undo_judge_again(tmp_path):
    path = tmp_path / "judgements.csv"
    with Judgements(path) as judged:
        assert judged.judge(at("a.jpg", "b.jpg", 0, -256, "07"), "duplicate")
        assert judged.judge(at("a.jpg", "c.jpg", 5, -12), "undecidable")
        assert judged.undo() == at("a.jpg", "c.jpg", 5, -12)
        assert judged.judge(at("a.jpg", "c.jpg", 5, -12), "not_duplicate")
        assert judged.judge(at("a.jpg", "c.jpg", 5, -13), "duplicate"), "another offset is another overlap"
        assert len(judged) == 3
        judged.undo()
    assert [line.split(",", 1)[1] for line in path.read_text().splitlines()] == [
        "image1,image2,overlap_tag,y_offset,x_offset,verdict,reviewer",
        "a.jpg,b.jpg,07,0,-256,duplicate,",
        "a.jpg,c.jpg,,5,-12,undecidable,",
        "a.jpg,c.jpg,,5,-12,undo,",
        "a.jpg,c.jpg,,5,-12,not_duplicate,",
        "a.jpg,c.jpg,,5,-13,duplicate,",
        "a.jpg,c.jpg,,5,-13,undo,",
    ]
    with Judgements(path) as again:
        assert again.of(at("a.jpg", "c.jpg", 5, -12)).verdict == "not_duplicate"
        assert again.of(at("a.jpg", "b.jpg", 0, -256)).verdict == "duplicate", "the tag is but a name"
        assert again.of(at("a.jpg", "c.jpg", 5, -13)) is None
        assert again.undo(among={at("x.jpg", "y.jpg").key}) is None
        assert again.undo() == at("a.jpg", "c.jpg", 5, -12)
        assert again.undo() == at("a.jpg", "b.jpg", 0, -256, "07")
        assert again.undo() is None
    assert read_judgements(path).empty


def test_a_reviewer_is_named_and_takes_back_what_is_theirs_alone(tmp_path):
    path = tmp_path / "judgements.csv"
    with Judgements(path, reviewer="=Ann") as ann:
        ann.judge(at("a", "b"), "duplicate")
    with Judgements(path, reviewer="Ben") as ben:
        assert ben.undo() is None and not ben.can_undo({at("a", "b").key})
        assert not ben.judge(at("a", "b"), "not_duplicate")
        assert ben.of(at("a", "b")).reviewer == "=Ann"
        ben.judge(at("a", "c"), "not_duplicate")
        assert ben.can_undo({at("a", "c").key}) and not ben.can_undo({at("a", "b").key})
        assert ben.undo() == at("a", "c") and ben.undo() is None
    assert ",'=Ann\n" in path.read_text()
    assert read_judgements(path)["reviewer"].tolist() == ["=Ann"]


def test_names_that_a_spreadsheet_would_compute_are_text(tmp_path):
    names = ["=1+1", "'=1+1", "@x", "-y.jpg", "plain.jpg", "'plain"]
    with Judgements(tmp_path / "j.csv") as judged:
        for name in names:
            judged.judge(at(name, "z"), "duplicate")
    held = pd.read_csv(tmp_path / "j.csv")["image1"].tolist()
    assert held == ["'=1+1", "''=1+1", "'@x", "'-y.jpg", "plain.jpg", "'plain"]
    assert read_judgements(tmp_path / "j.csv")["image1"].tolist() == names
    assert read_csv(tmp_path / "j.csv")["image1"].tolist() == names, "as the other tables have them"
    with Judgements(tmp_path / "j.csv") as again:
        assert again.of(at("=1+1", "z")).verdict == "duplicate"


def test_an_older_file_with_tags_alone_is_read_and_goes_on(tmp_path):
    path = tmp_path / "judgements.csv"
    rows = "t1,'=a,b,18,duplicate\nt2,=1+1,b,08,undecidable\nt3,a,b,99,duplicate\nt4,=1+1,b,08,undo\n"
    path.write_text(TAGS_HEADER + rows + "t5,cut")
    table = read_judgements(path)
    assert table[["image1", "overlap_tag", "verdict"]].to_numpy().tolist() == [
        ["'=a", "18", "duplicate"],
        ["a", "99", "duplicate"],
    ]
    assert table["y_offset"].isna().all()
    for _ in range(2):
        with Judgements(path, Grid()) as judged:
            assert judged.of(at("'=a", "b", 0, 256)).verdict == "duplicate"
            assert len(judged) == 2
            judged.judge(at("c", "d", 1, 2), "duplicate")
            with pytest.raises(ValueError, match="another process"):
                Judgements(path)
            judged.undo()
    assert path.read_text().splitlines()[:5] == [
        HEADER.strip(),
        "t1,''=a,b,18,0,256,duplicate,",
        "t2,'=1+1,b,08,0,0,undecidable,",
        "t3,a,b,99,,,duplicate,",
        "t4,'=1+1,b,08,0,0,undo,",
    ]
    assert [name.name for name in tmp_path.iterdir()] == ["judgements.csv"]


def test_a_judgement_is_never_taken_twice(tmp_path):
    path = tmp_path / "judgements.csv"
    with Judgements(path) as judged:
        assert judged.judge(at("a", "b"), "duplicate")
        size = path.stat().st_size
        assert not judged.judge(at("a", "b"), "not_duplicate")
        assert path.stat().st_size == size
        threads = [threading.Thread(target=judged.judge, args=(at("c", "d"), "duplicate")) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert path.read_text().count("c,d,") == 1
    assert read_judgements(path)["verdict"].tolist() == ["duplicate", "duplicate"]


def test_an_unknown_verdict_is_refused(tmp_path):
    with Judgements(tmp_path / "j.csv") as judged, pytest.raises(ValueError, match="maybe"):
        judged.judge(at("a", "b"), "maybe")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_row_cut_off_by_a_crash_is_dropped_and_the_rest_kept(tmp_path, cut):
    path = tmp_path / "judgements.csv"
    with Judgements(path) as judged:
        judged.judge(at("a", 'quote " and\nline'), "duplicate")
        whole = path.read_bytes()
        judged.judge(at("c", 'another "\nname'), "duplicate")
    path.write_bytes(path.read_bytes()[: len(whole) + min(cut, path.stat().st_size - len(whole) - 1)])
    with Judgements(path) as again:
        assert len(again) == 1
        assert path.read_bytes() == whole
        again.judge(at("c", 'another "\nname'), "not_duplicate")
    assert read_judgements(path)["verdict"].tolist() == ["duplicate", "not_duplicate"]


def test_a_header_cut_off_is_written_anew(tmp_path):
    path = tmp_path / "judgements.csv"
    path.write_text(HEADER[:9])
    with Judgements(path):
        assert path.read_text() == HEADER


def test_a_device_is_no_file_of_judgements() -> None:
    with pytest.raises(ValueError, match="'/dev/zero' is a device; name a file"):
        Judgements("/dev/zero")


@pytest.mark.parametrize(
    "content",
    [
        "image,reason\nx,y\n",
        "something",
        HEADER + "t,a,b,,0,0,perhaps,\n",
        HEADER + "t,a\n",
        HEADER + "t,a,b,,0,x,duplicate,\n",
        HEADER + "t,a,b,07,0,,duplicate,\n",
        TAGS_HEADER + "t,a,b,07,no\n",
        HEADER + "t," + "a" * 200_000 + ",b,,0,0,duplicate,\n",
    ],
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


def test_a_second_process_is_refused_on_windows(tmp_path, monkeypatch):
    """There a byte is locked, far beyond the rows, so that these can be read and written."""
    held: set[tuple[int, int]] = set()

    def locking(descriptor: int, mode: int, n_bytes: int) -> None:
        place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if place in held:
            raise OSError("locked")
        held.add(place)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with Judgements(tmp_path / "j.csv") as judged:
        judged.judge(at("a", "b"), "duplicate")
        with pytest.raises(ValueError, match="another process"):
            Judgements(tmp_path / "j.csv")
        with Judgements(tmp_path / "other.csv") as other:
            assert len(other) == 0
    assert [byte for _, byte in held] == [LOCKED_BYTE] * 2
    assert read_judgements(tmp_path / "j.csv")["verdict"].tolist() == ["duplicate"]


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
                judged.judge(at(image1, image2, -3, 7), verdict)
        expected = judged.table()
    pd.testing.assert_frame_equal(read_judgements(path), expected)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of any bytes exist on Linux only")
def test_a_name_that_is_not_utf8_survives(tmp_path):
    name = os.fsdecode(b"caf\xe9\r.jpg")
    with Judgements(tmp_path / "j.csv") as judged:
        judged.judge(at(name, "b"), "duplicate")
    assert read_judgements(tmp_path / "j.csv")["image1"].tolist() == [name]


def test_what_was_confirmed_survives_a_kill(tmp_path):
    path = tmp_path / "j.csv"
    program = (
        "import sys; from dupnet.review.judgements import Judgements; judged = Judgements(sys.argv[1])\n"
        "from dupnet.review.judgements import Judged\n"
        "for i in range(10**6):\n"
        "    judged.judge(Judged(f'{i}', 'x', 0, 0), 'duplicate'); print(i, flush=True)"
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
    columns = ["image1", "image2", "overlap_tag", "y_offset", "x_offset"]
    judged = pd.DataFrame(
        [
            ("a", "b", "07", 0, -256, "duplicate"),
            ("a", "c", "18", 0, 256, "undecidable"),
            ("b", "c", "", 3, 4, "not_duplicate"),
        ],
        columns=[*columns, "verdict"],
    )
    expected = pd.DataFrame(
        [("a", "b", "07", 0, -256, 1), ("b", "c", "", 3, 4, 0)], columns=[*columns, "is_duplicate"]
    )
    pd.testing.assert_frame_equal(labels(judged), expected)


def test_a_judgement_is_on_the_disk_when_it_is_confirmed(tmp_path, monkeypatch):
    """Every row, once it is written as a whole, is synchronised before anyone is told so."""
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), fsync(file)))
    with Judgements(tmp_path / "j.csv") as judged:
        for step in (
            lambda: judged.judge(at("a", "b"), "duplicate"),
            lambda: judged.judge(at("c", "d"), "undecidable"),
            judged.undo,
        ):
            n_before = len(synced)
            assert step()
            assert synced[n_before:] == [judged.path.stat().st_size]
