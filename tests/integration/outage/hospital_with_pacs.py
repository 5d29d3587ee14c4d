"""A node with one PACS, which it asks for storage commitment, in time that is set by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config.settings import DicomDestination, SenderSettings, Settings
from node.commitment_results import CommitmentResults
from node.confirmation import Confirmation
from node.receive.commitment_service import CommitmentService
from node.receive.listener import Listener
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.overview import study_rows
from storage.records import DeliveryRecord
from tests.integration.node_receive.running_listener import receive_settings
from tests.integration.outage.hospital import Deliveries
from tests.migrated_database import migrated_database
from tests.peers.ports import wait_until
from tests.unit.storage.samples import WORKER


class Hospital:
    """A node with one PACS: what goes there, and the listener that takes the reports."""

    def __init__(self, db: Database, folder: Path, pacs: DicomDestination, port: int) -> None:
        senders = (SenderSettings(ae_title=pacs.ae_title),)
        settings = receive_settings(senders=senders, port=port)
        self.settings: Settings = settings.model_copy(update={"destinations": (pacs,)})
        self.files = InstanceFiles(folder / "data")
        self.node = Deliveries(db, self.files, (pacs,))
        self._db = db
        self._asking = Confirmation(pacs, self.settings, db, worker_id=WORKER, clock=self.node.time)

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Take reports meanwhile."""
        results = CommitmentResults(self.settings, self._db, worker_id=WORKER, clock=self.node.time)
        service = CommitmentService(self._db, lambda: None, results.take, lambda _: False)
        listener = Listener(self.settings, self._db, self.files, lambda: None, services=(service,))
        try:
            yield listener.start()
        finally:
            listener.stop()

    def pass_time(self, minutes: float) -> None:
        """Send what is due, and ask about what was sent, every half minute."""
        until = self.node.time.minutes + minutes
        while self.node.time.minutes < until:
            self.ask()
            self.node.run_until(self.node.time.minutes + 0.5)

    def ask(self) -> None:
        """Ask about all that is due."""
        while self._asking.ask_next():
            pass

    def becomes(self, *states: str) -> None:
        """Wait until the deliveries have these states."""
        wait_until(partial(self._are, list(states)), what=f"{states}")

    def _are(self, states: list[str]) -> bool:
        return self.states == states

    @property
    def deliveries(self) -> list[DeliveryRecord]:
        """One a job, in the order of the jobs."""
        return sorted(self.node.to("pacs"), key=lambda each: each.job_id)

    @property
    def states(self) -> list[str]:
        """The states of the deliveries."""
        return [each.state.value for each in self.deliveries]

    @property
    def unconfirmed(self) -> list[str]:
        """Why each study's result is not confirmed, in the order of the jobs."""
        rows = sorted(study_rows(self._db, 10), key=lambda row: row.jobs[0].job_id)
        return [row.jobs[0].deliveries[0].unconfirmed for row in rows]

    @property
    def proofs(self) -> list[str]:
        """What each delivery was confirmed by."""
        return [
            " ".join(sorted({"commitment", "found"} & each.receipt.keys()))
            for each in self.deliveries
        ]


def pacs_at(port: int, ae_title: str) -> DicomDestination:
    """A PACS on this machine that is asked for storage commitment."""
    known: dict[str, Any] = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 1}
    return DicomDestination.model_validate({**known, "port": port, "ae_title": ae_title})


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.sqlite")
    yield database
    database.close()
