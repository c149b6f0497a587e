"""find on a real Dask cluster, three workers and a scheduler: the result of one machine, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import s3fs
from distributed import Client
from test_find import TABLES, acquisition, table_bytes
from test_sharded import pictures

from dupnet.acquisitions.scenes import cut_collection
from dupnet.cluster import scheduler as cluster_module
from dupnet.cluster.distributed import find_on_cluster
from dupnet.files.leases import FILE
from dupnet.files.storage import Folder
from dupnet.find.engine import find_overlaps

N_IMAGES = 25
SMALL = {"images_a_task": 1, "tiles_a_part": 4, "exact_up_to": 10}
"""Options that make many tasks of few images, in hash tables."""

STEPS = {"describe": "shards-*/*.json", "hash": "search-*/hashed-*", "search": "search-*/pair-*"}
"""What the tasks of each step write."""

SECONDS = 300
"""Until what is waited for must have come about."""


class Cluster:
    """Processes as `dask scheduler` and `dask worker` start them."""

    def __init__(self, work: Path, **environment: str) -> None:
        self.work = work
        self.environment = {
            **os.environ,
            **environment,
            "OMP_NUM_THREADS": "1",
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--no-dashboard",
        )

    def start_workers(self) -> None:
        """Bring their number to three, and wait until the scheduler knows them."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        folder = self.work / "workers"
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
        while len(self.workers) < 3:
            self.workers.append(self._start("distributed.cli.dask_worker", self.address, *options))
        with Client(self.address, timeout=SECONDS, set_as_default=False) as client:
            client.wait_for_workers(3, timeout=SECONDS)

    def _start(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        with open(self.work / "cluster.log", "ab") as log:
            command = [sys.executable, "-m", module, *options]
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


class Way:
    """The way from a client to a scheduler, which can be cut: a port that hands bytes on to another."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self.sockets: list[socket.socket] = []
        self.connections = 0
        self.open()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def open(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def cut(self) -> None:
        for one in (self.listener, *self.sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.sockets = []

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # of a listener that was closed
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                self.sockets += [near, far]
                self.connections += 1
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._hand_on, args=ends, daemon=True).start()

    @staticmethod
    def _hand_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small acquisition, cut, with a few files that are no images."""
    folder = tmp_path_factory.mktemp("collection")
    cut_collection(acquisition(3)[:448, :448], folder, n_images=N_IMAGES, image_size=192, stride=64)
    images = folder / "images"
    (images / "empty.jpg").touch()
    (images / "notes").write_text("no image")
    (images / "with space,comma.jpg").write_bytes(next(images.glob("*.jpg")).read_bytes())
    return images


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of a run on this machine alone."""
    out = tmp_path_factory.mktemp("local")
    find_overlaps(images, out=out, tile_size=64, report=False)
    tables = table_bytes(out)
    assert tables["overlaps.csv"].count(b"\n") > 50
    assert tables["unreadable.csv"].count(b"\n") == 3
    return tables


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(processes: Cluster) -> Cluster:
    """A scheduler and three workers; those that a test before has lost are replaced."""
    processes.start_workers()
    return processes


class Run(threading.Thread):
    """A run in a thread of its own, and what became of it."""

    def __init__(self, images: object, cluster: Cluster | Way, out: object, **options: Any) -> None:
        super().__init__(daemon=True)
        self.work = lambda: find_on_cluster(images, cluster.address, out=out, **{"tile_size": 64, **options})
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        self.join(SECONDS)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


@dataclass
class Bench:
    """A cluster, images, a folder for what is found, and the tables of a run on this machine alone."""

    cluster: Cluster
    images: Path
    out: Path
    expected: dict[str, bytes]
    tally: Callable[..., None]

    def start(self, way: Way | None = None) -> Run:
        return Run(self.images, way or self.cluster, self.out, report=False, **SMALL)

    def tell(self, case: str, differences: int, **killed: int) -> None:
        """Show and keep the counts of one run."""
        counts = {"workers_killed": 0, "schedulers_killed": 0, "clients_killed": 0, **killed}
        inputs = len(os.listdir(self.images))
        self.tally("distributed", case=case, inputs=inputs, **counts, differences=differences)

    def conclude(self, case: str, **killed: int) -> None:
        """Compare the tables with those of one machine."""
        tables = table_bytes(self.out)
        self.tell(case, sum(content != self.expected[name] for name, content in tables.items()), **killed)
        assert tables == self.expected

    def count(self, pattern: str) -> int:
        """Files of the cache."""
        return len(list((self.out / "cache").glob(pattern)))

    def is_unfinished(self, step: str) -> bool:
        """Whether files of a step are still missing."""
        n_parts = self.count("search-*/part-*.npz")
        n_files = {"describe": N_IMAGES + 1, "hash": n_parts, "search": n_parts * (n_parts + 1) // 2}
        return self.count(STEPS[step]) < n_files[step]


@pytest.fixture
def bench(
    cluster: Cluster, images: Path, expected: dict[str, bytes], tmp_path: Path, tally: Callable[..., None]
) -> Bench:
    return Bench(cluster, images, tmp_path / "out", expected, tally)


def wait_for(condition: Callable[[], object], run: Run | subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if isinstance(run, Run):
            assert run.is_alive(), f"the run ended before: {run.error}"
        else:
            assert run.poll() is None, f"the run ended before: exit status {run.returncode}"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def lose(worker: subprocess.Popen[bytes], when: Callable[[], object], run: Run) -> None:
    """Stop a worker, which keeps the tasks it has; let the others go on for a while; then kill it."""
    worker.send_signal(signal.SIGSTOP)
    wait_for(when, run)
    worker.kill()
    worker.wait()


@pytest.mark.distributed
def test_the_same_bytes_and_what_follows(bench: Bench) -> None:
    bench.start().finish()
    assert table_bytes(bench.out) == bench.expected
    assert bench.count("shards-*/*.json") == N_IMAGES + 1
    # Other portions, every pair compared, and nothing described again.
    written = {path: path.stat().st_mtime_ns for path in bench.out.glob("cache/shards-*/*")}
    options = {"tile_size": 64, "report": False, "tiles_a_part": 70}
    find_on_cluster(bench.images, bench.cluster.address, out=bench.out, **options)
    assert bench.count("search-*/hashed-*") == 0
    assert {path: path.stat().st_mtime_ns for path in bench.out.glob("cache/shards-*/*")} == written
    bench.conclude("undisturbed")


@pytest.mark.distributed
def test_a_worker_lost_while_it_describes(bench: Bench) -> None:
    run = bench.start()
    wait_for(lambda: bench.count("shards-*/*.json") >= 2, run)
    lose(bench.cluster.workers[0], lambda: bench.count("shards-*/*.json") >= 4, run)
    assert bench.count("search-*/*") == 0
    run.finish()
    bench.conclude("a worker killed while it describes", workers_killed=1)


@pytest.mark.distributed
def test_a_worker_lost_while_it_searches(bench: Bench) -> None:
    run = bench.start()
    wait_for(lambda: bench.count("search-*/pair-*") >= 1, run)
    lose(bench.cluster.workers[1], lambda: bench.count("search-*/pair-*") >= 3, run)
    assert bench.is_unfinished("search")
    run.finish()
    bench.conclude("a worker killed while it searches", workers_killed=1)


@pytest.mark.distributed
@pytest.mark.parametrize("step", STEPS)
def test_the_scheduler_lost_and_regained(step: str, bench: Bench) -> None:
    run = bench.start()
    wait_for(lambda: bench.count(STEPS[step]) >= 3, run)
    bench.cluster.scheduler.kill()
    bench.cluster.scheduler.wait()
    assert bench.is_unfinished(step)
    for worker in bench.cluster.workers:
        worker.kill()
        worker.wait()
    bench.cluster.start_scheduler()
    bench.cluster.start_workers()
    run.finish()
    case = f"scheduler and all workers killed, step {step}"
    bench.conclude(case, workers_killed=3, schedulers_killed=1)


@pytest.mark.distributed
@pytest.mark.parametrize("step", STEPS)
def test_the_client_killed_and_started_again(step: str, bench: Bench) -> None:
    arguments = f"{str(bench.images)!r}, {bench.cluster.address!r}, out={str(bench.out)!r}"
    options = {"tile_size": 64, "report": False, **SMALL}
    command = (
        f"from dupnet.cluster.distributed import find_on_cluster; find_on_cluster({arguments}, **{options})"
    )
    client = subprocess.Popen([sys.executable, "-c", command])
    wait_for(lambda: bench.count(STEPS[step]) >= 3, client)
    client.kill()
    client.wait()
    assert bench.is_unfinished(step)
    bench.start().finish()
    bench.conclude(f"the client killed and started again, step {step}", clients_killed=1)


@pytest.mark.distributed
@pytest.mark.parametrize("step", STEPS)
def test_the_way_to_the_scheduler_lost_and_regained(step: str, bench: Bench) -> None:
    """Scheduler and workers live, and the client does not reach them for a while."""
    way = Way(bench.cluster.port)
    run = bench.start(way)
    wait_for(lambda: bench.count(STEPS[step]) >= 3, run)
    way.cut()
    before = way.connections
    assert bench.is_unfinished(step)
    time.sleep(2)
    assert run.is_alive()
    way.open()
    run.finish()
    assert way.connections > before
    way.cut()
    assert all(worker.poll() is None for worker in (*bench.cluster.workers, bench.cluster.scheduler))
    bench.conclude(f"connection to the scheduler cut, step {step}")


ANY_OFFSET = {"tile_size": None, "report": False, "images_a_task": 1, "points_a_slice": 400}
"""Options of a search at any offset that make many small tasks."""


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops at random places."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(4)
    ground = acquisition(2)
    for number in range(N_IMAGES):
        y, x = rng.integers(0, 300, 2).tolist()
        cv2.imwrite(str(folder / f"{number:02d}.jpg"), ground[y : y + 200, x : x + 212])
    return folder


@pytest.fixture(scope="module")
def expected_of_crops(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("local")
    find_overlaps(crops, out=out, report=False)
    assert table_bytes(out)["overlaps.csv"].count(b"\n") > 50
    return table_bytes(out)


@pytest.fixture
def any_offset(bench: Bench, crops: Path, expected_of_crops: dict[str, bytes]) -> Bench:
    return replace(bench, images=crops, expected=expected_of_crops)


ANY_STEPS: dict[str, Callable[[Bench], bool]] = {
    "describe": lambda bench: bench.count("points-*/*.json") >= 3,
    "join": lambda bench: bench.count("join/*.pairs") >= 3,
    "judge": lambda bench: 0 < bench.count("join/*.points") == bench.count("join/*.pairs"),
}
"""Whether the tasks of a step are at work."""


@pytest.mark.distributed
@pytest.mark.parametrize("step", ANY_STEPS)
def test_any_offset_with_a_worker_lost(step: str, any_offset: Bench) -> None:
    run = Run(any_offset.images, any_offset.cluster, any_offset.out, **ANY_OFFSET)
    wait_for(lambda: ANY_STEPS[step](any_offset), run)
    any_offset.cluster.workers[2].kill()
    run.finish()
    any_offset.conclude(f"any offset, a worker killed, step {step}", workers_killed=1)


@pytest.mark.distributed
@pytest.mark.parametrize("step", ANY_STEPS)
def test_any_offset_with_the_client_killed(step: str, any_offset: Bench) -> None:
    arguments = f"{str(any_offset.images)!r}, {any_offset.cluster.address!r}, out={str(any_offset.out)!r}"
    command = f"import dupnet.cluster; dupnet.cluster.find_on_cluster({arguments}, **{ANY_OFFSET})"
    client = subprocess.Popen([sys.executable, "-c", command])
    wait_for(lambda: ANY_STEPS[step](any_offset), client)
    client.kill()
    client.wait()
    assert not (any_offset.out / "run.json").exists()
    Run(any_offset.images, any_offset.cluster, any_offset.out, **ANY_OFFSET).finish()
    any_offset.conclude(f"any offset, the client killed and started again, step {step}", clients_killed=1)


@pytest.mark.distributed
def test_any_offset_with_the_scheduler_lost(any_offset: Bench) -> None:
    run = Run(any_offset.images, any_offset.cluster, any_offset.out, **ANY_OFFSET)
    wait_for(lambda: ANY_STEPS["join"](any_offset), run)
    any_offset.cluster.scheduler.kill()
    any_offset.cluster.scheduler.wait()
    for worker in any_offset.cluster.workers:
        worker.kill()
        worker.wait()
    any_offset.cluster.start_scheduler()
    any_offset.cluster.start_workers()
    run.finish()
    case = "any offset, scheduler and all workers killed, step join"
    any_offset.conclude(case, workers_killed=3, schedulers_killed=1)


@pytest.mark.distributed
def test_a_task_that_fails_is_tried_three_times_more(cluster: Cluster, tmp_path: Path) -> None:
    def work(folder: str, number: int, n_failures: int) -> int:
        tries = sum(name.startswith(f"{number}-") for name in os.listdir(folder))
        with open(f"{folder}/{number}-{tries}", "x"):
            if tries < n_failures:
                raise OSError("the store does not answer")
        return number

    def tries_of(number: int) -> int:
        return len(list(tmp_path.glob(f"{number}-*")))

    folder = os.fspath(tmp_path)
    with cluster_module.Cluster(cluster.address) as workers:
        assert workers.run(work, [(folder, number, number % 4) for number in range(6)], "work") == [*range(6)]
        assert [tries_of(number) for number in range(6)] == [1, 2, 3, 4, 1, 2]
        with pytest.raises(OSError, match="the store does not answer"):
            workers.run(work, [(folder, 9, 4)], "work")
        assert tries_of(9) == 4


def second_run_stops(cluster: Cluster, bucket: str, work: Path) -> None:
    """Of two commands on one folder of the store the second stops; the first one's results stand."""
    with open(work / "first.log", "w+", encoding="utf-8") as log:
        command = [
            sys.executable,
            "-m",
            "dupnet.commands.cli",
            "find",
            f"{bucket}/images",
            "--out",
            f"{bucket}/two",
        ]
        command += ["--tile-size", "64", "--scheduler", cluster.address, "--quiet"]
        first = subprocess.Popen(command, env=cluster.environment, stdout=log)
        try:
            folder = Folder(f"{bucket}/two/cache")
            end = time.monotonic() + SECONDS
            while FILE not in folder.files():
                assert first.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
            for worker in cluster.workers:  # so that the first cannot end before the second is through
                worker.send_signal(signal.SIGSTOP)
            second = subprocess.run(
                command, env=cluster.environment, capture_output=True, text=True, check=False, timeout=SECONDS
            )
            assert second.returncode == 2
            assert f"process {first.pid} of {socket.gethostname()}" in second.stderr
            for worker in cluster.workers:
                worker.send_signal(signal.SIGCONT)
            first.wait(SECONDS)
        finally:
            first.kill()
            first.wait()
        log.seek(0)
        assert first.returncode == 0
        assert log.read().endswith(f"Results: {bucket}/two/report.html\n")


@pytest.mark.distributed
def test_images_and_results_in_a_store(
    bucket: str, images: Path, expected: dict[str, bytes], tmp_path: Path, tally: Callable[..., None]
) -> None:
    """S3, as moto's server speaks it: the same tables, and nothing is described twice."""
    name = bucket.removeprefix("s3://")
    cluster = Cluster(tmp_path)
    try:
        files = s3fs.S3FileSystem(skip_instance_cache=True)
        for path in images.iterdir():
            files.pipe_file(f"{name}/images/{path.name}", path.read_bytes())
        cluster.start_workers()
        find = partial(find_on_cluster, f"{bucket}/images", cluster.address, tile_size=64)
        result = find(out=f"{bucket}/out", images_a_task=9, tiles_a_part=70)
        assert result.folders == ()
        assert {table: files.cat_file(f"{name}/out/{table}") for table in TABLES} == expected
        assert json.loads(files.cat_file(f"{name}/out/run.json"))["counts"] == dict(result.counts)
        local = tmp_path / "local"
        find_overlaps(images, out=local, tile_size=64)
        written = sorted((local / "mosaics").iterdir())
        assert [path.rpartition("/")[2] for path in sorted(files.find(f"{name}/out/mosaics"))] == [
            path.name for path in written
        ]
        for path in written:
            assert files.cat_file(f"{name}/out/mosaics/{path.name}") == path.read_bytes()
        report = files.cat_file(f"{name}/out/report.html").decode()
        assert pictures(report) == pictures((local / "report.html").read_text())
        assert not files.exists(f"{name}/out/cache/lease.json")
        shards = files.find(f"{name}/out/cache", detail=True)
        files.rm_file(f"{name}/out/overlaps.csv")
        find(out=f"{bucket}/out", images_a_task=9, tiles_a_part=70)
        assert files.cat_file(f"{name}/out/overlaps.csv") == expected["overlaps.csv"]
        again = files.find(f"{name}/out/cache", detail=True)
        changed = {path for path in again if again[path]["LastModified"] != shards[path]["LastModified"]}
        assert changed == {f"{name}/out/cache/collection.json"}
        second_run_stops(cluster, bucket, tmp_path)
        differences = sum(files.cat_file(f"{name}/two/{table}") != expected[table] for table in TABLES)
        Bench(cluster, images, local, expected, tally).tell("S3, a second run refused", differences)
        assert not differences
    finally:
        cluster.close()
