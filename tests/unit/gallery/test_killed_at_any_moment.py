"""The node is killed before and after every single step of an import; what is opened then is whole."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Burns at the nth step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class Mortal:
    """A collaborator that may die just before or just after any call."""

    def __init__(self, part: Any, fuse: Fuse) -> None:
        self._part = part
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.step()
            result = method(*args, **kwargs)
            self._fuse.step()
            return result

        return call


def first_import(direction, enrolment) -> list[Any]:
    return [enrolment(direction(n), f"S-{n}") for n in range(3)]


def second_import(direction, enrolment) -> list[Any]:
    """One changed photograph, one new subject, one new encounter."""
    return [
        enrolment(direction(10), "S-0", photo=b"changed"),
        enrolment(direction(3), "S-3"),
        enrolment(direction(11), "S-1", "2"),
    ]


def truth(gallery, home, direction) -> Any:
    """Everything that can be seen of a gallery, by search and on the disk."""
    searches = [gallery.search(direction(n), 20) for n in range(12)]
    found = [
        [(m.subject_ref, m.encounter_ref, round(m.similarity, 4)) for m in near if m.similarity > 0.5]
        for near in searches
    ]
    photos = {gallery.photo(match.encounter_id) for near in searches for match in near}
    files = len([path for path in (home.path / "photos").rglob("*") if path.is_file()])
    return found, photos, files, home.index.count(), gallery.counts()


def reopen(home, stack):
    gallery = home.open(stack)
    gallery.reconcile()
    gallery.sweep()
    return gallery


def test_killed_at_any_step_the_gallery_is_as_before_or_as_after_and_the_same_import_completes_it(
    home, direction, enrolment, tmp_path_factory
) -> None:
    def run(steps: int) -> bool:
        """Import with a fuse of so many steps; return whether it survived."""
        place = type(home)(tmp_path_factory.mktemp("home"), home.key_uri)
        with ExitStack() as life:
            place.open(life).enroll(first_import(direction, enrolment))
        with ExitStack() as life:
            before = truth(reopen(place, life), place, direction)
        survived = True
        with ExitStack() as life:
            fuse = Fuse(steps)
            mortal = place.open(life, wrap=lambda part, _name: Mortal(part, fuse))
            try:
                mortal.enroll(second_import(direction, enrolment))
            except Killed:
                survived = False
        with ExitStack() as life:
            gallery = reopen(place, life)
            assert truth(gallery, place, direction) in (before, after)
            gallery.enroll(second_import(direction, enrolment))
            assert truth(gallery, place, direction) == after
        return survived

    with ExitStack() as life:
        whole = home.open(life)
        whole.enroll(first_import(direction, enrolment))
        whole.enroll(second_import(direction, enrolment))
        after = truth(whole, home, direction)
    steps = 0
    while not run(steps):
        steps += 1
    assert steps > 20


@pytest.mark.parametrize("steps", range(12))
def test_killed_while_reconciling_the_next_start_repairs_it(home, direction, enrolment, steps: int) -> None:
    with ExitStack() as life:
        importer = home.open(life, holds_index=False)
        importer.enroll(first_import(direction, enrolment))
        importer.enroll(second_import(direction, enrolment))
    home.index.upsert([1], direction(20).reshape(1, -1))
    with ExitStack() as life:
        fuse = Fuse(steps)
        mortal = home.open(life, wrap=lambda part, _name: Mortal(part, fuse))
        with pytest.raises(Killed):
            mortal.reconcile()
    with ExitStack() as life:
        gallery = reopen(home, life)
        assert home.index.count() == 5
        assert gallery.counts().pending == 0
        assert len(gallery.search(direction(0), 20)) == 4
