"""Settings that all tests share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports them: no window, no log lines, one thread to each of the parallel test processes.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings

# The same examples on every run, and no verdict by the clock: a slow machine is not a defect.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function ``tally(NAME, count=..., ...)`` that shows counts, whatever pytest captures.

    Where the variable DUPNET_COUNTS names a folder, as in the Makefile, they are also written to NAME.csv
    there; with a ``case``, they take the place of that case's row.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(name: str, **counts: object) -> None:
        words = ", ".join(f"{key.replace('_', ' ')} {count}" for key, count in counts.items())
        with capture.global_and_fixture_disabled():
            print(f"\n{name}: {words}")
        if folder := os.environ.get("DUPNET_COUNTS"):
            path = Path(folder, f"{name}.csv")
            rows = pd.DataFrame([counts])
            if path.exists() and "case" in counts:
                known = pd.read_csv(path)
                rows = pd.concat([known[known["case"] != counts["case"]], rows]).sort_values("case")
                rows = rows.convert_dtypes()  # counts that a case lacks make no fractions of the others
            rows.to_csv(path, index=False, lineterminator="\n")

    return show


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an empty bucket, which moto's server keeps; the environment says how to get there."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in store.items():
            environment.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # one may be connected to another test's server
        name = f"bucket-{uuid.uuid4().hex}"  # moto's servers of one process share what they hold
        s3fs.S3FileSystem().mkdir(name)
        yield f"s3://{name}"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
