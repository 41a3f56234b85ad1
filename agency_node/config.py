"""A node's home: one folder with the settings file, keys, certificates, the policy, and everything it keeps.

node.toml       what an operator may edit; every entry is explained in the file
policy.yaml     the agency's policy, the file this node decides with
keys/           agency.key, tls.key, sealing.key, witness.key, vault.key (0600)
certs/          root.pem, tls.pem, signing.pem, region.bundle: what joining brought
node.db         what the node must not forget: deliveries, the trusted log, the trust bundle
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.keys import Signer, load_signer, load_signing_key, read_secret
from federation.identity.spiffe import SpiffeId
from federation.log.note import NoteSigner
from federation.policy.load import load_agency
from federation.policy.model import AgencyPolicy, Role

HOME_VARIABLE = "AGENCY_NODE_HOME"
DEFAULT_HOME = Path("~/.liaison/node")
SETTINGS = "node.toml"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
Address = Annotated[str, StringConstraints(pattern=r"^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class User(_Strict):
    """One of the agency's people: `roles` of the policy vocabulary, and the day of their last training."""

    roles: Annotated[tuple[Role, ...], Field(strict=False, max_length=16)]
    training_date: date | None = None


class Node(_Strict):
    """The settings of one node, and where everything lies in its home.

    `region`, `broker` and `join` (`host:port`) are None until the node has joined.
    """

    home: Path
    agency: Name
    node: Name = "n1"
    name: Annotated[str, StringConstraints(max_length=200)] | None = None
    region: Name | None = None
    broker: Address | None = None
    join: Address | None = None
    engine: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "mobilefacenet"
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    milvus: str | None = None
    agency_key: str | None = None
    vault_key: str | None = None
    users: dict[str, User] = {}

    @property
    def engine_spec(self) -> str:
        """Which face engine to load."""
        return self.engine

    @property
    def milvus_uri(self) -> str | None:
        """Where the gallery's index is served; None for Milvus Lite in the home."""
        return self.milvus

    @property
    def agency_key_uri(self) -> str:
        """The signer of the agency."""
        return self.agency_key or f"file:{self.home / 'keys' / 'agency.key'}"

    @property
    def vault_key_uri(self) -> str:
        """The master key of the photographs."""
        return self.vault_key or f"file:{self.home / 'keys' / 'vault.key'}"

    @property
    def settings_path(self) -> Path:
        """node.toml."""
        return self.home / SETTINGS

    @property
    def policy_path(self) -> Path:
        """The agency's own policy file."""
        return self.home / "policy.yaml"

    @property
    def tls_key_path(self) -> Path:
        """P-256, PEM."""
        return self.home / "keys" / "tls.key"

    @property
    def sealing_key_path(self) -> Path:
        """ML-KEM-768 + X25519, 96 raw bytes."""
        return self.home / "keys" / "sealing.key"

    @property
    def witness_key_path(self) -> Path:
        """Ed25519, PEM: cosigns checkpoints."""
        return self.home / "keys" / "witness.key"

    @property
    def root_path(self) -> Path:
        """The region's root, PEM: pinned at joining."""
        return self.home / "certs" / "root.pem"

    @property
    def tls_chain_path(self) -> Path:
        """The node's TLS certificate and the issuing CA's, PEM."""
        return self.home / "certs" / "tls.pem"

    @property
    def signing_certificate_path(self) -> Path:
        """The agency's signing certificate, PEM: there once the coordinator has confirmed the key."""
        return self.home / "certs" / "signing.pem"

    @property
    def bundle_path(self) -> Path:
        """The newest region bundle that this node has verified (a signed statement, encoded)."""
        return self.home / "certs" / "region.bundle"

    @property
    def database_path(self) -> Path:
        """What the link must not forget."""
        return self.home / "node.db"

    @property
    def lock_path(self) -> Path:
        """Held by the one `serve` of this home; its text is the process id."""
        return self.home / "serve.lock"

    @property
    def joined(self) -> bool:
        """Whether this node is a member of a region."""
        return self.region is not None and self.broker is not None and self.tls_chain_path.exists()

    @property
    def identity(self) -> SpiffeId:
        """Who this node is. Raises LiaisonError(IDENTITY_UNKNOWN) before it has joined."""
        return SpiffeId.of_node(self.require_region(), self.agency, self.node)

    @property
    def witness(self) -> NoteSigner:
        """The key with which this node cosigns checkpoints, under the name `<region>/<agency>/<node>`."""
        name = f"{self.require_region()}/{self.agency}/{self.node}"
        return NoteSigner(name, load_signing_key(self.witness_key_path))

    @property
    def policy_text(self) -> bytes:
        """The policy file's bytes, or nothing if there is no file."""
        try:
            return self.policy_path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise LiaisonError(Code.POLICY_INVALID, "policy.yaml cannot be read.") from error

    @property
    def policy(self) -> AgencyPolicy | None:
        """The agency's policy as the file says now; None if there is no file.

        Raises LiaisonError(POLICY_INVALID), also for the file of another agency.
        """
        text = self.policy_text
        if not text:
            return None
        policy = _parsed(text)
        if policy.agency != self.agency:
            raise LiaisonError(
                Code.POLICY_INVALID,
                f"policy.yaml is that of {policy.agency}, and this node is of {self.agency}.",
            )
        return policy

    def require_region(self) -> str:
        """The region joined. Raises LiaisonError(IDENTITY_UNKNOWN) before that."""
        if self.region is None:
            raise LiaisonError(Code.IDENTITY_UNKNOWN, "This node has not joined a hub yet.")
        return self.region

    def signer(self) -> Signer:
        """The agency's signer. Raises LiaisonError(KEY_UNREADABLE)."""
        return load_signer(self.agency_key_uri)

    def sealing_key(self) -> SealingKey:
        """What opens probes sealed to this node. Raises LiaisonError(KEY_UNREADABLE)."""
        return SealingKey(read_secret(self.sealing_key_path))


