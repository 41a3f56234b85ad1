"""Founding a region: its root, its coordinator, its hub, its log, and the first bundle; all of it or nothing.

Everything is made in a folder beside the home and put in place by a rename, the offline keys first, when they
go elsewhere. A crash leaves at most a folder whose name ends in `.unfinished`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.errors import Code, LiaisonError
from federation.identity.certificates import (
    Authority,
    der,
    make_issuing,
    make_root,
    make_signing_certificate,
    pem,
    root_fingerprint,
)
from federation.identity.keys import new_signing_key, new_tls_key, private_pem, write_secret
from federation.identity.spiffe import SpiffeId
from federation.log import NoteSigner
from hub.config import Hub, Settings, load_hub, log_origin, parse_duration
from hub.registry.bundle import compose, log_bundle, sign_bundle, write_policies
from hub.registry.tls import make_tls
from hub.store.writer import Writer

_FIRST_POLICY = """\
# What the whole region refuses, requires and limits. It never permits: agencies do, in their own files.
liaison: region/v1
region: {region}
version: 1
require: [case-number]
limits: {{candidates: 50}}
"""


@dataclass(frozen=True, slots=True)
class Founded:
    """What people must write down: the root's fingerprint and the log's public key (C2SP vkey)."""

    hub: Hub
    offline: Path
    fingerprint: str
    log_vkey: str


def found(
    home: Path,
    offline: Path | None,
    settings: Settings,
    policy: str | None,
    statutes: Sequence[str],
    clock: Callable[[], datetime],
) -> Founded:
    """Make a region's hub at `home`, with its offline keys in `offline` (default: `home/offline`).

    Raises LiaisonError: HOME_EXISTS when either is there already, POLICY_INVALID, STORAGE_FAILED.
    """
    home = home.absolute()
    offline = home / "offline" if offline is None else offline.absolute()
    inside = offline.is_relative_to(home)
    for folder in (home, offline):
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise LiaisonError(Code.HOME_EXISTS, f"{folder} is not empty.")
    staging = home.with_name(f".{home.name}.unfinished")
    stick = (
        staging / offline.relative_to(home) if inside else offline.with_name(f".{offline.name}.unfinished")
    )
    try:
        for folder in (staging, stick):
            shutil.rmtree(folder, ignore_errors=True)
        staging.mkdir(parents=True, mode=0o700)
        made = _make(staging, stick, settings, policy, statutes, clock)
        if not inside:
            stick.replace(offline)
        try:
            staging.replace(home)
        except OSError:
            if not inside:
                shutil.rmtree(offline, ignore_errors=True)
            raise
    except OSError as error:
        raise LiaisonError(Code.STORAGE_FAILED, f"{error.filename or home} cannot be written.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if not inside:
            shutil.rmtree(stick, ignore_errors=True)
    return Founded(load_hub(home), offline, *made)


def _make(
    home: Path,
    offline: Path,
    settings: Settings,
    policy: str | None,
    statutes: Sequence[str],
    clock: Callable[[], datetime],
) -> tuple[str, str]:
    at = clock()
    region = settings.region
    root = make_root(region, new_tls_key(), at)
    issuing = make_issuing(region, new_tls_key(), root, at)
    coordinator, coordinator_certificate = _signing(SpiffeId.coordinator(region), root, at)
    hub_key, hub_certificate = _signing(SpiffeId.hub(region), root, at)
    log_signer = NoteSigner(log_origin(region), new_signing_key())
    vkey = log_signer.verifier_key().encode()
    text = policy if policy is not None else _FIRST_POLICY.format(region=region)
    bundle = compose(region, text, statutes, vkey, log_signer.name, 1, at)
    signed = sign_bundle(bundle, coordinator, coordinator_certificate)
    tls = make_tls(region, issuing, root.certificate, settings.hosts, parse_duration(settings.tls_life), at)
    secrets = {
        offline / "root.key": private_pem(root.key),
        offline / "coordinator.key": private_pem(coordinator),
        home / "keys" / "issuing.key": private_pem(issuing.key),
        home / "keys" / "tls.key": tls.key,
        home / "keys" / "hub.key": private_pem(hub_key),
        home / "keys" / "log.key": private_pem(log_signer.key),
    }
    files = {
        offline / "root.pem": pem(root.certificate),
        offline / "coordinator.der": coordinator_certificate,
        home / "certs" / "root.pem": pem(root.certificate),
        home / "certs" / "issuing.pem": pem(issuing.certificate),
        home / "certs" / "tls.pem": tls.chain,
        home / "certs" / "hub.der": hub_certificate,
        home / "region.json": signed.encode(),
        home / "hub.toml": _toml(settings).encode(),
    }
    for path, data in secrets.items():
        write_secret(path, data)
    for folder in (offline, home / "keys"):
        folder.chmod(0o700)
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    write_policies(home / "policies", bundle)
    engine = load_hub(home).open_database()
    writer = Writer(engine, log_signer, clock)
    try:
        writer.write(lambda transaction: log_bundle(transaction, bundle, signed))
    finally:
        writer.close()
        engine.dispose()
    return root_fingerprint(root.certificate), vkey


def _signing(identity: SpiffeId, root: Authority, at: datetime) -> tuple[Ed25519PrivateKey, bytes]:
    key = new_signing_key()
    return key, der(make_signing_certificate(identity, key.public_key(), root, at))


def _toml(settings: Settings) -> str:
    """The settings as TOML; JSON's strings and lists are TOML's too."""
    values = settings.model_dump(mode="json", exclude_none=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return "# The hub's settings; `docs/hub.md` explains each.\n" + "\n".join(lines) + "\n"
