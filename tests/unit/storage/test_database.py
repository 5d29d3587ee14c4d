from __future__ import annotations

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import event, select, text, update

import storage.database
from storage.associations import open_association
from storage.database import Database, open_database, sqlite_url
from storage.dicom_tables import Association
from storage.errors import DatabaseUnavailable, OutOfSpace, StorageError
from storage.migrate import migrate
from tests.peers.postgres import PostgresServer
from tests.unit.storage.samples import NOW


def _associations(db: Database) -> list[Association]:
    with db.read() as session:
        return list(session.scalars(select(Association).order_by(Association.id)))


def _open(db: Database, address: str = "127.0.0.1", now: datetime = NOW) -> int:
    return open_association(
        db, calling_ae_title="PACS", called_ae_title="RADNODE", address=address, now=now
    )


def _row(calling_ae_title: str) -> Association:
    return Association(
        calling_ae_title=calling_ae_title, called_ae_title="RADNODE", address="", opened_at=NOW
    )


def test_a_transaction_that_ends_well_is_kept(db: Database) -> None:
    _open(db)
    assert len(_associations(db)) == 1


def test_an_error_undoes_the_whole_transaction(db: Database) -> None:
    def add_and_fail() -> None:
        with db.begin() as session:
            session.add(_row("PACS"))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_and_fail()
    assert _associations(db) == []


def test_a_read_sees_one_moment_throughout(db: Database) -> None:
    with db.read() as session:
        before = len(session.scalars(select(Association)).all())
        _open(db)
        assert len(session.scalars(select(Association)).all()) == before


def test_readers_that_write_afterwards_never_deadlock(db: Database) -> None:
    """Read, then write what was read: the pattern that a deferred SQLite transaction fails at."""
    association_id = _open(db, address="0")

    def count_up(_: int) -> None:
        with db.begin() as session:
            row = session.get_one(Association, association_id, with_for_update=True)
            row.address = str(int(row.address) + 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, range(80)))
    assert _associations(db)[0].address == "80"


def test_times_come_back_as_aware_utc(db: Database) -> None:
    _open(db, now=datetime(2026, 3, 1, 9, 30, 0, 123456, timezone(timedelta(hours=1))))
    opened_at = _associations(db)[0].opened_at
    assert opened_at == datetime(2026, 3, 1, 8, 30, 0, 123456, UTC)
    assert opened_at.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(db: Database) -> None:
    with pytest.raises(StorageError):
        _open(db, now=datetime(2026, 3, 1))
    assert _associations(db) == []


def test_a_value_that_no_column_takes_is_told_as_an_error_of_storage(db: Database) -> None:
    with pytest.raises(StorageError):
        _open(db, address=5)  # type: ignore[arg-type]
    assert _associations(db) == []


def _change_and_be_refused(db: Database) -> None:
    with db.drive() as driver:
        driver.cursor.execute("UPDATE association SET address = ''")
        driver.cursor.execute("INSERT INTO association (address) VALUES (NULL)")


def test_a_refused_statement_leaves_no_lock_behind(db: Database) -> None:
    """Also while the error is still being dealt with: its traceback holds the driver's cursor."""
    with pytest.raises(StorageError) as held:
        _change_and_be_refused(db)
    assert _open(db)
    assert "refused a statement" in str(held.value)


def test_errors_repeat_nothing_of_the_row_they_are_about(db: Database) -> None:
    secret = "Doe^Jane"

    def break_a_rule() -> None:
        with db.begin() as session:
            session.add(_row(secret))
            session.flush()
            # PostgreSQL's own message about this quotes the whole row.
            session.execute(update(Association).values(called_ae_title=None))

    with pytest.raises(StorageError) as caught:
        break_a_rule()
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_database_without_our_tables_is_an_error_of_ours(empty_url: str) -> None:
    db = open_database(empty_url)
    with pytest.raises(StorageError):
        _open(db)
    db.close()


def test_sqlite_keeps_every_commit_through_a_power_cut(tmp_path: Path) -> None:
    db = open_database(sqlite_url(tmp_path / "radnode.db"))
    with db.read() as session:
        settings = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    db.close()


def test_a_database_that_a_restore_left_open_to_others_is_private_again(tmp_path: Path) -> None:
    path = tmp_path / "radnode.db"
    path.touch(mode=0o644)
    open_database(sqlite_url(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sqlite_files_are_private(tmp_path: Path) -> None:
    db = open_database(sqlite_url(tmp_path / "kept" / "radnode.db"))
    migrate(db)
    _open(db)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "kept").iterdir()}
    names = {f"radnode.db{suffix}" for suffix in ("", "-wal", "-shm", ".turn")}
    assert set(modes) == names
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    db.close()


def test_a_locked_sqlite_database_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.database, "BUSY_TIMEOUT_S", 0.05)
    url = sqlite_url(tmp_path / "radnode.db")
    holder, waiter = open_database(url), open_database(url)
    migrate(holder)
    with holder.begin() as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable):
            _open(waiter)
    assert _open(waiter) == 1
    holder.close()
    waiter.close()


def test_a_full_disk_under_sqlite_is_out_of_space(tmp_path: Path) -> None:
    db = open_database(sqlite_url(tmp_path / "radnode.db"))
    migrate(db)
    db.close()

    def allow_no_growth(connection: object, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # type: ignore[attr-defined]

    event.listen(db._engine, "connect", allow_no_growth)
    with pytest.raises(OutOfSpace):
        _open(db, address="x" * 100_000)
    db.close()


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        open_database(sqlite_url(tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://u:secret@h/d",
        "u:secret@h",
        "postgresql://u:secret@h:port/d",
    ],
)
def test_a_url_that_cannot_serve_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "told"), [("sslmod=require", "was sslmode meant"), ("qzx=1", "%3F")]
)
def test_an_option_that_postgresql_does_not_know_is_told_without_being_repeated(
    option: str, told: str
) -> None:
    with pytest.raises(StorageError, match=told) as refused:
        open_database(f"postgresql://radnode:secret@127.0.0.1/radnode?{option}")
    assert f"{option.partition('=')[0]} " not in str(refused.value)


@pytest.mark.peer("postgresql")
def test_postgresql_may_go_down_and_come_back() -> None:
    with PostgresServer() as server:
        db = open_database(server.new_database())
        migrate(db)
        first = _open(db)
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            _open(db)
        server.restart()
        assert _open(db) > first
        db.close()


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize(("asked", "expected_ms"), [("", 15_000), ("?tcp_user_timeout=4000", 4000)])
def test_a_postgresql_that_vanished_without_a_word_is_given_up_by_the_kernel(
    postgres_server: PostgresServer, asked: str, expected_ms: int
) -> None:
    db = open_database(postgres_server.url() + asked)
    with db.drive() as driver:
        pgconn = driver.cursor.connection.pgconn
        with socket.socket(fileno=os.dup(pgconn.socket)) as connection:
            given_up = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            asked_for_a_sign = [
                connection.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
    db.close()
    assert (given_up, asked_for_a_sign) == (expected_ms, [5, 5, 2])


@pytest.mark.peer("postgresql")
def test_a_connection_cut_by_postgresql_is_replaced_unseen(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    db = open_database(url)
    migrate(db)
    other = open_database(postgres_server.url())
    with other.begin() as session:
        name = url.rsplit("/", 1)[1]
        session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )
    assert _open(db) == 1
    other.close()
    db.close()
