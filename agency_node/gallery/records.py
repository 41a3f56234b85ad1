"""The records of a gallery: who exists, and who may appear in an answer.

They are the truth; the index only follows. A template enters as `active` and not yet `indexed`; when it may no
longer be found it becomes `removed` in the same transaction that says so, and its row goes once the index has let go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from agency_node.gallery import tables as t
from agency_node.gallery.database import RecordsFile
from agency_node.gallery.index import Vectors
from agency_node.gallery.model import Counts, EncounterFacts, Enrolment, Match, Standing
from agency_node.gallery.seals import Seals
from agency_node.gallery.vault import StoredPhoto, Vault
from federation.errors import Code, LiaisonError

# SQLite takes no more than 32,766 parameters in one statement.
_IDS_PER_QUERY = 10_000


@dataclass(frozen=True, slots=True)
class NewEncounter:
    """An enrolment whose photograph is on the disk already, or `None` when the one that is there stays."""

    enrolment: Enrolment
    template_id: int
    stored: StoredPhoto | None


class Records:
    """The records of one gallery and one engine."""

    def __init__(self, file: RecordsFile, vault: Vault, name: str, engine_id: str) -> None:
        with file.write() as connection:
            connection.execute(sa.insert(t.gallery).prefix_with("OR IGNORE").values(name=name))
            gallery_id = connection.execute(
                sa.select(t.gallery.c.id).where(t.gallery.c.name == name)
            ).scalar_one()
        self._file = file
        self._seals = Seals(vault, name, engine_id)
        self._gallery_id = gallery_id
        self._engine_id = engine_id
        own = t.template.c
        self._own = sa.and_(own.gallery_id == gallery_id, own.engine_id == engine_id)
        self._active = sa.and_(self._own, own.state == "active")

    def standing(self, facts: EncounterFacts, photo: bytes) -> Standing:
        """Say how a row of a source stands to the records, without decoding its photograph."""
        with self._file.read() as connection:
            found = self._find(connection, facts)
            if found is None:
                return Standing.NEW
            enrolled = sa.select(t.template.c.id).where(self._active, t.template.c.encounter_id == found.id)
            if found.photo_mark != self._seals.photo_mark(photo):
                return Standing.PHOTO_CHANGED
            if connection.execute(enrolled).first() is None:
                return Standing.NEW
        return (
            Standing.UNCHANGED
            if found.facts_mark == self._seals.facts_mark(facts)
            else Standing.FACTS_CHANGED
        )

    def keeps_photo(self, facts: EncounterFacts, photo: bytes) -> bool:
        """Whether exactly this photograph is kept for this encounter."""
        with self._file.read() as connection:
            found = self._find(connection, facts)
        return found is not None and bool(found.photo_mark == self._seals.photo_mark(photo))

    def add(self, batch: Sequence[NewEncounter]) -> list[str]:
        """Write a batch in one transaction; return the ids of photographs that nothing needs any more."""
        replaced: list[str] = []
        with self._file.write() as connection:
            for new in batch:
                encounter_id, old = self._put_encounter(connection, new)
                gone = t.template.c.encounter_id == encounter_id
                if old is None:
                    gone = sa.and_(gone, t.template.c.engine_id == self._engine_id)
                else:
                    replaced.append(old)
                connection.execute(sa.update(t.template).where(gone).values(state="removed"))
                self._put_template(connection, encounter_id, new)
        return replaced

    def correct(self, facts: EncounterFacts) -> None:
        """Replace the facts of an encounter whose photograph stays."""
        with self._file.write() as connection:
            encounter = sa.and_(
                t.encounter.c.gallery_id == self._gallery_id,
                t.encounter.c.ref_mark == self._seals.encounter_mark(facts),
            )
            connection.execute(sa.update(t.encounter).where(encounter).values(**self._facts_columns(facts)))

    def subjects(self, template_ids: Sequence[int]) -> dict[int, int]:
        """Return the subject of each template that may be found; the others are left out."""
        columns = (*t.template.c["id", "gallery_id", "engine_id", "state"], t.encounter.c.subject_id)
        query = sa.select(*columns).join_from(t.template, t.encounter)
        with self._file.read() as connection:
            parts = [
                connection.execute(query.where(t.template.c.id.in_(part))) for part in _parts(template_ids)
            ]
            return {row.id: row.subject_id for rows in parts for row in rows if self._may_be_found(row)}

    def matches(self, similarities: dict[int, float]) -> list[Match]:
        """Return what is known about each template, in the order given; those removed meanwhile are left out."""
        query = sa.select(t.template, t.encounter.c.facts, t.encounter.c.ref_mark).join(t.encounter)
        with self._file.read() as connection:
            found = connection.execute(query.where(t.template.c.id.in_(list(similarities))))
            rows = {row.id: row for row in found if self._may_be_found(row)}
        return [self._match(rows[key], value) for key, value in similarities.items() if key in rows]

    def photo(self, encounter_id: int) -> StoredPhoto:
        """Return where an encounter's photograph is; raises GALLERY_DAMAGED when there is no such encounter."""
        where = sa.and_(t.encounter.c.id == encounter_id, t.encounter.c.gallery_id == self._gallery_id)
        with self._file.read() as connection:
            row = connection.execute(
                sa.select(t.encounter.c.photo_id, t.encounter.c.photo_key).where(where)
            ).first()
        if row is None:
            raise LiaisonError(Code.GALLERY_DAMAGED, "The encounter is not in the records.")
        return StoredPhoto(row.photo_id, row.photo_key)

    def photo_ids(self) -> set[str]:
        """Return the id of every photograph that the records know."""
        query = sa.select(t.encounter.c.photo_id).where(t.encounter.c.gallery_id == self._gallery_id)
        with self._file.read() as connection:
            return set(connection.execute(query).scalars())

    def unindexed(self, limit: int) -> tuple[list[int], Vectors]:
        """Return up to `limit` templates that the index should have and may not have."""
        query = (
            sa.select(t.template.c.id, t.template.c.vector)
            .where(self._active, t.template.c.indexed.is_(False))
            .limit(limit)
        )
        with self._file.read() as connection:
            rows = connection.execute(query).all()
        vectors = [self._seals.open_vector(row.id, row.vector) for row in rows]
        return [row.id for row in rows], np.array(vectors, dtype=np.float32)

    def removed(self, limit: int) -> list[int]:
        """Return up to `limit` templates that the index should let go of."""
        query = sa.select(t.template.c.id).where(self._own, t.template.c.state == "removed").limit(limit)
        with self._file.read() as connection:
            return list(connection.execute(query).scalars())

    def mark_indexed(self, template_ids: Collection[int], *, indexed: bool = True) -> None:
        """Note that the index has these templates, or has lost them."""
        with self._file.write() as connection:
            for part in _parts(list(template_ids)):
                chosen = t.template.c.id.in_(part)
                connection.execute(sa.update(t.template).where(chosen).values(indexed=indexed))

    def forget(self, template_ids: Sequence[int]) -> None:
        """Delete the rows of removed templates, once the index has let go of them."""
        with self._file.write() as connection:
            for part in _parts(template_ids):
                chosen = sa.and_(t.template.c.state == "removed", t.template.c.id.in_(part))
                connection.execute(sa.delete(t.template).where(chosen))

    def indexed_ids(self) -> tuple[set[int], set[int]]:
        """Return the ids of all templates that may be found, and of those that are noted as indexed."""
        with self._file.read() as connection:
            rows = connection.execute(
                sa.select(t.template.c.id, t.template.c.indexed).where(self._active)
            ).all()
        return {row.id for row in rows}, {row.id for row in rows if row.indexed}

    def counts(self) -> Counts:
        """Count what is held, of templates only those that may be found."""
        with self._file.read() as connection:

            def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
                query = sa.select(sa.func.count()).select_from(table)
                return int(connection.execute(query.where(*conditions)).scalar_one())

            return Counts(
                subjects=count(t.subject, t.subject.c.gallery_id == self._gallery_id),
                encounters=count(t.encounter, t.encounter.c.gallery_id == self._gallery_id),
                templates=count(t.template, self._active),
                pending=count(t.template, self._active, t.template.c.indexed.is_(False))
                + count(t.template, self._own, t.template.c.state == "removed"),
            )

    def _may_be_found(self, row: sa.Row[*tuple[Any, ...]]) -> bool:
        # Not in SQL: with these conditions there, SQLite walks the whole gallery instead of looking up the ids.
        own = (row.gallery_id, row.engine_id) == (self._gallery_id, self._engine_id)
        return bool(own and row.state == "active")

    def _put_encounter(self, connection: sa.Connection, new: NewEncounter) -> tuple[int, str | None]:
        """Insert or update the encounter; return its id, and the photograph that was replaced if one was."""
        facts, photo = new.enrolment.facts, new.enrolment.photo
        found = self._find(connection, facts)
        if found is None:
            assert new.stored is not None
            columns = self._facts_columns(facts) | self._photo_columns(photo, new.stored)
            columns |= {"gallery_id": self._gallery_id, "subject_id": self._subject(connection, facts)}
            insert = sa.insert(t.encounter).values(ref_mark=self._seals.encounter_mark(facts), **columns)
            return connection.execute(insert.returning(t.encounter.c.id)).scalar_one(), None
        columns = self._facts_columns(facts)
        if new.stored is not None:
            columns |= self._photo_columns(photo, new.stored)
        connection.execute(sa.update(t.encounter).where(t.encounter.c.id == found.id).values(**columns))
        return found.id, found.photo_id if new.stored is not None else None

    def _subject(self, connection: sa.Connection, facts: EncounterFacts) -> int:
        own = {"gallery_id": self._gallery_id, "ref_mark": self._seals.subject_mark(facts)}
        connection.execute(sa.insert(t.subject).prefix_with("OR IGNORE").values(**own))
        return int(connection.execute(sa.select(t.subject.c.id).filter_by(**own)).scalar_one())

    def _put_template(self, connection: sa.Connection, encounter_id: int, new: NewEncounter) -> None:
        face = new.enrolment.face
        row = sa.insert(t.template).values(
            id=new.template_id,
            gallery_id=self._gallery_id,
            encounter_id=encounter_id,
            engine_id=self._engine_id,
            vector=self._seals.seal_vector(new.template_id, face.template),
            face=self._seals.seal_face(new.template_id, face),
            quality=face.quality,
            state="active",
            indexed=False,
        )
        connection.execute(row)

    def _facts_columns(self, facts: EncounterFacts) -> dict[str, Any]:
        return {
            "captured_on": facts.captured_on,
            "facts": self._seals.seal_facts(facts),
            "facts_mark": self._seals.facts_mark(facts),
        }

    def _photo_columns(self, photo: bytes, stored: StoredPhoto) -> dict[str, Any]:
        return {
            "photo_id": stored.photo_id,
            "photo_key": stored.wrapped_key,
            "photo_mark": self._seals.photo_mark(photo),
        }

    def _match(self, row: sa.Row[Any], similarity: float) -> Match:
        face = self._seals.open_face(row.id, row.face)
        x1, y1, x2, y2 = face["box"]
        return Match(
            template_id=row.id,
            encounter_id=row.encounter_id,
            similarity=similarity,
            facts=self._seals.open_facts(row.facts, row.ref_mark),
            box=(x1, y1, x2, y2),
            quality=row.quality,
            flags=tuple(face["flags"]),
        )

    def _find(
        self, connection: sa.Connection, facts: EncounterFacts
    ) -> sa.Row[int, bytes, bytes, str] | None:
        c = t.encounter.c
        query = sa.select(c.id, c.photo_mark, c.facts_mark, c.photo_id)
        mark = self._seals.encounter_mark(facts)
        return connection.execute(query.where(c.gallery_id == self._gallery_id, c.ref_mark == mark)).first()


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _IDS_PER_QUERY):
        yield ids[start : start + _IDS_PER_QUERY]
