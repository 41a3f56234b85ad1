"""Joining a hub with a one-time token: look who answers, and only then show the secret.

The hub's root is fetched by a TLS handshake in which nothing is sent, compared with the fingerprint in the token, and
from then on it is the only thing trusted. The home changes last, so that a join that fails leaves it as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL

from agency_node.config import Node, load_node, set_entries, write_atomically
from agency_node.link.channel import call_errors, open_anonymous_channel
from agency_node.link.clock import check_hub_clock
from agency_node.link.membership import CALL_SECONDS
from agency_node.link.renew import check_tls_chain
from agency_node.link.trust import load_trust
from federation.canonical import stamp, unstamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import make_csr, pem, root_fingerprint
from federation.identity.keys import fingerprint, load_tls_key
from federation.identity.region import Trust
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement
from federation.identity.token import JoinToken
from protos.liaison.v1 import registry_pb2 as pb
from protos.liaison.v1 import registry_pb2_grpc as rpc


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining gave: the node as its home says now, and the fingerprint that the coordinator must confirm."""

    node: Node
    fingerprint: str


async def join(node: Node, token_line: str, now: datetime) -> Joined:
    """Join the hub that the token names, or join it again with a new token.

    Raises LiaisonError(TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_USED, ROOT_MISMATCH, CERTIFICATE_INVALID, CLOCK_SKEW,
    HUB_UNREACHABLE); the home is then as it was.
    """
    token = _checked_token(node, token_line, now)
    root = find_root(await asyncio.to_thread(shown_by, token.join), token.root)
    identity = SpiffeId.of_node(token.region, node.agency, node.node)
    tls_key = load_tls_key(node.tls_key_path)
    agency = SpiffeId.of_agency(token.region, node.agency)
    agency_key = _agency_key(node)
    request = pb.JoinRequest(
        secret=token.secret,
        agency=node.agency,
        node=node.node,
        tls_csr=make_csr(identity, tls_key),
        signing_csr=make_csr(agency, agency_key),
        node_time=stamp(now),
    )
    async with open_anonymous_channel(token.join, pem(root)) as channel:
        stub = rpc.JoinServiceStub(channel)  # type: ignore[no-untyped-call]
        with call_errors():
            response = await stub.Join(request, timeout=CALL_SECONDS)
    check_hub_clock(response.hub_time, now)
    chain = check_tls_chain(response.tls_chain, root, identity, tls_key.public_key(), now)
    _check_bundle(node, token, root, response.region_bundle, now)
    _settle(node, token, root, chain, response.region_bundle)
    return Joined(load_node(node.home), fingerprint(agency_key.public_key()))


def find_root(shown: Sequence[x509.Certificate], expected: str) -> x509.Certificate:
    """The certificate with that fingerprint (`sha256:<hex>`) among those a hub has shown, if it is self-signed.

    Raises LiaisonError(ROOT_MISMATCH).
    """
    for certificate in shown:
        if root_fingerprint(certificate) == expected and certificate.issuer == certificate.subject:
            return certificate
    raise LiaisonError(Code.ROOT_MISMATCH)


def shown_by(address: str, seconds: float = CALL_SECONDS) -> list[x509.Certificate]:
    """The certificates that whoever listens at `host:port` shows in a TLS handshake; nothing else is sent.

    None of them is to be believed. Blocks for at most `seconds` twice. Raises LiaisonError(HUB_UNREACHABLE).
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([b"h2"])
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as plain:
            return _handshake(context, plain, host, seconds)
    except (OSError, SSL.Error, ValueError, OverflowError) as error:
        raise LiaisonError(Code.HUB_UNREACHABLE, f"Nobody speaks TLS at {address}.") from error


def _handshake(
    context: SSL.Context, plain: socket.socket, host: str, seconds: float
) -> list[x509.Certificate]:
    plain.setblocking(False)
    connection = SSL.Connection(context, plain)
    connection.set_tlsext_host_name(host.encode("idna"))
    connection.set_connect_state()
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.do_handshake()
            break
        except SSL.WantReadError:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([plain], [], [], remaining)[0]:
                raise TimeoutError from None
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    with contextlib.suppress(SSL.Error):
        connection.shutdown()
    return list(chain)


def _checked_token(node: Node, line: str, now: datetime) -> JoinToken:
    token = JoinToken.decode(line)
    if token.agency != node.agency:
        raise LiaisonError(
            Code.TOKEN_INVALID, f"It is for {token.agency}, and this node is of {node.agency}."
        )
    try:
        expired = now >= unstamp(token.expires)
    except LiaisonError as error:
        raise LiaisonError(Code.TOKEN_INVALID) from error
    if expired:
        raise LiaisonError(Code.TOKEN_EXPIRED)
    return token


def _agency_key(node: Node) -> Ed25519PrivateKey:
    signer = node.signer()
    if not isinstance(signer, Ed25519PrivateKey):
        raise LiaisonError(Code.KEY_UNREADABLE, "Joining needs the agency's key as a file.")
    return signer


def _check_bundle(node: Node, token: JoinToken, root: x509.Certificate, bundle: bytes, now: datetime) -> None:
    """The region's bundle must verify, and where this home knows the same region already, not be older."""
    signed = SignedStatement.decode(bundle)
    known = load_trust(node, now) if node.joined and node.region == token.region else None
    if known is not None and known.root == root:
        known.update(signed, now)
    else:
        Trust.begin(token.region, root, signed, now)


def _settle(
    node: Node, token: JoinToken, root: x509.Certificate, chain: Sequence[x509.Certificate], bundle: bytes
) -> None:
    """Write what joining brought; the settings last, since they make the node a member."""
    node.root_path.parent.mkdir(mode=0o700, exist_ok=True)
    if node.root_path.exists() and node.root_path.read_bytes() != pem(root):
        node.signing_certificate_path.unlink(missing_ok=True)
    write_atomically(node.root_path, pem(root))
    write_atomically(node.bundle_path, bundle)
    write_atomically(node.tls_chain_path, pem(*chain))
    settings = node.settings_path.read_text(encoding="utf-8")
    entries = {"region": token.region, "broker": token.broker, "join": token.join}
    write_atomically(node.settings_path, set_entries(settings, entries).encode())
