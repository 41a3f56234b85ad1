"""The hub's home: where its settings, keys, certificates and database are, and how they are read.

    hub.toml          settings
    region.json       the region's bundle, as the coordinator signed it
    certs/            root.pem, issuing.pem, tls.pem (leaf, issuing, root), hub.der
    keys/             issuing.key, tls.key, hub.key, log.key: what a running hub needs, 0600
    offline/          root.key, root.pem, coordinator.key, coordinator.der: what a running hub never reads
    policies/         the region's policy and statute packs, as last published
    hub.db            members, deliveries and the log

The folder `offline` belongs on a medium that is not in the machine (`hub init --offline`); nothing here opens it.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cryptography import x509
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Engine

from federation.errors import Code, LiaisonError
from federation.identity.certificates import Authority, parse_certificate
from federation.identity.keys import Signer, load_signing_key, load_tls_key, read_secret
from federation.identity.region import RegionBundle, Trust
from federation.identity.spiffe import check_name
from federation.identity.statement import SignedStatement
from federation.log import NoteSigner
from hub.store.database import database_url, migrate, open_database

HOME_VARIABLE = "LIAISON_HUB_HOME"
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_ADDRESS = re.compile(r"(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")


def parse_duration(text: str) -> timedelta:
    """A duration such as `90s`, `30m`, `24h` or `7d`. Raises LiaisonError(CONFIG_INVALID)."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise LiaisonError(
            Code.CONFIG_INVALID, f"{text[:40]!r} is no duration; write it as 90s, 30m, 24h or 7d."
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 65536:
        raise ValueError("an address is host:port")
    return text


def _duration(text: str) -> str:
    try:
        parse_duration(text)
    except LiaisonError as error:
        raise ValueError(error.detail) from None
    return text


def _region(text: str) -> str:
    try:
        return check_name(text, "A region's name")
    except LiaisonError as error:
        raise ValueError(error.detail) from None


Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseModel):
    """What `hub.toml` holds. `hosts` are the names in the hub's certificate; nodes dial the first of them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    region: Annotated[str, AfterValidator(_region)]
    broker: Address = "127.0.0.1:7443"
    join: Address = "127.0.0.1:7444"
    hosts: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("127.0.0.1", "localhost")
    database: str | None = None
    tls_life: Annotated[str, AfterValidator(_duration)] = "7d"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What a TLS server shows: its key, its chain (leaf, issuing, root) and the root alone; all PEM."""

    key: bytes
    chain: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub's home, opened. Keys are read when asked for and are not kept."""

    home: Path
    settings: Settings

    @property
    def region(self) -> str:
        """The region's name."""
        return self.settings.region

    @property
    def tls_life(self) -> timedelta:
        """How long TLS certificates live."""
        return parse_duration(self.settings.tls_life)

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.settings.database or database_url(self.home)

    @property
    def broker_address(self) -> str:
        """Where nodes find the broker: the first of `hosts`, with the port it listens on."""
        return _dialled(self.settings.broker, self.settings.hosts)

    @property
    def join_address(self) -> str:
        """Where nodes join."""
        return _dialled(self.settings.join, self.settings.hosts)

    @property
    def log_origin(self) -> str:
        """The log's origin, which is also the name of its key."""
        return log_origin(self.region)

    @property
    def bundle_path(self) -> Path:
        """The signed bundle's file; it is replaced in one step when a new version is published."""
        return self.home / "region.json"

    def open_database(self) -> Engine:
        """An engine on the database, with the newest schema."""
        engine = open_database(self.database)
        migrate(engine)
        return engine

    def root(self) -> x509.Certificate:
        """The region's root certificate."""
        return parse_certificate(read_file(self.home / "certs" / "root.pem"))

    def load_issuing(self) -> Authority:
        """The CA that signs TLS certificates."""
        certificate = parse_certificate(read_file(self.home / "certs" / "issuing.pem"))
        return Authority(certificate, load_tls_key(self.home / "keys" / "issuing.key"))

    def load_hub_signer(self) -> tuple[Signer, bytes]:
        """The key that signs receipts, and its certificate (DER)."""
        key = load_signing_key(self.home / "keys" / "hub.key")
        return key, read_file(self.home / "certs" / "hub.der")

    def load_log_signer(self) -> NoteSigner:
        """The key that signs checkpoints."""
        return NoteSigner(self.log_origin, load_signing_key(self.home / "keys" / "log.key"))

    def load_tls(self) -> TlsIdentity:
        """What the hub's servers show. `hub.registry.tls.current_tls` renews it first when it is due."""
        return TlsIdentity(
            read_secret(self.home / "keys" / "tls.key"),
            read_file(self.home / "certs" / "tls.pem"),
            read_file(self.home / "certs" / "root.pem"),
        )

    def signed_bundle(self) -> SignedStatement:
        """The region's bundle as the coordinator signed it."""
        return SignedStatement.decode(read_file(self.bundle_path))

    def trust(self, at: datetime) -> Trust:
        """What every member believes, from the bundle on the disk. Raises LiaisonError when it does not verify."""
        return Trust.begin(self.region, self.root(), self.signed_bundle(), at)

    def bundle(self) -> RegionBundle:
        """The bundle's contents, not verified: for commands that need the log's public key and no more."""
        return RegionBundle.decode(self.signed_bundle().payload, limit=8 << 20)


def log_origin(region: str) -> str:
    """The origin of a region's log."""
    return f"{region}.liaison/log"


def default_home() -> Path:
    """The home that is meant when none is named: `$LIAISON_HUB_HOME`, or `./hub-home`."""
    return Path(os.environ.get(HOME_VARIABLE) or "hub-home")


def load_hub(home: Path) -> Hub:
    """Open a hub's home. Raises LiaisonError(HOME_MISSING or CONFIG_INVALID)."""
    home = home.absolute()
    path = home / "hub.toml"
    if not path.is_file():
        raise LiaisonError(Code.HOME_MISSING, f"{home} holds no hub.toml.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Hub(home, Settings.model_validate(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LiaisonError(Code.CONFIG_INVALID, f"{path}, {place}: {first['msg']}.") from error
    except (OSError, ValueError) as error:
        raise LiaisonError(Code.CONFIG_INVALID, f"{path} cannot be read: {error}.") from error


def read_file(path: Path) -> bytes:
    """A file of the home. Raises LiaisonError(FILE_MISSING)."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LiaisonError(Code.FILE_MISSING, f"{path} cannot be read.") from error


def _dialled(listen: str, hosts: tuple[str, ...]) -> str:
    _, _, port = listen.rpartition(":")
    host = hosts[0]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
