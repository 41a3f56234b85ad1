"""Offences: the codes of the National Incident-Based Reporting System, and the classes that rules may name.

Source of the codes: FBI, *NIBRS User Manual*, Group A offences (which carry incident data) and Group B offences
(arrest data only). Retired codes (90A, 90E, 90H, 90I) are left out, so a request cannot name them.

Classes, each the narrowest published meaning, so that a rule never reaches further than its reader thinks:

    violent     the violent crimes of the Uniform Crime Reporting Program: murder, rape (11A, 11B and 11C since the
                definition of 2013), robbery, aggravated assault. Kidnapping and trafficking are not among them.
    property    NIBRS "crimes against property" without robbery, which is violent above.
    drug        NIBRS "drug/narcotic offenses".
    sex         NIBRS "sex offenses", with and without force. Prostitution and trafficking are not among them.
    any         every code of this page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Offence(NamedTuple):
    """One code: what it is called, and the classes it belongs to besides `any`."""

    title: str
    classes: frozenset[str] = frozenset()


_VIOLENT = frozenset({"violent"})
_PROPERTY = frozenset({"property"})
_DRUG = frozenset({"drug"})
_SEX = frozenset({"sex"})

NIBRS: Final[Mapping[str, Offence]] = MappingProxyType(
    {
        "09A": Offence("Murder and nonnegligent manslaughter", _VIOLENT),
        "09B": Offence("Negligent manslaughter"),
        "09C": Offence("Justifiable homicide (not a crime)"),
        "100": Offence("Kidnapping or abduction"),
        "101": Offence("Treason (federal)"),
        "103": Offence("Espionage (federal)"),
        "11A": Offence("Rape", _VIOLENT | _SEX),
        "11B": Offence("Sodomy", _VIOLENT | _SEX),
        "11C": Offence("Sexual assault with an object", _VIOLENT | _SEX),
        "11D": Offence("Criminal sexual contact (fondling)", _SEX),
        "120": Offence("Robbery", _VIOLENT),
        "13A": Offence("Aggravated assault", _VIOLENT),
        "13B": Offence("Simple assault"),
        "13C": Offence("Intimidation"),
        "200": Offence("Arson", _PROPERTY),
        "210": Offence("Extortion or blackmail", _PROPERTY),
        "220": Offence("Burglary, breaking and entering", _PROPERTY),
        "23A": Offence("Pocket-picking", _PROPERTY),
        "23B": Offence("Purse-snatching", _PROPERTY),
        "23C": Offence("Shoplifting", _PROPERTY),
        "23D": Offence("Theft from a building", _PROPERTY),
        "23E": Offence("Theft from a coin-operated machine", _PROPERTY),
        "23F": Offence("Theft from a motor vehicle", _PROPERTY),
        "23G": Offence("Theft of motor vehicle parts", _PROPERTY),
        "23H": Offence("All other larceny", _PROPERTY),
        "240": Offence("Motor vehicle theft", _PROPERTY),
        "250": Offence("Counterfeiting or forgery", _PROPERTY),
        "26A": Offence("False pretenses, swindle, confidence game", _PROPERTY),
        "26B": Offence("Credit card or teller machine fraud", _PROPERTY),
        "26C": Offence("Impersonation", _PROPERTY),
        "26D": Offence("Welfare fraud", _PROPERTY),
        "26E": Offence("Wire fraud", _PROPERTY),
        "26F": Offence("Identity theft", _PROPERTY),
        "26G": Offence("Hacking or computer invasion", _PROPERTY),
        "26H": Offence("Money laundering (federal)", _PROPERTY),
        "270": Offence("Embezzlement", _PROPERTY),
        "280": Offence("Stolen property offences", _PROPERTY),
        "290": Offence("Destruction, damage or vandalism of property", _PROPERTY),
        "30A": Offence("Illegal entry into the United States (federal)"),
        "30B": Offence("False citizenship (federal)"),
        "30C": Offence("Smuggling aliens (federal)"),
        "30D": Offence("Re-entry after deportation (federal)"),
        "35A": Offence("Drug or narcotic violations", _DRUG),
        "35B": Offence("Drug equipment violations", _DRUG),
        "360": Offence("Failure to register as a sex offender (federal)"),
        "36A": Offence("Incest", _SEX),
        "36B": Offence("Statutory rape", _SEX),
        "370": Offence("Pornography or obscene material"),
        "39A": Offence("Betting or wagering"),
        "39B": Offence("Operating, promoting or assisting gambling"),
        "39C": Offence("Gambling equipment violations"),
        "39D": Offence("Sports tampering"),
        "40A": Offence("Prostitution"),
        "40B": Offence("Assisting or promoting prostitution"),
        "40C": Offence("Purchasing prostitution"),
        "49A": Offence("Harboring an escapee or concealing from arrest (federal)"),
        "49B": Offence("Flight to avoid prosecution (federal)"),
        "49C": Offence("Flight to avoid deportation (federal)"),
        "510": Offence("Bribery", _PROPERTY),
        "520": Offence("Weapon law violations"),
        "521": Offence("Violation of the National Firearm Act (federal)"),
        "522": Offence("Weapons of mass destruction (federal)"),
        "526": Offence("Explosives (federal)"),
        "58A": Offence("Import violations (federal)"),
        "58B": Offence("Export violations (federal)"),
        "61A": Offence("Federal liquor offences (federal)"),
        "61B": Offence("Federal tobacco offences (federal)"),
        "620": Offence("Wildlife trafficking (federal)"),
        "64A": Offence("Human trafficking, commercial sex acts"),
        "64B": Offence("Human trafficking, involuntary servitude"),
        "720": Offence("Animal cruelty"),
        "90B": Offence("Curfew, loitering or vagrancy"),
        "90C": Offence("Disorderly conduct"),
        "90D": Offence("Driving under the influence"),
        "90F": Offence("Family offences without violence"),
        "90G": Offence("Liquor law violations"),
        "90J": Offence("Trespass of real property"),
        "90K": Offence("Failure to appear (federal)"),
        "90L": Offence("Federal resource violations (federal)"),
        "90M": Offence("Perjury (federal)"),
        "90Z": Offence("All other offences"),
    }
)

CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "violent": "Murder, rape, robbery and aggravated assault.",
        "property": "Crimes against property, robbery excepted.",
        "drug": "Drug, narcotic and drug equipment violations.",
        "sex": "Sex offences, with and without force.",
        "any": "Every offence code.",
    }
)

OFFENCES: Final = frozenset(f"nibrs:{code}" for code in NIBRS)
"""What a request may name: one offence, never a class."""

OFFENCE_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {f"class:{name}": says for name, says in CLASSES.items()}
    | {f"nibrs:{code}": offence.title for code, offence in NIBRS.items()}
)
"""What a rule may name: offences and classes of them."""

_MEMBERS: Final = {
    f"class:{name}": frozenset(
        f"nibrs:{code}" for code, offence in NIBRS.items() if name == "any" or name in offence.classes
    )
    for name in CLASSES
}


def expand(words: Iterable[str]) -> frozenset[str]:
    """All the offences that these words of a rule name, classes replaced by their members."""
    return frozenset[str]().union(*(_MEMBERS.get(word, frozenset({word})) for word in words))
