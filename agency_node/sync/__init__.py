"""Bringing photographs into a gallery: sources of rows, and the importer that enrolls them."""

from agency_node.sync.folder import FolderSource
from agency_node.sync.importer import ImportReport, Skipped, import_rows
from agency_node.sync.manifest import ManifestSource
from agency_node.sync.reading import EngineReader, PhotoReader
from agency_node.sync.source import BadRow, Provenance, Row, Source

__all__ = [
    "BadRow",
    "EngineReader",
    "FolderSource",
    "ImportReport",
    "ManifestSource",
    "PhotoReader",
    "Provenance",
    "Row",
    "Skipped",
    "Source",
    "import_rows",
]
