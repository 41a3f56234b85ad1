"""How one gallery's rows are sealed and marked: each piece bound to its place, so that none can be moved."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from agency_node.gallery.index import Vectors
from agency_node.gallery.model import EncounterFacts, EnrolledFace
from agency_node.gallery.vault import Vault


class Seals:
    """Seals, opens and marks the rows of one gallery, and of one engine within it."""

    def __init__(self, vault: Vault, gallery: str, engine_id: str) -> None:
        self._vault = vault
        self._gallery = gallery
        self._engine_id = engine_id

    def subject_mark(self, facts: EncounterFacts) -> bytes:
        """Return what finds the subject again."""
        return self._vault.mark("subject", self._gallery, facts.subject_ref)

    def encounter_mark(self, facts: EncounterFacts) -> bytes:
        """Return what finds the encounter again."""
        return self._vault.mark("encounter", self._gallery, facts.subject_ref, facts.encounter_ref)

    def photo_mark(self, photo: bytes) -> bytes:
        """Return what tells whether a photograph is the same as before."""
        return self._vault.mark("photo", photo)

    def facts_mark(self, facts: EncounterFacts) -> bytes:
        """Return what tells whether the facts are the same as before."""
        return self._vault.mark("facts", _dump(facts.as_json()))

    def seal_facts(self, facts: EncounterFacts) -> bytes:
        """Seal the facts into their encounter."""
        return self._vault.seal(_dump(facts.as_json()), self._facts_row(self.encounter_mark(facts)))

    def open_facts(self, sealed: bytes, encounter_mark: bytes) -> EncounterFacts:
        """Open what `seal_facts` sealed."""
        return EncounterFacts.from_json(json.loads(self._vault.open(sealed, self._facts_row(encounter_mark))))

    def seal_vector(self, template_id: int, vector: Vectors) -> bytes:
        """Seal a template's vector into its row, as little-endian float32."""
        return self._vault.seal(
            np.ascontiguousarray(vector, dtype="<f4").tobytes(), self._row("vector", template_id)
        )

    def open_vector(self, template_id: int, sealed: bytes) -> Vectors:
        """Open what `seal_vector` sealed."""
        plain = self._vault.open(sealed, self._row("vector", template_id))
        return np.frombuffer(plain, dtype="<f4").astype(np.float32)

    def seal_face(self, template_id: int, face: EnrolledFace) -> bytes:
        """Seal where the face is in the photograph, and the remarks on it."""
        document = {"box": face.box, "landmarks": face.landmarks, "flags": face.flags}
        return self._vault.seal(_dump(document), self._row("face", template_id))

    def open_face(self, template_id: int, sealed: bytes) -> dict[str, Any]:
        """Open what `seal_face` sealed: `box`, `landmarks` and `flags`."""
        document: dict[str, Any] = json.loads(self._vault.open(sealed, self._row("face", template_id)))
        return document

    def _facts_row(self, encounter_mark: bytes) -> str:
        return f"facts/{self._gallery}/{encounter_mark.hex()}"

    def _row(self, what: str, template_id: int) -> str:
        return f"{what}/{self._gallery}/{self._engine_id}/{template_id}"


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("utf-8")