def load_node(home: Path) -> Node:
    """The node whose home this is.

    Raises LiaisonError(HOME_MISSING) where there is none, LiaisonError(CONFIG_INVALID) naming the entry that is wrong.
    """
    home = home.expanduser().absolute()
    try:
        text = (home / SETTINGS).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LiaisonError(Code.HOME_MISSING, f"There is no {SETTINGS} in {home}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LiaisonError(Code.CONFIG_INVALID, f"{home / SETTINGS} cannot be read.") from error
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LiaisonError(Code.CONFIG_INVALID, f"{SETTINGS} is not TOML: {error}.") from error
    return _node(home, entries)


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """The home that is meant when none is named."""
    return Path(environment.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser()


def set_entries(text: str, entries: Mapping[str, str]) -> str:
    """The settings text with top-level entries set to strings, its comments and order kept.

    An entry that stands in the file, commented out or not, is replaced where it stands; others go first.
    """
    head, table, rest = _before_tables(text)
    for key, value in entries.items():
        line = f'{key} = "{value}"'
        pattern = re.compile(rf"^(?:#\s*)?{re.escape(key)}\s*=.*$", re.MULTILINE)
        found = pattern.search(head)
        head = head[: found.start()] + line + head[found.end() :] if found else f"{line}\n{head}"
    return head + table + rest


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file as a whole: after a crash there is the old one or the new one, on disk before this returns."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _node(home: Path, entries: Mapping[str, Any]) -> Node:
    if "home" in entries:
        raise LiaisonError(
            Code.CONFIG_INVALID, f"{SETTINGS}: `home` is not an entry; it is the folder itself."
        )
    given = {key: value for key, value in entries.items() if value != ""}
    try:
        return Node.model_validate({**given, "home": home})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LiaisonError(Code.CONFIG_INVALID, f"{SETTINGS}: `{place}`: {first['msg']}.") from error


def _before_tables(text: str) -> tuple[str, str, str]:
    match = re.search(r"^\s*\[", text, re.MULTILINE)
    if match is None:
        return (text if text.endswith("\n") or not text else text + "\n"), "", ""
    return text[: match.start()], match.group(), text[match.end() :]


@lru_cache(maxsize=4)
def _parsed(text: bytes) -> AgencyPolicy:
    return load_agency(text)
