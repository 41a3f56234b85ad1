"""`agency-node import` as an operator runs it, with the real engine, real photographs and Milvus Lite."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agency_node.cli.gallery_import import import_photographs
from agency_node.config import load_node
from agency_node.engine import FaceEngine, load_engine, open_picture, pack, weights
from agency_node.engine.choose import dominant_face
from agency_node.gallery import create_key, declared_galleries, open_galleries
from federation.errors import Code, LiaisonError

pytestmark = pytest.mark.slow

POLICY = """
liaison: policy/v1
agency: lodi-pd
version: 1
jurisdictions: [us-ca]
in_force: {from: 2026-01-01, until: 2036-12-31}
galleries:
  booking: {kind: booking, title: Booking photographs, retention_days: 3650}
  web: {kind: public-source, title: Photographs of the public web}
"""


@dataclass(frozen=True)
class Invocation:
    home: Path
    json: bool = False


@pytest.fixture(scope="module")
def engine() -> FaceEngine:
    pack.install(pack.pack_folder(), weights.gather)
    return load_engine()


@pytest.fixture
def home(tmp_path: Path, engine: FaceEngine) -> Path:
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    create_key(home / "keys" / "vault.key")
    (home / "node.toml").write_text('agency = "lodi-pd"\n')
    (home / "policy.yaml").write_text(POLICY)
    return home


def packaged(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0]) / name


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "collins").mkdir(parents=True)
    shutil.copy(packaged("skimage", "data/astronaut.png"), folder / "collins" / "nasa.png")
    return folder


def run(home: Path, *arguments: object) -> Result:
    runner = CliRunner()
    return runner.invoke(import_photographs, [str(a) for a in arguments], obj=Invocation(home))


def test_a_folder_is_imported_found_by_another_picture_and_not_done_twice(home, pictures, engine) -> None:
    first = run(home, pictures, "--gallery", "booking")
    assert first.exit_code == 0, first.output
    assert "added" in first.output
    second = run(home, pictures, "--gallery", "booking", "--json")
    assert json.loads(second.stdout)["unchanged"] == 1

    node = load_node(home)
    picture = open_picture((pictures / "collins" / "nasa.png").read_bytes())
    face, _ = dominant_face(engine.detect(picture))
    with open_galleries(
        home,
        declared_galleries(node.policy),
        engine.engine_id,
        vault_key_uri=node.vault_key_uri,
        hold_index=True,
    ) as galleries:
        [match] = galleries["booking"].search(engine.template(picture, face), 5)
        assert (match.subject_ref, match.encounter_ref) == ("collins", "nasa")
        assert match.similarity == pytest.approx(1.0, abs=1e-4)
        assert 0 < match.quality <= 100
        assert (
            galleries["booking"].photo(match.encounter_id) == (pictures / "collins" / "nasa.png").read_bytes()
        )


def test_bad_pictures_are_named_and_the_exit_says_so(home, pictures) -> None:
    (pictures / "nobody.jpg").write_bytes(b"this is no picture")
    shutil.copy(packaged("insightface", "data/images/t1.jpg"), pictures / "group.jpg")
    result = run(home, pictures, "--gallery", "booking")
    assert isinstance(result.exception, LiaisonError)
    assert result.exception.code is Code.IMPORT_INCOMPLETE
    assert "skipped nobody.jpg: The picture cannot be read." in result.stdout
    assert "skipped group.jpg: There are several faces" in result.stdout
    again = run(home, pictures, "--gallery", "booking", "--json")
    assert json.loads(again.stdout)["unchanged"] == 1


def test_a_manifest_in_the_folder_is_used_and_a_dry_run_does_nothing(home, pictures) -> None:
    (pictures / "manifest.csv").write_text(
        "subject,encounter,captured,picture,name\nCII-1,BK-9,2020-02-03,collins/nasa.png,Eileen Collins\n"
    )
    dry = run(home, pictures, "--gallery", "booking", "--dry-run", "--json")
    assert json.loads(dry.stdout)["added"] == 1
    wet = run(home, pictures, "--gallery", "booking", "--json")
    assert json.loads(wet.stdout)["added"] == 1


def test_public_source_photographs_need_to_say_where_they_come_from(home, pictures) -> None:
    refused = run(home, pictures, "--gallery", "web", "--json")
    assert json.loads(refused.stdout)["skipped"][0]["error"] == "row-invalid"
    provenance = (
        "--provenance-url",
        "https://example.org",
        "--provenance-captured",
        "2025-01-01",
        "--basis",
        "Order 7",
    )
    accepted = run(home, pictures, "--gallery", "web", "--json", *provenance)
    assert accepted.exit_code == 0
    assert json.loads(accepted.stdout)["added"] == 1


def test_while_the_node_serves_an_import_leaves_the_index_to_it(home, pictures, engine) -> None:
    node = load_node(home)
    with open_galleries(
        home,
        declared_galleries(node.policy),
        engine.engine_id,
        vault_key_uri=node.vault_key_uri,
        hold_index=True,
    ) as serving:
        result = run(home, pictures, "--gallery", "booking", "--json")
        assert json.loads(result.stdout)["pending"] == 1
        assert serving.refresh() == 1
        assert serving["booking"].counts().pending == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("absent", "--gallery", "booking"), Code.FILE_MISSING),
        (("{pictures}", "--gallery", "other"), Code.GALLERY_ABSENT),
        (("{pictures}", "--gallery", "booking", "--manifest", "absent.csv"), Code.FILE_MISSING),
    ],
)
def test_what_is_not_there_is_said_in_an_error_of_the_catalogue(home, pictures, arguments, code) -> None:
    result = run(home, *(argument.format(pictures=pictures) for argument in arguments))
    assert isinstance(result.exception, LiaisonError)
    assert result.exception.code is code
