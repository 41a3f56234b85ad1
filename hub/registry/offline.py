"""The offline keys, the root's and the coordinator's: only commands that people run open this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from federation.errors import Code, LiaisonError
from federation.identity.certificates import Authority, parse_certificate
from federation.identity.keys import Signer, load_signing_key, load_tls_key
from hub.config import Hub, read_file

OFFLINE_VARIABLE = "LIAISON_HUB_OFFLINE"


@dataclass(frozen=True, slots=True)
class Offline:
    """A folder with `root.key`, `root.pem`, `coordinator.key` and `coordinator.der`; a USB stick, most likely."""

    folder: Path

    def root(self, hub: Hub) -> Authority:
        """The root with its key. Raises LiaisonError(KEY_UNREADABLE), ROOT_MISMATCH when it is another region's."""
        self._present()
        certificate = parse_certificate(read_file(self.folder / "root.pem"))
        key = load_tls_key(self.folder / "root.key")
        if certificate != hub.root() or key.public_key() != certificate.public_key():
            raise LiaisonError(Code.ROOT_MISMATCH, f"{self.folder} holds the root of another region.")
        return Authority(certificate, key)

    def coordinator(self) -> tuple[Signer, bytes]:
        """The coordinator's key and its certificate (DER)."""
        self._present()
        return load_signing_key(self.folder / "coordinator.key"), read_file(self.folder / "coordinator.der")

    def _present(self) -> None:
        if not self.folder.is_dir():
            raise LiaisonError(
                Code.KEY_UNREADABLE,
                f"The folder of the offline keys, {self.folder}, is not there; name it with --offline.",
            )
