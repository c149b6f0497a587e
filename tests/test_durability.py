"""What is on the disk after a fault: a journal that names rows which are there, and no half-written file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dupnet.files.identity import Identity
from dupnet.find.cache import Cache, Entry

COLUMNS = {"code": 4, "place": 6}


class Full:
    """A file on a full disk."""

    def write(self, _: bytes) -> None:
        pass

    def flush(self) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("column", COLUMNS)
def test_the_journal_names_no_row_that_is_not_written(column: str, tmp_path: Path) -> None:
    rows = {name: np.zeros((2, width), np.uint8) for name, width in COLUMNS.items()}
    with Cache(tmp_path, {}, COLUMNS) as cache:
        cache._rows[column].close()
        cache._rows[column] = Full()
        cache.append("a.jpg", Entry(Identity(1, 2), 64, 128, 0, 2, ""), rows)
        with pytest.raises(OSError, match="No space left"):
            cache.flush()
        assert (tmp_path / "journal.jsonl").read_bytes() == b""
    with Cache(tmp_path, {}, COLUMNS) as cache:
        assert cache.entries == {}
