"""The README is right: its blocks are what the commands print, its links lead somewhere, its make targets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demo.readme import block, help_of

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("program", ["hub", "agency-node"])
def test_the_help_in_the_readme_is_what_the_command_prints(program: str) -> None:
    assert block(README, f"{program} --help") == help_of(program)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_demos_output_in_the_readme_shows_a_verified_log_and_a_blind_hub() -> None:
    shown = block(README, "demo")
    assert "verified True" in shown
    assert "0 slices of a probe, 0 pictures that open" in shown
    assert "%" not in shown
