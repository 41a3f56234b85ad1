"""What a person says about a search, checked before a picture is opened or anything leaves the agency.

No search without a case, a purpose and an offence. The offence may be left out for the purposes that need no crime:
a missing, disoriented or dead person, or a threat to life.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from agency_node.config import User
from federation.errors import Code, LiaisonError
from federation.policy.model import did_you_mean
from federation.policy.offences import NIBRS, OFFENCES
from federation.policy.vocabulary import PROBE_SOURCES, PURPOSES
from federation.probe.request import LONGEST_LIFE, Requester

WITHOUT_OFFENCE = frozenset(
    {"missing-person", "disoriented-person", "deceased-identification", "threat-to-life"}
)
DEFAULT_LIFE = timedelta(hours=1)
SHORTEST_LIFE = timedelta(seconds=10)
_LIFE = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class RequestDetails:
    """Who asks and why. `galleries` are `agency/gallery`, none for all; `life` is how long the request may wait.

    `offense` is `nibrs:<code>`. `beneficiary` is the agency that the search is for, when it is another.
    """

    user: str
    purpose: str
    probe_source: str
    case_number: str | None
    offense: str | None = None
    narrative: str | None = None
    legal_basis: str | None = None
    warrant: str | None = None
    attestations: tuple[str, ...] = ()
    beneficiary: str | None = None
    galleries: tuple[str, ...] = ()
    candidates: int | None = None
    life: timedelta = DEFAULT_LIFE


def check_details(details: RequestDetails) -> RequestDetails:
    """The details with an offence in its full form, if a request may be made of them.

    Raises LiaisonError(REQUEST_INVALID) naming the field, and the nearest word where one is misspelt.
    """
    check_word(details.purpose, PURPOSES, "purpose")
    check_word(details.probe_source, PROBE_SOURCES, "probe source")
    if not (details.case_number or "").strip():
        raise _invalid("A search needs a case number.")
    offense = check_offense(details.offense, details.purpose)
    if not SHORTEST_LIFE <= details.life <= LONGEST_LIFE:
        raise _invalid("A request may wait from ten seconds to thirty days.")
    if details.candidates is not None and not 1 <= details.candidates <= 50:
        raise _invalid("The number of candidates must be from 1 to 50.")
    return replace(details, offense=offense)


def check_offense(offense: str | None, purpose: str) -> str | None:
    """The offence as `nibrs:<code>`; a bare code such as `120` is completed.

    Raises LiaisonError(REQUEST_INVALID) for an unknown one, or when the purpose needs one and there is none.
    """
    if not offense:
        if purpose in WITHOUT_OFFENCE:
            return None
        raise _invalid(f"A search for the purpose `{purpose}` needs an offence, such as `nibrs:120`.")
    word = offense.strip()
    full = word if ":" in word else f"nibrs:{word.upper()}"
    if full.startswith("class:"):
        raise _invalid(
            f"`{full[:60]}` is a class of offences for rules; name the offence, such as `nibrs:120`."
        )
    if full in OFFENCES:
        return full
    by_title = {offence.title.lower(): f"nibrs:{code}" for code, offence in NIBRS.items()}
    near = difflib.get_close_matches(word.lower()[:80], by_title, n=1, cutoff=0.6)
    hint = f" Did you mean `{by_title[near[0]]}` ({near[0]})?" if near else did_you_mean(full, OFFENCES)
    raise _invalid(f"`{offense[:60]}` is not a NIBRS offence.{hint}")


def check_word(word: str, vocabulary: Mapping[str, str], what: str) -> None:
    """Raise LiaisonError(REQUEST_INVALID) for a word outside a closed vocabulary, with the nearest inside it."""
    if word not in vocabulary:
        raise _invalid(f"`{word[:60]}` is not a {what}.{did_you_mean(word, vocabulary)}")


def parse_life(text: str) -> timedelta:
    """`90s`, `30m`, `1h` or `2d` as a duration. Raises LiaisonError(REQUEST_INVALID)."""
    match = _LIFE.fullmatch(text.strip())
    if match is None:
        raise _invalid(f"`{text[:20]}` is no duration; write 90s, 30m, 1h or 2d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def choose_user(users: Mapping[str, User], name: str | None) -> str:
    """The user named, or the only one that the settings know. Raises LiaisonError(REQUEST_INVALID)."""
    if name is None and len(users) == 1:
        return next(iter(users))
    if not users:
        raise LiaisonError(Code.CONFIG_INVALID, "node.toml names no user; add one as [users.<name>].")
    if name is None:
        raise _invalid(f"Say who asks with --user: {', '.join(sorted(users))}.")
    if name not in users:
        raise _invalid(f"`{name[:60]}` is not a user of this node.{did_you_mean(name, users)}")
    return name


def requester(agency: str, users: Mapping[str, User], name: str) -> Requester:
    """The requester as the request states it: roles and training as node.toml has them."""
    user = users[choose_user(users, name)]
    trained = user.training_date.isoformat() if user.training_date else None
    return Requester(agency=agency, user=name, roles=tuple(sorted(user.roles)), training_date=trained)


def _invalid(detail: str) -> LiaisonError:
    return LiaisonError(Code.REQUEST_INVALID, detail)
