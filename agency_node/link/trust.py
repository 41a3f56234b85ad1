"""What this node believes about its region, kept in its home: the pinned root and the newest bundle."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509

from agency_node.config import Node, write_atomically
from federation.errors import Code, LiaisonError
from federation.identity.certificates import parse_certificate
from federation.identity.region import Trust
from federation.identity.statement import SignedStatement


def load_root(node: Node) -> x509.Certificate:
    """The region's root, pinned at joining. Raises LiaisonError(IDENTITY_UNKNOWN) before that."""
    return parse_certificate(_read(node.root_path))


def load_trust(node: Node, at: datetime) -> Trust:
    """Trust in the bundle that is in the home, verified again.

    Raises LiaisonError(IDENTITY_UNKNOWN) before the node has joined, and what `Trust.begin` raises.
    """
    signed = SignedStatement.decode(_read(node.bundle_path))
    return Trust.begin(node.require_region(), load_root(node), signed, at)


class TrustKeeper:
    """The trust of a running process: a newer bundle is on disk before it counts, an older one never counts."""

    def __init__(self, node: Node, trust: Trust) -> None:
        self._node = node
        self._trust = trust

    @property
    def trust(self) -> Trust:
        """What is believed now."""
        return self._trust

    def update(self, bundle: bytes, at: datetime) -> bool:
        """Take a bundle (signed statement, encoded); return whether it is newer than the one known.

        Raises LiaisonError(POLICY_ROLLBACK) for an older one, and what `Trust.begin` raises.
        """
        newer = self._trust.update(SignedStatement.decode(bundle), at)
        if newer.bundle == self._trust.bundle:
            return False
        write_atomically(self._node.bundle_path, bundle)
        self._trust = newer
        return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise LiaisonError(Code.IDENTITY_UNKNOWN, "This node has not joined a hub yet.") from error
    except OSError as error:
        raise LiaisonError(Code.CONFIG_INVALID, f"{path.name} cannot be read.") from error
