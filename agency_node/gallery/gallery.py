"""One gallery of the node: enrolling, searching, and keeping the index equal to the records.

What is durable comes first, what can be rebuilt last:

1. the photograph, encrypted, as a file of its own;
2. the records, in one transaction: from here on the encounter exists;
3. the photograph that it replaces, if any, is removed;
4. the index follows.

A process may be killed between any two of these steps. What is left then is a file that no record knows, or a
template that the index does not have yet, or has still; `sweep` and `reconcile` put each right.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from agency_node.gallery.index import LARGEST_K, TemplateIndex, Vectors
from agency_node.gallery.model import Counts, EncounterFacts, Enrolment, GalleryDeclaration, Match, Standing
from agency_node.gallery.records import NewEncounter, Records
from agency_node.gallery.vault import Vault
from federation.errors import Code, LiaisonError

_ROWS_PER_ROUND = 512
# Each photograph waits for the disk twice; several waiting together cost little more than one.
_WRITERS = 8
_FIRST_K = 64
_WIDER = 4


class Gallery:
    """A gallery as one engine sees it.

    `index` is None in a process that does not hold the index: it can enroll and read, and leaves indexing to the
    process that does. `new_id` returns a random positive 63-bit id: random, so that an index which is older or newer
    than the records (a restored backup) never has another person's template under the same id.
    """

    def __init__(
        self,
        name: str,
        declaration: GalleryDeclaration,
        engine_id: str,
        *,
        records: Records,
        vault: Vault,
        index: TemplateIndex | None,
        new_id: Callable[[], int],
    ) -> None:
        self.name = name
        self.declaration = declaration
        self.engine_id = engine_id
        self._records = records
        self._vault = vault
        self._index = index
        self._new_id = new_id
        self._indexing = threading.Lock()

    def standing(self, facts: EncounterFacts, photo: bytes) -> Standing:
        """Say how a row of a source stands to the gallery, without decoding its photograph."""
        return self._records.standing(facts, photo)

    def enroll(self, batch: Sequence[Enrolment]) -> None:
        """Enroll photographs, or replace those of the same encounters; durable when it returns.

        Only for the process that holds the import lock (`Galleries.importing`).
        """
        with ThreadPoolExecutor(_WRITERS) as writers:
            new = list(writers.map(self._store, batch))
        for photo_id in self._records.add(new):
            self._vault.remove_photo(self.name, photo_id)
        if self._index is not None:
            self.refresh()

    def correct(self, facts: EncounterFacts) -> None:
        """Replace the facts of an encounter whose photograph stays."""
        self._records.correct(facts)

    def search(self, template: Vectors, limit: int) -> list[Match]:
        """Return up to `limit` subjects, the most similar first, each by its best template.

        `template` is float32 of unit length. Whatever the index returns, only what the records hold appears.
        Raises GALLERY_BUSY in a process that does not hold the index.
        """
        index = self._held_index()
        k = max(_FIRST_K, 2 * limit)
        while True:
            k = min(k, LARGEST_K)
            [hits] = index.search(template.reshape(1, -1), k)
            best = self._best_of_each_subject(hits)
            if len(best) >= limit or len(hits) < k or k == LARGEST_K:
                return self._records.matches(dict(best[:limit]))
            k *= _WIDER

    def photo(self, encounter_id: int) -> bytes:
        """Return the photograph as it was imported; raises GALLERY_DAMAGED when it was changed or is missing."""
        return self._vault.photo(self.name, self._records.photo(encounter_id))

    def counts(self) -> Counts:
        """Count subjects, encounters and templates, and what still waits for the index."""
        return self._records.counts()

    def refresh(self) -> int:
        """Bring to the index what another process has written; return how many templates moved.

        One quick query when there is nothing to do. The serving process calls it about once a second.
        """
        index = self._held_index()
        moved = 0
        with self._indexing:
            while True:
                removed = self._records.removed(_ROWS_PER_ROUND)
                if removed:
                    index.delete(removed)
                    self._records.forget(removed)
                ids, vectors = self._records.unindexed(_ROWS_PER_ROUND)
                if ids:
                    index.upsert(ids, vectors)
                    self._records.mark_indexed(ids)
                if not removed and not ids:
                    return moved
                moved += len(removed) + len(ids)

    def reconcile(self) -> None:
        """Make the index equal to the records, whatever happened to either."""
        index = self._held_index()
        with self._indexing:
            held = index.ids()
            active, noted = self._records.indexed_ids()
            if held - active:
                index.delete(sorted(held - active))
            if noted - held:
                self._records.mark_indexed(noted - held, indexed=False)
        self.refresh()

    def sweep(self) -> int:
        """Remove photographs that no record knows; return how many. Only while nobody imports."""
        known = self._records.photo_ids()
        orphans = [photo_id for photo_id in self._vault.photo_ids(self.name) if photo_id not in known]
        for photo_id in orphans:
            self._vault.remove_photo(self.name, photo_id)
        self._vault.remove_unfinished(self.name)
        return len(orphans)

    def _held_index(self) -> TemplateIndex:
        if self._index is None:
            raise LiaisonError(Code.GALLERY_BUSY, "It has the index open.")
        return self._index

    def _store(self, enrolment: Enrolment) -> NewEncounter:
        kept = self._records.keeps_photo(enrolment.facts, enrolment.photo)
        stored = None if kept else self._vault.store_photo(self.name, enrolment.photo)
        return NewEncounter(enrolment, self._new_id(), stored)

    def _best_of_each_subject(self, hits: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        subjects = self._records.subjects([template_id for template_id, _ in hits])
        seen: set[int] = set()
        best: list[tuple[int, float]] = []
        for template_id, similarity in hits:
            subject = subjects.get(template_id)
            if subject is not None and subject not in seen:
                seen.add(subject)
                best.append((template_id, similarity))
        return best
