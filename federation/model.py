"""The base of every document that members exchange: strict, closed, frozen, and canonical in bytes."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from federation.canonical import canonical, parse
from federation.errors import Code, LiaisonError


class Document(BaseModel):
    """A document whose bytes are its canonical JSON; an unknown field or a wrong type never parses."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def encode(self) -> bytes:
        """Canonical JSON (RFC 8785). Absent optional fields are left out."""
        return canonical(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def decode(cls, data: bytes, *, limit: int = 1 << 20) -> Self:
        """Read the canonical JSON. Raises LiaisonError(REQUEST_INVALID) naming the first field that is wrong."""
        parse(data, limit=limit)
        try:
            document = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise LiaisonError(Code.REQUEST_INVALID, f"{place}: {first['msg']}.") from error
        if document.encode() != data:
            raise LiaisonError(Code.REQUEST_INVALID, "A document has a second way of writing the same.")
        return document
