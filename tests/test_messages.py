"""What GDAL says reaches the reader of a file in one plain line, and nobody else."""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path

import pytest

from dupnet.images.messages import cause_of, ignore_missing_georeference, listening, plain


def chained() -> BaseException:
    """An error that came of another, as rasterio raises them."""
    try:
        try:
            raise ValueError("CPLE_AppDefined in a.tif: the strip is cut off.")
        except ValueError as error:
            raise OSError("Read failed. See previous exception for details.") from error
    except OSError as error:
        return error


def test_the_cause_is_the_first_error_that_says_something() -> None:
    assert cause_of(chained(), "a.tif") == "the strip is cut off"
    assert cause_of(ValueError(""), "a.tif") == "ValueError"
    try:
        try:
            raise KeyError("tags")
        except KeyError:
            raise OSError("  ") from None
    except OSError as error:
        assert cause_of(error, "a.tif") == "'tags'"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("CPLE_OpenFailed in x/a.tif: not a\n  TIFF.", "not a TIFF"),
        ("/vsimem/0f3a-b: cannot be read", "cannot be read"),
        ("a.tif: bad tag", "bad tag"),
        ("a.tif, band 1: IReadBlock failed", "band 1: IReadBlock failed"),
        ("other.tif: bad tag", "other.tif: bad tag"),
        ("CPLE_AppDefined in strip 3", "strip 3"),
    ],
)
def test_a_message_without_the_name_of_the_file(message: str, said: str) -> None:
    assert plain(message, Path("x", "a.tif")) == said


def test_no_name_where_there_are_bytes_alone() -> None:
    assert plain("cut off at /vsimem/0f, again.", b"II*\0") == "cut off at image, again"
    whole = str(Path("x", "a.tif").absolute())
    assert plain(f"{whole}: cut off in {whole}", Path("x", "a.tif")) == "cut off in image"


def test_each_thread_hears_its_own(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("rasterio._env")
    with listening() as outer:
        log.warning("first")
        with listening() as inner:
            log.error("second")
            log.info("not worth a word")
        log.warning("third")
        other = threading.Thread(target=log.warning, args=("of nobody",))
        other.start()
        other.join()
    log.warning("after")
    assert outer == ["first", "third"] and inner == ["second"]
    assert [record.getMessage() for record in caplog.records] == ["of nobody", "after"]


def test_an_image_without_a_georeference_is_nothing_to_warn_of() -> None:
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ignore_missing_georeference()
        n_filters = len(warnings.filters)
        ignore_missing_georeference()
        assert len(warnings.filters) == n_filters
        warnings.warn("no transform", NotGeoreferencedWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["something else"]
