"""Addresses of schedulers; `test_distributed` loses workers, schedulers and connections."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from dupnet.cluster.scheduler import Cluster


@pytest.mark.parametrize(
    "address", ["", "foo", ":8786", "tcp://foo", "foo:port", "foo:99999", "foo://foo:8786", "tcp://foo:80/x"]
)
def test_what_is_no_address_is_refused_before_a_client_is_made(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: pytest.fail("a client was made"))
    with pytest.raises(ValueError, match=rf"^'{re.escape(address)}' is no address.*--scheduler"):
        Cluster(address).__enter__()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "tcp://127.0.0.1:9", "tcp://[::1]:9"])
def test_addresses_of_either_kind_are_tried(address: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(OSError, match="dask scheduler"), Cluster(address, patience=0.1):
        pass


def test_a_lost_scheduler_is_told_of_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is the result's, which may be JSON."""

    def lost(*_: object, **__: object) -> None:
        raise OSError("no route")

    cluster = Cluster("tcp://127.0.0.1:9")
    cluster._client = SimpleNamespace(submit=lost, status="closed", loop=None)
    assert list(cluster._results(abs, [(1,)], [0])) == []
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "dupnet: no route\n")
