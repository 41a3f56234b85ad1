"""Who can be asked: the galleries of the region, each as its own agency signed it.

The hub only carries these statements. One that does not verify is dropped and named, so that a hub which puts its
own sealing key in an agency's place gains nothing: no probe is ever sealed to it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from federation.canonical import unb64
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import PUBLIC_BYTES
from federation.identity.node import NodeStatement
from federation.identity.region import Trust
from federation.identity.spiffe import check_name
from federation.identity.statement import SignedStatement
from federation.probe.request import MOST_GALLERIES
from protos.liaison.v1 import registry_pb2

ALL = "all"


@dataclass(frozen=True, slots=True)
class GalleryEntry:
    """One gallery as its agency describes it. `sealing_key` is the public key of the node that serves it, 1216
    bytes; `connected` is the hub's word and nothing more."""

    agency: str
    gallery: str
    node: str
    kind: str
    title: str
    engine: str
    subjects: int
    templates: int
    sealing_key: bytes
    issued_at: str
    connected: bool

    @property
    def name(self) -> str:
        """`agency/gallery`."""
        return f"{self.agency}/{self.gallery}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A node whose statement does not verify: nothing of it is believed, nothing is sealed to it."""

    agency: str
    node: str
    code: Code
    why: str


@dataclass(frozen=True, slots=True)
class Directory:
    """The galleries that may be asked, by `agency/gallery`, and the statements that were dropped."""

    galleries: Mapping[str, GalleryEntry]
    dropped: tuple[Dropped, ...] = ()


def read_directory(nodes: Sequence[registry_pb2.DirectoryNode], trust: Trust, at: datetime) -> Directory:
    """The directory that these statements make, each believed only if its own agency's key signed it.

    When two nodes of an agency serve the same gallery, the newer statement counts.
    """
    galleries: dict[str, GalleryEntry] = {}
    dropped: list[Dropped] = []
    for node in nodes:
        try:
            entries = _entries(node, trust, at)
        except LiaisonError as error:
            dropped.append(Dropped(node.agency[:63], node.node[:63], error.code, error.sentence))
            continue
        for entry in entries:
            known = galleries.get(entry.name)
            if known is None or (known.issued_at, known.node) < (entry.issued_at, entry.node):
                galleries[entry.name] = entry
    return Directory(dict(sorted(galleries.items())), tuple(dropped))


def choose_galleries(directory: Directory, asked: Sequence[str]) -> tuple[GalleryEntry, ...]:
    """The galleries named, or every known one when none is named or the word `all` is; sorted, each once.

    The agency's own gallery is one like any other: a search of it passes through the log too.

    Raises LiaisonError(GALLERY_UNKNOWN) naming the one that is not known, and the nearest that is.
    """
    everything = not asked or list(asked) == [ALL]
    names = sorted(directory.galleries if everything else set(asked))
    for name in names:
        if name not in directory.galleries:
            raise LiaisonError(Code.GALLERY_UNKNOWN, _nearest(name, directory))
    if not names:
        raise LiaisonError(Code.GALLERY_UNKNOWN, "No agency of the region has published a gallery yet.")
    if len(names) > MOST_GALLERIES:
        raise LiaisonError(
            Code.REQUEST_INVALID, f"One request may ask at most {MOST_GALLERIES} galleries; name fewer."
        )
    return tuple(directory.galleries[name] for name in names)


def _entries(node: registry_pb2.DirectoryNode, trust: Trust, at: datetime) -> list[GalleryEntry]:
    # An empty agency would otherwise make `Trust.verify` accept the hub's own signature.
    agency = check_name(node.agency, "An agency's id")
    signed = SignedStatement.decode(node.statement)
    statement = NodeStatement.decode(trust.verify(signed, "node", at, agency=agency))
    if (statement.agency, statement.node) != (agency, node.node):
        raise LiaisonError(Code.SIGNATURE_INVALID, "The statement is about another node.")
    key = unb64(statement.sealing_key)
    if len(key) != PUBLIC_BYTES:
        raise LiaisonError(Code.REQUEST_INVALID, "The sealing key has the wrong length.")
    return [
        GalleryEntry(
            agency=agency,
            gallery=gallery.name,
            node=statement.node,
            kind=gallery.kind,
            title=gallery.title,
            engine=gallery.engine,
            subjects=gallery.subjects,
            templates=gallery.templates,
            sealing_key=key,
            issued_at=statement.issued_at,
            connected=node.connected,
        )
        for gallery in statement.galleries
    ]


def _nearest(name: str, directory: Directory) -> str:
    shown = name[:127]
    if dropped := [d for d in directory.dropped if d.agency == name.partition("/")[0]]:
        return f"`{shown}`: the statement of that agency's node does not verify ({dropped[0].code.value})."
    near = difflib.get_close_matches(shown, list(directory.galleries), n=1, cutoff=0.5)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return f"`{shown}` is not a gallery of this region.{hint}"
