"""The append-only log: RFC 9162 Merkle tree, C2SP notes, checkpoints, cosignatures and tiles, and the offline verifier.

Pure: storage, clocks and randomness are the caller's. `docs/log.md` explains what is in the log and what is not.
"""

from federation.log.checkpoint import (
    Checkpoint,
    add_signatures,
    cosign,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
    verify_cosignatures,
)
from federation.log.entry import (
    MAX_ENTRY_BYTES,
    SALT_BYTES,
    EntryType,
    LogEntry,
    commit,
    open_commitment,
    parse_entry,
)
from federation.log.merkle import (
    NodeReader,
    append_nodes,
    consistency_proof,
    empty_root,
    inclusion_proof,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from federation.log.note import KeyType, NoteSigner, VerifierKey, parse_vkey
from federation.log.receipt import LogReceipt
from federation.log.tiles import TileReader, export_tiles
from federation.log.trusted import TrustedLog
from federation.log.verify import Report, verify_directory

__all__ = [
    "MAX_ENTRY_BYTES",
    "SALT_BYTES",
    "Checkpoint",
    "EntryType",
    "KeyType",
    "LogEntry",
    "LogReceipt",
    "NodeReader",
    "NoteSigner",
    "Report",
    "TileReader",
    "TrustedLog",
    "VerifierKey",
    "add_signatures",
    "append_nodes",
    "commit",
    "consistency_proof",
    "cosign",
    "empty_root",
    "export_tiles",
    "inclusion_proof",
    "leaf_hash",
    "open_checkpoint",
    "open_commitment",
    "parse_checkpoint",
    "parse_entry",
    "parse_vkey",
    "root",
    "sign_checkpoint",
    "verify_consistency",
    "verify_cosignatures",
    "verify_directory",
    "verify_inclusion",
]
