"""The closed vocabularies of the policy language: every word that a file or a request may use, with its meaning.

A word that is not here does not parse in a policy file, and a request that carries one is refused. Offences have
their own page, `offences`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

Vocabulary = Mapping[str, str]

PURPOSES: Final[Vocabulary] = MappingProxyType(
    {
        "criminal-investigation": "Find out who committed an offence that is under investigation.",
        "victim-identification": "Find out who the victim of an offence is.",
        "witness-identification": "Find out who may have seen an offence.",
        "missing-person": "Find a person who has been reported missing.",
        "disoriented-person": "Find out who a person is who cannot say it.",
        "deceased-identification": "Find out who a dead person was.",
        "threat-to-life": "Prevent an imminent threat to somebody's life.",
        "immigration-enforcement": "Enforce immigration law; the word exists so that it can be refused.",
        "protest-monitoring": "Identify people at a protest; the word exists so that it can be refused.",
        "other-administrative": "Anything else, such as licensing; the word exists so that it can be refused.",
    }
)

PROBE_SOURCES: Final[Vocabulary] = MappingProxyType(
    {
        "cctv-still": "A still picture from a fixed camera.",
        "bystander-photo": "A photograph that somebody took at the place.",
        "social-media": "A picture that somebody published on a social network.",
        "body-camera-still": "A still picture from an officer's body camera.",
        "drone-still": "A still picture from a drone.",
        "recorded-video-frame": "A frame of a recorded video.",
        "booking-photo": "A photograph taken at a booking.",
        "identity-document": "The photograph on an identity document.",
        "public-website": "A picture from a page that anybody can read.",
        "live-video": "A camera that is running now; never permitted.",
        "sketch": "A drawing; never permitted.",
        "composite": "A face put together from parts; never permitted.",
        "generated": "A face that a program made or filled in; never permitted.",
        "look-alike": "Another person who resembles the one sought; never permitted.",
    }
)

GALLERY_KINDS: Final[Vocabulary] = MappingProxyType(
    {
        "booking": "Photographs taken at bookings.",
        "public-source": "Photographs from sources that anybody can read.",
        "missing-persons": "Photographs of people who are missed.",
        "unidentified-deceased": "Photographs of dead people whose names are not known.",
    }
)

RELEASED_FIELDS: Final[Vocabulary] = MappingProxyType(
    {
        "photo": "The candidate's photograph.",
        "subject-reference": "The owner's own number for the subject.",
        "encounter-date": "The day on which the photograph was taken.",
        "year-of-birth": "The subject's year of birth.",
        "sex": "The subject's sex as recorded.",
        "name": "The subject's name as recorded.",
        "provenance": "Where the photograph comes from.",
    }
)

ROLES: Final[Vocabulary] = MappingProxyType(
    {
        "requester": "Asks for a search.",
        "examiner": "Compares candidates with the probe, trained for it.",
        "supervisor": "Approves requests and releases leads.",
        "coordinator": "Runs the region's hub.",
        "node-operator": "Runs an agency's node and its galleries.",
        "auditor": "Reads and verifies the log.",
    }
)

REQUIREMENTS: Final[Vocabulary] = MappingProxyType(
    {
        "case-number": "The request names a case.",
        "narrative": "The request says in words why this person is sought.",
        "warrant": "The request refers to a warrant or court order; it can be added while the request waits.",
        "supervisor-approval": "A supervisor approves; this can be done while the request waits.",
        "two-examiners": "Two examiners compare the candidates before a lead; an obligation after the search.",
        "trained-within:<n>d": "The user finished the training at most n days ago.",
        "min-quality:<0-100>": "The probe has at least this unified quality.",
    }
)

ABSOLUTE_BANS: Final[Vocabulary] = MappingProxyType(
    {
        "live-video": "Liaison never searches live video.",
        "sketch": "Liaison never searches with a sketch.",
        "composite": "Liaison never searches with a composite face.",
        "generated": "Liaison never searches with a generated face.",
        "look-alike": "Liaison never searches with a look-alike of the person sought.",
    }
)
"""Probe sources that no policy can permit."""

NEVER_ENROLL: Final = "Liaison never enrolls a probe into a gallery."

MET_WHILE_WAITING: Final = frozenset({"warrant", "supervisor-approval"})
"""Requirements that somebody can still meet after the request was sent: unmet, they make it wait."""

_PARAMETERED = re.compile(
    r"(?:trained-within:(?P<days>[1-9][0-9]{0,3})d|min-quality:(?P<quality>0|[1-9][0-9]?|100))"
)
_PLAIN = frozenset(word for word in REQUIREMENTS if "<" not in word)


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One word of `requires`, taken apart: `days` of training, or the least unified `quality`, 0–100."""

    word: str
    days: int | None = None
    quality: int | None = None


def parse_requirement(word: str) -> Requirement | None:
    """The requirement that this word names, or None if it names none."""
    if word in _PLAIN:
        return Requirement(word)
    match = _PARAMETERED.fullmatch(word)
    if match is None:
        return None
    if match["days"] is not None:
        return Requirement(word, days=int(match["days"]))
    return Requirement(word, quality=int(match["quality"]))
