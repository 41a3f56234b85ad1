"""The one way in which a node speaks to its hub: gRPC over mutual TLS, and errors of the catalogue.

The channel trusts the region's root alone, pinned at joining. TLS checks that the hub's certificate leads to that
root, names the host that was dialed and is meant for servers. Nodes' certificates are meant for clients only, so no
node can stand in for the hub; which is why no further look at the hub's SPIFFE id is needed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import grpc
import grpc.aio

from agency_node.config import Node
from federation.errors import Code, LiaisonError
from federation.identity.certificates import parse_certificate
from federation.identity.keys import read_secret
from federation.wire import CLIENT_OPTIONS, CODE_KEY

_LONGEST_DETAIL = 500
_WITHOUT_CODE = {
    grpc.StatusCode.UNAVAILABLE: Code.HUB_UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Code.HUB_UNREACHABLE,
    grpc.StatusCode.CANCELLED: Code.HUB_UNREACHABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Code.MESSAGE_TOO_LARGE,
}


def open_channel(node: Node, now: datetime | None = None) -> grpc.aio.Channel:
    """A channel to the hub's broker with the node's certificate; connects at the first call.

    Raises LiaisonError(IDENTITY_UNKNOWN) before the node has joined, LiaisonError(CERTIFICATE_INVALID) when its
    certificate has run out.
    """
    if not node.joined or node.broker is None:
        raise LiaisonError(Code.IDENTITY_UNKNOWN, "This node has not joined a hub yet.")
    chain = _read(node.tls_chain_path)
    expiry = parse_certificate(chain).not_valid_after_utc
    if (now or datetime.now(UTC)) > expiry:
        raise LiaisonError(
            Code.CERTIFICATE_INVALID, f"This node's TLS certificate ended on {expiry:%Y-%m-%d}."
        )
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(node.root_path),
        private_key=read_secret(node.tls_key_path),
        certificate_chain=chain,
    )
    return grpc.aio.secure_channel(node.broker, credentials, options=list(CLIENT_OPTIONS))


def open_anonymous_channel(address: str, root_pem: bytes) -> grpc.aio.Channel:
    """A channel for joining: the hub shows a certificate of that root, the node has none yet."""
    credentials = grpc.ssl_channel_credentials(root_certificates=root_pem)
    return grpc.aio.secure_channel(address, credentials, options=list(CLIENT_OPTIONS))


@contextmanager
def call_errors() -> Iterator[None]:
    """Turn gRPC's errors into the catalogue's."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise as_liaison(error) from error


def as_liaison(error: grpc.aio.AioRpcError) -> LiaisonError:
    """The catalogue's error that the hub meant, or the one that fits a call which never reached it.

    Codes that this version does not know become INTERNAL. What the hub says is shown to people, so it is cut to
    printable characters and a sane length.
    """
    # The published stubs describe the synchronous API's metadata; grpc.aio gives pairs.
    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    named = next((value for key, value in metadata if key == CODE_KEY), None)
    detail = "".join(sign for sign in error.details() or "" if sign.isprintable())[:_LONGEST_DETAIL]
    if named is None:
        code = _WITHOUT_CODE.get(error.code(), Code.INTERNAL)
        return LiaisonError(code, "" if code is Code.HUB_UNREACHABLE else f"gRPC says {error.code().name}.")
    try:
        return LiaisonError(Code(named), detail)
    except ValueError:
        return LiaisonError(Code.INTERNAL, detail)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LiaisonError(Code.CERTIFICATE_INVALID, f"{path.name} cannot be read.") from error
