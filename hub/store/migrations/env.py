"""Runs the migrations on the connection, and in the transaction, of whoever opens the database."""

from __future__ import annotations

from alembic import context

from hub.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
