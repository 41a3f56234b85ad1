"""The hub's own TLS certificate: made at `init`, made anew by the running hub from the middle of its life."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from federation.identity.certificates import (
    Authority,
    half_life,
    make_tls_certificate,
    parse_certificate,
    pem,
)
from federation.identity.keys import new_tls_key, private_pem
from federation.identity.spiffe import SpiffeId
from hub.config import Hub, TlsIdentity, read_file
from hub.registry.bundle import replace_file


def make_tls(
    region: str,
    issuing: Authority,
    root: x509.Certificate,
    hosts: tuple[str, ...],
    life: timedelta,
    at: datetime,
) -> TlsIdentity:
    """A fresh key with its certificate for the hub."""
    key = new_tls_key()
    leaf = make_tls_certificate(SpiffeId.hub(region), key.public_key(), issuing, at, hosts=hosts, life=life)
    return TlsIdentity(private_pem(key), pem(leaf, issuing.certificate, root), pem(root))


def current_tls(hub: Hub, at: datetime) -> TlsIdentity:
    """What the hub's servers show now; a certificate past the middle of its life is replaced first, key and all."""
    leaf = parse_certificate(read_file(hub.home / "certs" / "tls.pem"))
    if at < half_life(leaf):
        return hub.load_tls()
    fresh = make_tls(hub.region, hub.load_issuing(), hub.root(), hub.settings.hosts, hub.tls_life, at)
    # Two files cannot change in one step. The certificate, by whose dates this decides, comes last: after a crash
    # between the two, the next start makes both anew.
    replace_secret(hub.home / "keys" / "tls.key", fresh.key)
    replace_file(hub.home / "certs" / "tls.pem", fresh.chain)
    return fresh


def replace_secret(path: Path, data: bytes) -> None:
    """Put a secret file in the place of another in one step; mode 0600 from its first byte."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
