"""Availability notifications and performed procedure steps, over the wire."""

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
from pynetdicom.sop_class import InstanceAvailabilityNotification, ModalityPerformedProcedureStep

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
from storage.dicom_records import StudyState
from storage.instance_files import InstanceFiles
from storage.overview import study_rows
from storage.studies import get_study, list_studies, open_studies
from tests.integration.node_receive.mr_study import SERIES, STUDY, mr_instance, mr_series, write
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


def _in(seconds: float) -> Moment:
    return Moment(datetime.now(UTC) + timedelta(seconds=seconds), time.monotonic() + seconds)


def _reference(uid: str, sop_class: str = MRImageStorage, **more: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = uid
    for name, value in more.items():
        setattr(item, name, value)
    return item


def _notification(count: int, *, availability: str = "ONLINE") -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = SERIES
    series.ReferencedSOPSequence = [
        _reference(f"{SERIES}.{number}", InstanceAvailability=availability, RetrieveAETitle="PACS")
        for number in range(1, count + 1)
    ]
    report = Dataset()
    report.SeriesInstanceUID = f"{SERIES}.77"
    report.ReferencedSOPSequence = [_reference("1.2.77", SR, InstanceAvailability="ONLINE")]
    dataset = Dataset()
    dataset.StudyInstanceUID = STUDY
    dataset.ReferencedSeriesSequence = [series, report]
    return dataset


def _step(status: str, count: int | None = None, *, with_study: bool = True) -> Dataset:
    dataset = Dataset()
    dataset.PerformedProcedureStepStatus = status
    if with_study:
        scheduled = Dataset()
        scheduled.StudyInstanceUID = STUDY
        dataset.ScheduledStepAttributesSequence = [scheduled]
    if count is not None:
        series = Dataset()
        series.SeriesInstanceUID = SERIES
        series.ReferencedImageSequence = [
            _reference(f"{SERIES}.{number}") for number in range(1, count + 1)
        ]
        dataset.PerformedSeriesSequence = [series]
    return dataset


def _tell(node: Node, sop_class: str, *messages: tuple[str, Dataset, str]) -> list[int]:
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


def _notify(node: Node, dataset: Dataset, uid: str = NOTE) -> int:
    (status,) = _tell(node, InstanceAvailabilityNotification, ("create", dataset, uid))
    return status


def _send(node: Node, *paths: Path) -> None:
    with association(node.port) as assoc:
        assert set(store(assoc, *paths)) == {SUCCESS}
    _wait_for_release(node)


def test_a_notification_proves_a_study_while_its_association_is_open(
    node: Node, tmp_path: Path
) -> None:
    first, second = mr_series(tmp_path, 2)
    with association(node.port) as assoc:
        store(assoc, first)
        assert _notify(node, _notification(2)) == SUCCESS
        assert node.completeness().check(_in(0)) == ()
        store(assoc, second)
        assert node.completeness().check(_in(0)) == (STUDY,)

    (study,) = study_rows(node.db, 1)
    assert study.complete_evidence == "instance_list (availability)"
    assert study.complete_waited_s is not None
    assert study.complete_waited_s < 5
    assert node.woken == ["note"]


def test_what_a_list_announces_holds_a_study_back_for_a_while(node: Node, tmp_path: Path) -> None:
    _notify(node, _notification(3))
    _send(node, *mr_series(tmp_path, 2))
    completeness = node.completeness()

    assert completeness.check(_in(500)) == ()
    assert completeness.check(_in(601)) == (STUDY,)
    evidence = get_study(node.db, STUDY).complete_evidence
    assert evidence == "quiet_time (1 listed instances have not come)"


def test_a_list_of_one_series_leaves_the_other_to_the_quiet_time(
    node: Node, tmp_path: Path
) -> None:
    _notify(node, _notification(2))
    other = write(mr_instance(1, series=f"{SERIES}.5"), tmp_path / "other")
    _send(node, *mr_series(tmp_path, 2), other)
    completeness = node.completeness()

    assert completeness.check(_in(9)) == ()
    assert completeness.check(_in(11)) == (STUDY,)
    assert get_study(node.db, STUDY).complete_evidence == "quiet_time"


def test_what_is_unavailable_is_not_waited_for(node: Node, tmp_path: Path) -> None:
    assert _notify(node, _notification(3, availability="UNAVAILABLE")) == SUCCESS
    _send(node, *mr_series(tmp_path, 2))

    assert node.completeness().check(_in(1)) == (STUDY,)


def test_a_performed_step_holds_its_study_until_it_ends(node: Node, tmp_path: Path) -> None:
    mpps = ModalityPerformedProcedureStep
    assert _tell(node, mpps, ("create", _step("IN PROGRESS"), STEP)) == [SUCCESS]
    _send(node, *mr_series(tmp_path, 2))
    assert node.completeness().check(_in(100)) == ()

    ended = _step("COMPLETED", 2, with_study=False)
    assert _tell(node, mpps, ("set", ended, STEP)) == [SUCCESS]

    assert node.completeness().check(_in(0)) == (STUDY,)
    assert get_study(node.db, STUDY).complete_evidence == "instance_list (performed_step)"
    assert _tell(node, mpps, ("set", ended, STEP)) == [PROCESSING_FAILURE]


def test_a_discontinued_step_does_not_hold_its_study(node: Node, tmp_path: Path) -> None:
    mpps = ModalityPerformedProcedureStep
    create, change = ("create", _step("IN PROGRESS"), STEP), ("set", _step("DISCONTINUED"), STEP)
    assert _tell(node, mpps, create, change) == [SUCCESS, SUCCESS]
    _send(node, *mr_series(tmp_path, 2))

    assert node.completeness().check(_in(11)) == (STUDY,)


def test_the_same_message_again_is_told_to_be_a_duplicate(node: Node) -> None:
    assert _notify(node, _notification(2)) == SUCCESS
    assert _notify(node, _notification(2)) == DUPLICATE
    create = ("create", _step("IN PROGRESS"), STEP)
    assert _tell(node, ModalityPerformedProcedureStep, create, create) == [SUCCESS, DUPLICATE]


def _without_study() -> Dataset:
    dataset = _notification(1)
    del dataset.StudyInstanceUID
    return dataset


def _with_uid(uid: str) -> Dataset:
    dataset = _notification(1)
    item = dataset.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    item.ReferencedSOPInstanceUID = uid
    return dataset


@pytest.mark.filterwarnings("ignore:.*UI.*:UserWarning")
@pytest.mark.parametrize(
    "dataset", [_without_study(), _with_uid("../../etc/passwd"), _with_uid("")]
)
def test_a_list_that_cannot_be_used_is_refused_in_whole(node: Node, dataset: Dataset) -> None:
    assert _notify(node, dataset) == INVALID_VALUE
    assert node.woken == []


def test_a_step_in_a_state_that_is_none_is_refused(node: Node) -> None:
    create = ("create", _step("PERHAPS"), STEP)
    assert _tell(node, ModalityPerformedProcedureStep, create) == [INVALID_VALUE]


def test_interleaved_studies_on_one_association_are_judged_each_for_itself(
    node: Node, tmp_path: Path
) -> None:
    other = f"{STUDY}.2"
    ours = mr_series(tmp_path / "a", 2)
    theirs = mr_series(tmp_path / "b", 2, study=other, series=f"{other}.1")
    _notify(node, _notification(2))
    completeness = node.completeness()
    with association(node.port) as assoc:
        store(assoc, theirs[0], ours[1], theirs[1], ours[0])
        assert completeness.check(_in(0)) == (STUDY,)
        assert completeness.check(_in(100)) == ()
    _wait_for_release(node)

    assert completeness.check(_in(101)) == (other,)


def _wait_for_release(node: Node) -> None:
    def released() -> bool:
        return all(not one.running_associations for one in open_studies(node.db))

    wait_until(released, what="the release")


def test_one_study_on_many_associations_out_of_order_waits_for_the_last(
    node: Node, tmp_path: Path
) -> None:
    paths = mr_series(tmp_path, 4)
    completeness = node.completeness()
    with association(node.port) as first:
        store(first, paths[3])
        with association(node.port) as second:
            store(second, paths[0], paths[2])
        assert completeness.check(_in(1000)) == ()
        store(first, paths[1])
    _wait_for_release(node)

    assert completeness.check(_in(1005)) == (STUDY,)


def test_instances_hours_apart_make_generations(node: Node, tmp_path: Path) -> None:
    first, second = mr_series(tmp_path, 2)
    _send(node, first)
    assert node.completeness().check(_in(11)) == (STUDY,)
    _send(node, second)
    study = get_study(node.db, STUDY)
    assert (study.state, study.generation) == (StudyState.RECEIVING, 2)

    assert node.completeness().check(_in(3 * 3600)) == (STUDY,)


def test_after_a_restart_the_rows_alone_decide(node: Node, tmp_path: Path) -> None:
    _notify(node, _notification(3))
    _send(node, *mr_series(tmp_path, 2))
    assert node.completeness().check(_in(0)) == ()

    # Another process: nothing of the list or the wait was kept in memory.
    assert node.completeness().check(_in(599)) == ()
    _send(node, write(mr_instance(3), tmp_path))
    assert node.completeness().check(_in(0)) == (STUDY,)


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_a_clock_that_is_set_ends_no_wait_and_prolongs_none(
    node: Node, tmp_path: Path, jump_s: float
) -> None:
    _send(node, *mr_series(tmp_path, 2))
    completeness = node.completeness()
    assert completeness.check(_in(1)) == ()

    def after_jump(seconds: float) -> Moment:
        moment = _in(seconds)
        return Moment(moment.wall + timedelta(seconds=jump_s), moment.monotonic_s)

    assert completeness.check(after_jump(8)) == ()
    assert completeness.check(after_jump(11)) == (STUDY,)
    (study,) = list_studies(node.db, 1)
    assert study.complete_evidence == "quiet_time"
