"""A running hub and its commands beside it: real processes, real TLS, the offline keys away."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from federation.canonical import stamp
from federation.errors import Code
from federation.identity.certificates import make_csr, parse_certificate, pem
from federation.identity.keys import fingerprint, new_signing_key, new_tls_key, private_pem
from federation.identity.spiffe import SpiffeId
from federation.identity.token import JoinToken
from federation.wire import CODE_KEY
from protos.liaison.v1 import registry_pb2 as pb
from protos.liaison.v1 import registry_pb2_grpc as rpc

Hub = Callable[..., Any]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def code_of(error: grpc.RpcError) -> str:
    return dict(error.trailing_metadata() or ()).get(CODE_KEY, "")  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_node_joins_is_confirmed_and_revoked_while_the_hub_runs_without_its_offline_keys(
    hub: Hub, tmp_path: Path
) -> None:
    broker, joining, stick = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", tmp_path / "stick"
    assert hub("init", "--region", "delta", "--listen", broker, "--join-listen", joining).code == 0
    home = tmp_path / "home"
    shutil.move(home / "offline", stick)
    process = subprocess.Popen(
        [sys.executable, "-c", "from hub.cli import main; main()", "--home", str(home), "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"] is True
        hub("agency", "add", "a", "--name", "Agency A")
        token = JoinToken.decode(hub("token", "a").out)
        root = (home / "certs" / "root.pem").read_bytes()
        signing, tls = new_signing_key(), new_tls_key()
        request = pb.JoinRequest(
            secret=token.secret,
            agency="a",
            node="main",
            tls_csr=make_csr(SpiffeId.of_node("delta", "a", "main"), tls),
            signing_csr=make_csr(SpiffeId.of_agency("delta", "a"), signing),
            node_time=stamp(datetime.now(UTC)),
        )
        with grpc.secure_channel(token.join, grpc.ssl_channel_credentials(root)) as channel:
            join = rpc.JoinServiceStub(channel).Join
            joined = join(request, timeout=20)
            with pytest.raises(grpc.RpcError) as caught:
                join(request, timeout=20)
            assert code_of(caught.value) == Code.TOKEN_USED.value
        chain = pem(*map(parse_certificate, joined.tls_chain))
        credentials = grpc.ssl_channel_credentials(root, private_pem(tls), chain)
        with grpc.secure_channel(token.broker, credentials) as channel:
            stub = rpc.RegistryServiceStub(channel)
            assert stub.Membership(pb.MembershipRequest(), timeout=20).confirmed is False
            read_out = fingerprint(signing.public_key())
            confirm = ("agency", "confirm", "a", "--fingerprint", read_out, "--offline", stick)
            assert hub(*confirm).code == 0
            member = stub.Membership(pb.MembershipRequest(), timeout=20)
            assert (member.confirmed, member.fingerprint) == (True, read_out)
            csr = make_csr(SpiffeId.of_node("delta", "a", "main"), new_tls_key())
            assert len(stub.Renew(pb.RenewRequest(tls_csr=csr), timeout=20).tls_chain) == 2
            assert hub("agency", "revoke-node", "a", "main", "--because", "Stolen.").code == 0
            with pytest.raises(grpc.RpcError) as caught:
                stub.Membership(pb.MembershipRequest(), timeout=20)
            assert code_of(caught.value) == Code.CERTIFICATE_REVOKED.value
        assert hub("status", "--json").json["nodes"][0]["revoked"] is True
        assert hub("log", "verify").code == 0
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
