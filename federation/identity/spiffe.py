"""SPIFFE ids: who somebody is, in one line that fits a certificate.

    spiffe://<region>/hub                          the broker
    spiffe://<region>/coordinator                  who signs the region's rules, offline
    spiffe://<region>/agency/<id>                  an agency's signing key
    spiffe://<region>/agency/<id>/node/<n>         one node of an agency

Source: SPIFFE-ID specification, §2 (trust domain and path).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from federation.errors import Code, LiaisonError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def check_name(name: str, what: str) -> str:
    """`name` itself, when it is lower-case letters, digits and inner hyphens, at most 63 of them.

    Raises LiaisonError(REQUEST_INVALID) otherwise: such names are used in paths, rules and certificates.
    """
    if not _NAME.fullmatch(name):
        raise LiaisonError(
            Code.REQUEST_INVALID,
            f"{what} must be 1 to 63 lower-case letters, digits or inner hyphens.",
        )
    return name


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """An identity of the region: the hub, the coordinator, an agency, or an agency's node."""

    region: str
    role: str
    agency: str | None = None
    node: str | None = None

    def __post_init__(self) -> None:
        check_name(self.region, "A region's name")
        shape = (self.role, self.agency is not None, self.node is not None)
        shapes = {
            ("hub", False, False),
            ("coordinator", False, False),
            ("agency", True, False),
            ("node", True, True),
        }
        if shape not in shapes:
            raise LiaisonError(Code.CERTIFICATE_INVALID, "An identity has an unknown shape.")
        if self.agency is not None:
            check_name(self.agency, "An agency's id")
        if self.node is not None:
            check_name(self.node, "A node's name")

    @classmethod
    def hub(cls, region: str) -> SpiffeId:
        """The broker of a region."""
        return cls(region, "hub")

    @classmethod
    def coordinator(cls, region: str) -> SpiffeId:
        """The signer of a region's rules."""
        return cls(region, "coordinator")

    @classmethod
    def of_agency(cls, region: str, agency: str) -> SpiffeId:
        """An agency's signing key."""
        return cls(region, "agency", agency)

    @classmethod
    def of_node(cls, region: str, agency: str, node: str) -> SpiffeId:
        """One node of an agency."""
        return cls(region, "node", agency, node)

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """The identity that a URI names. Raises LiaisonError(CERTIFICATE_INVALID) for any other text."""
        scheme, _, rest = uri.partition("spiffe://")
        region, *path = rest.split("/")
        try:
            match (scheme, path):
                case ("", ["hub"]):
                    return cls.hub(region)
                case ("", ["coordinator"]):
                    return cls.coordinator(region)
                case ("", ["agency", agency]):
                    return cls.of_agency(region, agency)
                case ("", ["agency", agency, "node", node]):
                    return cls.of_node(region, agency, node)
        except LiaisonError:
            pass
        raise LiaisonError(Code.CERTIFICATE_INVALID, "A certificate does not carry an identity of this kind.")

    def __str__(self) -> str:
        path = {
            "hub": "hub",
            "coordinator": "coordinator",
            "agency": f"agency/{self.agency}",
            "node": f"agency/{self.agency}/node/{self.node}",
        }[self.role]
        return f"spiffe://{self.region}/{path}"
