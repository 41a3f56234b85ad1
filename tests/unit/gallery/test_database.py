"""The records' file: its migrations, its settings and whose key it was written with."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from agency_node.gallery import database, tables
from agency_node.gallery.vault import Vault
from federation.errors import Code, LiaisonError


@pytest.fixture
def vault(tmp_path) -> Vault:
    return Vault(b"k" * 32, tmp_path)


@pytest.fixture
def file(tmp_path, vault):
    opened = database.RecordsFile(tmp_path / "records.db", vault)
    yield opened
    opened.close()


def test_the_migrations_build_exactly_the_tables_that_the_code_uses(file) -> None:
    with file.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_newest_revision_is_the_one_that_the_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == database.NEWEST_REVISION


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("secure_delete", 1),
        ("busy_timeout", 10000),
    ],
)
def test_every_connection_writes_durably_and_overwrites_what_it_deletes(
    file, pragma: str, value: object
) -> None:
    for connect in (file.read, file.write):
        with connect() as connection:
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_a_file_keeps_its_own_name_and_two_files_have_different_ones(tmp_path, vault, file) -> None:
    again = database.RecordsFile(tmp_path / "records.db", vault)
    other = database.RecordsFile(tmp_path / "other.db", vault)
    again.close()
    other.close()
    assert again.instance == file.instance != other.instance


def test_a_file_written_with_another_key_is_not_opened(tmp_path, file) -> None:
    with pytest.raises(LiaisonError) as refused:
        database.RecordsFile(tmp_path / "records.db", Vault(b"x" * 32, tmp_path))
    assert refused.value.code is Code.KEY_UNREADABLE


def test_a_file_that_is_no_database_is_said_to_be_damaged_and_left_alone(tmp_path, vault) -> None:
    (tmp_path / "noise.db").write_bytes(b"this is no database, but it may be evidence" * 50)
    with pytest.raises(LiaisonError) as refused:
        database.RecordsFile(tmp_path / "noise.db", vault)
    assert refused.value.code is Code.GALLERY_DAMAGED
    assert (tmp_path / "noise.db").read_bytes().startswith(b"this is no database")
