"""Face engines: opening pictures, finding faces, measuring their quality, making templates."""

from agency_node.engine.base import Box, Face, FaceEngine, Template
from agency_node.engine.load import load_engine
from agency_node.engine.picture import Picture, open_picture

__all__ = ["Box", "Face", "FaceEngine", "Picture", "Template", "load_engine", "open_picture"]
