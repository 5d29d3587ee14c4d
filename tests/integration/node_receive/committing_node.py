"""A node with storage commitment, in either role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from config.settings import DicomDestination, RetrySettings, SenderSettings, Settings
from node.commitment_reports import reported_sender
from node.commitment_results import CommitmentResults
from node.receive.commitment_service import CommitmentService
from node.receive.listener import Listener
from storage.database import Database
from storage.instance_files import InstanceFiles
from tests.integration.node_receive.mr_study import SERIES
from tests.integration.node_receive.running_listener import CALLING, receive_settings
from tests.migrated_database import migrated_database
from tests.peers.ports import free_port
from tests.unit.storage.samples import (
    WORKER,
)

UIDS = (f"{SERIES}.1", f"{SERIES}.2")


@dataclass
class Node:
    """A listener with storage commitment, and what stands behind it."""

    settings: Settings
    db: Database
    files: InstanceFiles
    port: int
    lists: list[str] = field(default_factory=list)


@pytest.fixture
def commitment_port() -> int:
    return free_port()


@pytest.fixture
def node(tmp_path: Path, commitment_port: int) -> Iterator[Node]:
    sender = SenderSettings(
        ae_title=CALLING, commitment_host="127.0.0.1", commitment_port=commitment_port
    )
    settings = receive_settings(senders=(sender,), port=free_port())
    settings = settings.model_copy(update={"destinations": (destination_at(commitment_port),)})
    db = migrated_database(tmp_path / "radnode.db")
    files = InstanceFiles(tmp_path / "data")
    lists: list[str] = []
    service = CommitmentService(
        db,
        lambda: lists.append("list"),
        CommitmentResults(settings, db, worker_id=WORKER).take,
        lambda ae_title: reported_sender(settings, ae_title) is not None,
    )
    listener = Listener(settings, db, files, lambda: None, services=(service,))
    yield Node(settings, db, files, listener.start(), lists)
    listener.stop()
    db.close()


def destination_at(port: int, **changes: object) -> DicomDestination:
    retry = RetrySettings(first_s=0.01, longest_s=0.01)
    destination = DicomDestination(
        type="dicom", name="pacs", host="127.0.0.1", port=port, ae_title=CALLING, retry=retry
    )
    return destination.model_copy(update=changes)
