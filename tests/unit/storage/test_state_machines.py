"""Random histories never leave the transition tables, lose an event, or run a job twice."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from storage.database import open_database
from tests.migrated_database import migrated_database
from tests.peers.postgres import PostgresServer
from tests.unit.storage.conftest import POSTGRESQL
from tests.unit.storage.job_histories import History


@pytest.mark.parametrize("kind", ["sqlite", POSTGRESQL])
def test_no_history_breaks_the_rules(kind: str, request: pytest.FixtureRequest) -> None:
    class OnSqlite(History):
        def __init__(self) -> None:
            super().__init__()
            self.folder = TemporaryDirectory()
            self.db = migrated_database(Path(self.folder.name) / "radnode.db")

        def teardown(self) -> None:
            super().teardown()
            self.db.close()
            self.folder.cleanup()

    class OnPostgresql(History):
        def __init__(self) -> None:
            super().__init__()
            self.server: PostgresServer = request.getfixturevalue("postgres_server")
            self.url = self.server.new_database(request.getfixturevalue("migrated_postgresql"))
            self.db = open_database(self.url)

        def teardown(self) -> None:
            super().teardown()
            self.db.close()
            self.server.drop_database(self.url)

    run_state_machine_as_test(
        OnSqlite if kind == "sqlite" else OnPostgresql,
        settings=settings(
            max_examples=15 if kind == "sqlite" else 8,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
