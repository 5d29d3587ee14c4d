"""Instances of other studies, patients and classes, our own results, and late ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.audit import list_audit
from storage.dicom_records import StudyState
from storage.errors import ConflictReason
from storage.instances import instances_of_series
from storage.quarantine import list_quarantine
from storage.studies import get_study, mark_ready
from tests.integration.node_receive.mr_study import (
    ROOT,
    SERIES,
    STUDY,
    dataset_bytes,
    mr_instance,
    write,
)
from tests.integration.node_receive.running_listener import Running
from tests.integration.node_receive.sender import (
    MR_EXPLICIT,
    association,
    store,
)
from tests.integration.node_receive.stored_rows import SUCCESS, rows_of

QUARANTINED = 0xB000


def test_a_series_under_a_second_study_is_quarantined_and_audited(
    running: Running, tmp_path: Path
) -> None:
    first = write(mr_instance(1), tmp_path)
    stray = write(mr_instance(2, study=f"{ROOT}.2"), tmp_path)

    with association(running.port) as assoc:
        assert store(assoc, first, stray, stray) == [SUCCESS, QUARANTINED, QUARANTINED]

    assert len(rows_of(running)) == 1
    (kept,) = list_quarantine(running.db, 10)
    assert kept.reason is ConflictReason.SERIES_IN_OTHER_STUDY
    (file,) = (running.files.data_dir / "quarantine").iterdir()
    assert dataset_bytes(file) == dataset_bytes(stray)
    assert "instance_quarantined" in [entry.event for entry in list_audit(running.db, 10)]


def test_another_patient_in_a_known_study_is_quarantined(running: Running, tmp_path: Path) -> None:
    first = write(mr_instance(1), tmp_path)
    other = mr_instance(2)
    other.PatientID = "P2"

    with association(running.port) as assoc:
        assert store(assoc, first, write(other, tmp_path)) == [SUCCESS, QUARANTINED]


@pytest.mark.parametrize("sop_class", ["1.2.840.113619.4.26", "1.2.840.10008.5.1.4.1.1.5"])
def test_private_and_retired_storage_classes_are_taken(
    running: Running, tmp_path: Path, sop_class: str
) -> None:
    dataset = mr_instance()
    dataset.SOPClassUID = sop_class
    path = write(dataset, tmp_path)

    with association(running.port, [(sop_class, MR_EXPLICIT[1])]) as assoc:
        assert store(assoc, path) == [SUCCESS]


@pytest.mark.parametrize("modality", ["SEG", "SR", "KO", "PR"])
def test_a_result_of_radnode_that_comes_back_opens_no_study(
    running: Running, tmp_path: Path, modality: str
) -> None:
    result = mr_instance()
    result.Modality = modality
    result.Manufacturer = "radnode"

    with association(running.port) as assoc:
        assert store(assoc, write(result, tmp_path)) == [SUCCESS]

    assert get_study(running.db, STUDY).state is StudyState.RESULTS_ONLY
    assert instances_of_series(running.db, SERIES) == ()


def test_a_late_instance_reopens_a_complete_study(running: Running, tmp_path: Path) -> None:
    with association(running.port) as assoc:
        store(assoc, write(mr_instance(1), tmp_path))
        study = get_study(running.db, STUDY)
        assert mark_ready(
            running.db,
            STUDY,
            generation=study.generation,
            last_received_at=study.last_received_at,
            evidence="quiet_time",
            now=study.last_received_at,
        )

        store(assoc, write(mr_instance(2), tmp_path))

    reopened = get_study(running.db, STUDY)
    assert reopened.state is StudyState.RECEIVING
    assert reopened.generation == study.generation + 1
