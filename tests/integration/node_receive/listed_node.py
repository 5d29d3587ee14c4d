"""A node that is told lists of instances, and asked what is complete."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import InstanceAvailabilityNotification

from config.settings import CompletenessSettings, Settings
from node.completeness import Completeness
from node.dimse_policy import prepare_requestor
from node.find_counts import ask_counts
from node.quiet_clock import Moment
from node.receive.availability_service import AvailabilityService
from node.receive.listener import Listener
from node.receive.performed_step_service import PerformedStepService
from node.receive.services import Service
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.studies import open_studies
from tests.integration.node_receive.mr_study import SERIES, STUDY
from tests.integration.node_receive.running_listener import CALLED, CALLING, receive_settings
from tests.integration.node_receive.sender import association, store
from tests.migrated_database import migrated_database
from tests.peers.ports import wait_until

SUCCESS, INVALID_VALUE, DUPLICATE, PROCESSING_FAILURE = 0x0000, 0x0106, 0x0111, 0x0110

SR = "1.2.840.10008.5.1.4.1.1.88.33"

STEP, NOTE = "1.9.1", "1.9.2"


@dataclass
class Node:
    """A listener that takes lists, and the completeness of its studies."""

    db: Database
    port: int
    settings: Settings
    woken: list[str]

    def completeness(self) -> Completeness:
        return Completeness(self.settings, self.db, ask_counts)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    quiet = CompletenessSettings(quiet_time_s=10, list_wait_s=600)
    settings = receive_settings().model_copy(update={"completeness": quiet})
    db = migrated_database(tmp_path / "radnode.db")
    woken: list[str] = []
    services: tuple[Service, ...] = (
        AvailabilityService(db, lambda: woken.append("note")),
        PerformedStepService(db, lambda: woken.append("step")),
    )
    files = InstanceFiles(tmp_path / "data")
    listener = Listener(settings, db, files, lambda: None, services=services)
    yield Node(db, listener.start(), settings, woken)
    listener.stop()
    db.close()


def after(seconds: float) -> Moment:
    return Moment(datetime.now(UTC) + timedelta(seconds=seconds), time.monotonic() + seconds)


def reference(uid: str, sop_class: str = MRImageStorage, **more: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = uid
    for name, value in more.items():
        setattr(item, name, value)
    return item


def notification(count: int, *, availability: str = "ONLINE") -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = SERIES
    series.ReferencedSOPSequence = [
        reference(f"{SERIES}.{number}", InstanceAvailability=availability, RetrieveAETitle="PACS")
        for number in range(1, count + 1)
    ]
    report = Dataset()
    report.SeriesInstanceUID = f"{SERIES}.77"
    report.ReferencedSOPSequence = [reference("1.2.77", SR, InstanceAvailability="ONLINE")]
    dataset = Dataset()
    dataset.StudyInstanceUID = STUDY
    dataset.ReferencedSeriesSequence = [series, report]
    return dataset


def tell(node: Node, sop_class: str, *messages: tuple[str, Dataset, str]) -> list[int]:
    """Send N-CREATE and N-SET messages on one association and return the statuses."""
    ae = AE(ae_title=CALLING)
    ae.add_requested_context(sop_class)
    assoc: Any = ae.associate(
        "127.0.0.1",
        node.port,
        ae_title=CALLED,
        evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor)],
    )
    assert assoc.is_established
    sends = {"create": assoc.send_n_create, "set": assoc.send_n_set}
    statuses = [
        int(sends[kind](dataset, sop_class, uid)[0].Status) for kind, dataset, uid in messages
    ]
    assoc.release()
    return statuses


def notify(node: Node, dataset: Dataset, uid: str = NOTE) -> int:
    (status,) = tell(node, InstanceAvailabilityNotification, ("create", dataset, uid))
    return status


def send(node: Node, *paths: Path) -> None:
    with association(node.port) as assoc:
        assert set(store(assoc, *paths)) == {SUCCESS}
    wait_for_release(node)


def wait_for_release(node: Node) -> None:
    def released() -> bool:
        return all(not one.running_associations for one in open_studies(node.db))

    wait_until(released, what="the release")
