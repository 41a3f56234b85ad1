"""Runs the migrations inside the transaction of whoever opens the records."""

from alembic import context

from agency_node.gallery.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
context.run_migrations()
