"""How often a peer may try to join."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.identity.region import RegionBundle
from federation.identity.statement import SignedStatement
from hub.registry.attempts import Attempts, host_of
from hub.registry.bundle import CurrentTrust
from hub.registry.service import JoinServicer
from protos.liaison.v1 import registry_pb2 as pb


def allowed(attempts: Attempts, peer: str, now: float) -> bool:
    try:
        attempts.take(peer, now)
    except LiaisonError as error:
        return error.code is not Code.TOO_MANY_REQUESTS
    return True


def test_a_peer_has_a_burst_and_then_one_attempt_every_few_seconds() -> None:
    attempts = Attempts(burst=3, seconds=6)
    assert [allowed(attempts, "p", 0.0) for _ in range(4)] == [True, True, True, False]
    assert allowed(attempts, "q", 0.0)
    assert not allowed(attempts, "p", 5.9)
    assert allowed(attempts, "p", 6.0)
    assert not allowed(attempts, "p", 6.0)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_rhythm_gets_more_than_the_burst_and_what_time_gives_back(gaps: list[float]) -> None:
    attempts, now, granted = Attempts(burst=3, seconds=6), 0.0, 0
    for gap in gaps:
        now += gap
        granted += allowed(attempts, "p", now)
    assert granted <= 3 + now / 6 + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    attempts = Attempts(burst=1, seconds=6)
    assert allowed(attempts, "p", 100.0)
    assert not allowed(attempts, "p", 0.0)


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:10.0.0.7:51234", "ipv4:10.0.0.7"), ("ipv6:%5B::1%5D:5000", "ipv6:%5B::1%5D"), ("odd", "odd")],
)
def test_the_port_does_not_make_another_peer(peer: str, host: str) -> None:
    assert host_of(peer) == host


class Context:
    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer


def join_request(application: Any) -> pb.JoinRequest:
    return pb.JoinRequest(
        secret=application.secret,
        agency=application.agency,
        node=application.node,
        tls_csr=application.tls_csr,
        signing_csr=application.signing_csr,
        node_time=application.node_time,
    )


async def test_the_join_service_lets_nobody_guess_tokens_but_a_fleet_may_join(region: Any) -> None:
    a = region.add("a")
    trust = CurrentTrust(region.hub, region.at)
    service = JoinServicer(region.issuer, region.writer, trust, lambda: region.at, Attempts(burst=2))
    for number in range(4):
        good = a.application(region.token("a").secret, region.at, f"n{number}")
        answer = await service.Join(join_request(good), Context("ipv4:10.0.0.7:1"))  # type: ignore[arg-type]
        bundle = SignedStatement.decode(answer.region_bundle)
        assert RegionBundle.decode(bundle.payload).region == "delta"
        assert len(answer.tls_chain) == 2
    codes = []
    for port in range(4):
        bad = a.application("guess", region.at)
        with pytest.raises(LiaisonError) as caught:
            await service.Join(join_request(bad), Context(f"ipv4:10.0.0.8:{port}"))  # type: ignore[arg-type]
        codes.append(caught.value.code)
    assert codes == [Code.TOKEN_INVALID] * 2 + [Code.TOO_MANY_REQUESTS] * 2
