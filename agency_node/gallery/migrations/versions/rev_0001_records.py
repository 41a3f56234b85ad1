"""The records of a node's galleries."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "meta",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "gallery",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
    )
    op.create_table(
        "subject",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("gallery_id", sa.Integer, sa.ForeignKey("gallery.id"), nullable=False),
        sa.Column("ref_mark", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("gallery_id", "ref_mark"),
    )
    op.create_table(
        "encounter",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("gallery_id", sa.Integer, sa.ForeignKey("gallery.id"), nullable=False),
        sa.Column("subject_id", sa.Integer, sa.ForeignKey("subject.id"), nullable=False),
        sa.Column("ref_mark", sa.LargeBinary, nullable=False),
        sa.Column("captured_on", sa.Date),
        sa.Column("facts", sa.LargeBinary, nullable=False),
        sa.Column("facts_mark", sa.LargeBinary, nullable=False),
        sa.Column("photo_id", sa.String, nullable=False, unique=True),
        sa.Column("photo_key", sa.LargeBinary, nullable=False),
        sa.Column("photo_mark", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("gallery_id", "ref_mark"),
    )
    op.create_index("encounter_by_subject", "encounter", ["subject_id"])
    op.create_table(
        "template",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("gallery_id", sa.Integer, sa.ForeignKey("gallery.id"), nullable=False),
        sa.Column("encounter_id", sa.Integer, sa.ForeignKey("encounter.id"), nullable=False),
        sa.Column("engine_id", sa.String, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("face", sa.LargeBinary, nullable=False),
        sa.Column("quality", sa.Integer, nullable=False),
        sa.Column("state", sa.String, sa.CheckConstraint("state IN ('active', 'removed')"), nullable=False),
        sa.Column("indexed", sa.Boolean, nullable=False),
    )
    op.create_index("template_by_encounter", "template", ["encounter_id", "engine_id"])
    op.create_index("template_by_state", "template", ["gallery_id", "engine_id", "state", "indexed"])
