"""The tables of the records.

What could name a person is sealed by the vault; a `mark` is a keyed hash that finds a row by its reference. A
template's row is `removed` from the moment its subject may not be found by it, and goes once the index has let go.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)

gallery = sa.Table(
    "gallery",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
)

subject = sa.Table(
    "subject",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("gallery_id", sa.ForeignKey("gallery.id"), nullable=False),
    sa.Column("ref_mark", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("gallery_id", "ref_mark"),
)

encounter = sa.Table(
    "encounter",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("gallery_id", sa.ForeignKey("gallery.id"), nullable=False),
    sa.Column("subject_id", sa.ForeignKey("subject.id"), nullable=False),
    sa.Column("ref_mark", sa.LargeBinary, nullable=False),
    sa.Column("captured_on", sa.Date),
    sa.Column("facts", sa.LargeBinary, nullable=False),
    sa.Column("facts_mark", sa.LargeBinary, nullable=False),
    sa.Column("photo_id", sa.String, nullable=False, unique=True),
    sa.Column("photo_key", sa.LargeBinary, nullable=False),
    sa.Column("photo_mark", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("gallery_id", "ref_mark"),
    sa.Index("encounter_by_subject", "subject_id"),
)

template = sa.Table(
    "template",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("gallery_id", sa.ForeignKey("gallery.id"), nullable=False),
    sa.Column("encounter_id", sa.ForeignKey("encounter.id"), nullable=False),
    sa.Column("engine_id", sa.String, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Column("face", sa.LargeBinary, nullable=False),
    sa.Column("quality", sa.Integer, nullable=False),
    sa.Column("state", sa.String, sa.CheckConstraint("state IN ('active', 'removed')"), nullable=False),
    sa.Column("indexed", sa.Boolean, nullable=False),
    sa.Index("template_by_encounter", "encounter_id", "engine_id"),
    sa.Index("template_by_state", "gallery_id", "engine_id", "state", "indexed"),
)
