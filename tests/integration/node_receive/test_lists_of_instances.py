"""Availability notifications and performed procedure steps, over the wire."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.sop_class import ModalityPerformedProcedureStep

from storage.overview import study_rows
from storage.studies import get_study
from tests.integration.node_receive.listed_node import (
    DUPLICATE,
    INVALID_VALUE,
    PROCESSING_FAILURE,
    STEP,
    SUCCESS,
    Node,
    after,
    node,
    notification,
    notify,
    reference,
    send,
    tell,
)
from tests.integration.node_receive.mr_study import SERIES, STUDY, mr_instance, mr_series, write
from tests.integration.node_receive.sender import association, store
from tests.peers.ports import wait_until

__all__ = ["node"]


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
            reference(f"{SERIES}.{number}") for number in range(1, count + 1)
        ]
        dataset.PerformedSeriesSequence = [series]
    return dataset


def test_a_notification_proves_a_study_while_its_association_is_open(
    node: Node, tmp_path: Path
) -> None:
    first, second = mr_series(tmp_path, 2)
    with association(node.port) as assoc:
        store(assoc, first)
        assert notify(node, notification(2)) == SUCCESS
        assert node.completeness().check(after(0)) == ()
        store(assoc, second)
        completeness = node.completeness()
        wait_until(lambda: completeness.check(after(0)) == (STUDY,), what="the second row")

    (study,) = study_rows(node.db, 1)
    assert study.complete_evidence == "instance_list (availability)"
    assert study.complete_waited_s is not None
    assert study.complete_waited_s < 5
    assert node.woken == ["note"]


def test_what_a_list_announces_holds_a_study_back_for_a_while(node: Node, tmp_path: Path) -> None:
    notify(node, notification(3))
    send(node, *mr_series(tmp_path, 2))
    completeness = node.completeness()

    assert completeness.check(after(500)) == ()
    assert completeness.check(after(601)) == (STUDY,)
    evidence = get_study(node.db, STUDY).complete_evidence
    assert evidence == "quiet_time (1 listed instances have not come)"


def test_a_list_of_one_series_leaves_the_other_to_the_quiet_time(
    node: Node, tmp_path: Path
) -> None:
    notify(node, notification(2))
    other = write(mr_instance(1, series=f"{SERIES}.5"), tmp_path / "other")
    send(node, *mr_series(tmp_path, 2), other)
    completeness = node.completeness()

    assert completeness.check(after(9)) == ()
    assert completeness.check(after(11)) == (STUDY,)
    assert get_study(node.db, STUDY).complete_evidence == "quiet_time"


def test_what_is_unavailable_is_not_waited_for(node: Node, tmp_path: Path) -> None:
    assert notify(node, notification(3, availability="UNAVAILABLE")) == SUCCESS
    send(node, *mr_series(tmp_path, 2))

    assert node.completeness().check(after(1)) == (STUDY,)


def test_a_performed_step_holds_its_study_until_it_ends(node: Node, tmp_path: Path) -> None:
    mpps = ModalityPerformedProcedureStep
    assert tell(node, mpps, ("create", _step("IN PROGRESS"), STEP)) == [SUCCESS]
    send(node, *mr_series(tmp_path, 2))
    assert node.completeness().check(after(100)) == ()

    ended = _step("COMPLETED", 2, with_study=False)
    assert tell(node, mpps, ("set", ended, STEP)) == [SUCCESS]

    assert node.completeness().check(after(0)) == (STUDY,)
    assert get_study(node.db, STUDY).complete_evidence == "instance_list (performed_step)"
    assert tell(node, mpps, ("set", ended, STEP)) == [PROCESSING_FAILURE]


def test_a_discontinued_step_does_not_hold_its_study(node: Node, tmp_path: Path) -> None:
    mpps = ModalityPerformedProcedureStep
    create, change = ("create", _step("IN PROGRESS"), STEP), ("set", _step("DISCONTINUED"), STEP)
    assert tell(node, mpps, create, change) == [SUCCESS, SUCCESS]
    send(node, *mr_series(tmp_path, 2))

    assert node.completeness().check(after(11)) == (STUDY,)


def test_the_same_message_again_is_told_to_be_a_duplicate(node: Node) -> None:
    assert notify(node, notification(2)) == SUCCESS
    assert notify(node, notification(2)) == DUPLICATE
    create = ("create", _step("IN PROGRESS"), STEP)
    assert tell(node, ModalityPerformedProcedureStep, create, create) == [SUCCESS, DUPLICATE]


def _without_study() -> Dataset:
    dataset = notification(1)
    del dataset.StudyInstanceUID
    return dataset


def _with_uid(uid: str) -> Dataset:
    dataset = notification(1)
    item = dataset.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    item.ReferencedSOPInstanceUID = uid
    return dataset


@pytest.mark.filterwarnings("ignore:.*UI.*:UserWarning")
@pytest.mark.parametrize(
    "dataset", [_without_study(), _with_uid("../../etc/passwd"), _with_uid("")]
)
def test_a_list_that_cannot_be_used_is_refused_in_whole(node: Node, dataset: Dataset) -> None:
    assert notify(node, dataset) == INVALID_VALUE
    assert node.woken == []


def test_a_step_in_a_state_that_is_none_is_refused(node: Node) -> None:
    create = ("create", _step("PERHAPS"), STEP)
    assert tell(node, ModalityPerformedProcedureStep, create) == [INVALID_VALUE]
