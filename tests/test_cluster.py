"""Addresses of schedulers; `test_distributed` loses workers, schedulers and connections."""

from __future__ import annotations

import re

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
