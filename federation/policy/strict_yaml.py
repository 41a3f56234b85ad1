"""YAML as a policy file may use it: maps, lists and plain values, each with the place where it stands.

Built on PyYAML's parser events, so that nothing is ever constructed from a tag and no alias is ever followed.
Refused, with the place: anchors and aliases, tags, more than one document, keys given twice, keys that are not
plain words, nesting beyond `MAX_DEPTH`, files beyond `MAX_BYTES`, text that is not UTF-8.

Plain values follow the core schema of YAML 1.2 (so `no` is a word, not false, and `1e-4` is a number), with one
addition: a date `2026-01-01` is a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 16

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column of a file, both counted from one."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class StrictYamlError(Exception):
    """The text is not YAML that a policy file may use; carries the place and one sentence."""

    def __init__(self, place: Place, sentence: str) -> None:
        self.place = place
        self.sentence = sentence
        super().__init__(f"{place}: {sentence}")


@dataclass(slots=True)
class Located:
    """A document's value, and where each key (or list entry) of it stands, by path."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where this path stands, or the nearest thing above it that does."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))


def read(text: str | bytes) -> Located:
    """Read one document.

    Raises StrictYamlError, and nothing else, for whatever cannot be read.
    """
    located = Located()
    builder = _Builder(_events(_decoded(text)), located.places)
    located.value = builder.document()
    return located


def _decoded(text: str | bytes) -> str:
    start = Place(1, 1)
    try:
        raw = text.encode("utf-8") if isinstance(text, str) else text
        if len(raw) > MAX_BYTES:
            raise StrictYamlError(start, f"The file is larger than {MAX_BYTES:,} bytes.")
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise StrictYamlError(Place(line, column), "The file is not UTF-8 text; save it as UTF-8.") from None
    except UnicodeEncodeError:
        raise StrictYamlError(start, "The text holds characters that UTF-8 cannot carry.") from None


def _events(text: str) -> Iterator[yaml.Event]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise StrictYamlError(place, f"This is not YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError:
        raise StrictYamlError(
            Place(1, 1), "This is not YAML: it holds a character that YAML does not allow."
        ) from None


class _Builder:
    """Turns parser events into plain values, refusing on the way what the module's docstring names."""

    def __init__(self, events: Iterator[yaml.Event], places: dict[Path, Place]) -> None:
        self._events = events
        self._places = places

    def document(self) -> Any:
        next(self._events)  # the start of the stream
        first = next(self._events)
        if isinstance(first, yaml.StreamEndEvent):
            raise StrictYamlError(Place(1, 1), "The file is empty.")
        value = self._value(next(self._events), ())
        next(self._events)  # the end of the document
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise StrictYamlError(
                _place(after), "A second document begins here; a policy file is one document."
            )
        return value

    def _value(self, event: yaml.Event, path: Path) -> Any:
        self._refuse_indirection(event)
        if path not in self._places:
            self._places[path] = _place(event)
        if len(path) > MAX_DEPTH:
            raise StrictYamlError(_place(event), f"This is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._map(path)

    def _list(self, path: Path) -> list[Any]:
        entries: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            entries.append(self._value(event, (*path, len(entries))))
        return entries

    def _map(self, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._refuse_indirection(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise StrictYamlError(_place(event), "A key must be a plain word.")
            key = event.value
            if key in entries:
                first = self._places[(*path, key)]
                raise StrictYamlError(
                    _place(event), f"The key `{shown(key)}` is given twice, first on line {first.line}."
                )
            self._places[(*path, key)] = _place(event)
            entries[key] = self._value(next(self._events), (*path, key))
        return entries

    @staticmethod
    def _refuse_indirection(event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise StrictYamlError(_place(event), "Aliases (`*name`) are not allowed; write the value out.")
        if getattr(event, "anchor", None) is not None:
            raise StrictYamlError(_place(event), "Anchors (`&name`) are not allowed; write the value out.")
        if getattr(event, "tag", None) is not None:
            raise StrictYamlError(_place(event), "Tags (`!name`) are not allowed.")


def shown(word: str) -> str:
    """A word of the file as an error may show it: printable and short."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in word)
    return printable if len(printable) <= 60 else f"{printable[:57]}..."


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _scalar(event: yaml.ScalarEvent) -> str | int | float | bool | date | None:
    text: str = event.value
    if event.style:  # quoted or a block: always text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise StrictYamlError(_place(event), f"There is no day {text}.") from None
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
