from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.audit import list_audit
from storage.commitment_reports import kept_instances
from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.dicom_records import IncomingInstance, SeriesHeader, StoreOutcome, StudyState
from storage.errors import ConflictReason, NotFound, Quarantined
from storage.evidence_records import IncomingList, ListedSop, ListEvidence, ListSource
from storage.identity import told_identity
from storage.instance_files import InstanceFiles
from storage.instance_lists import record_list
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series
from storage.orphaned_files import sweep_orphans
from storage.quarantine import discard, list_quarantine, purge_quarantine, quarantine_count
from storage.quarantine_release import release
from storage.retention import purge
from storage.studies import get_study, open_studies, series_of_study
from tests.unit.storage.kept_files import HEAD, kept
from tests.unit.storage.samples import MR_IMAGE, NOW, PATIENT, SERIES, STUDY, incoming, make_ready
from tests.unit.storage.withdrawn_deliveries import PACS, RIS, arrived, told

OTHER_STUDY = "1.2.9"


@pytest.fixture
def recorder(db: Database, files: InstanceFiles) -> InstanceRecorder:
    return InstanceRecorder(db, files)


def _refused(recorder: InstanceRecorder, files: InstanceFiles, one: IncomingInstance) -> int:
    with pytest.raises(Quarantined) as caught:
        recorder.record(kept(files, one))
    return caught.value.quarantine_id


def _other_patient() -> IncomingInstance:
    return incoming(2, patient=replace(PATIENT, patient_id="PID-2", patient_name="Roe^R"))


def _moved_instance() -> IncomingInstance:
    return incoming(1, study=OTHER_STUDY)._replace(series=SeriesHeader("1.2.9.1", "MR"))


CONTRADICTIONS = [
    pytest.param(_other_patient(), ConflictReason.OTHER_PATIENT, id="patient"),
    pytest.param(incoming(2, study=OTHER_STUDY), ConflictReason.SERIES_IN_OTHER_STUDY, id="series"),
    pytest.param(_moved_instance(), ConflictReason.INSTANCE_IN_OTHER_STUDY, id="instance"),
]


def _data_set(path: Path) -> str:
    return path.read_bytes().removeprefix(HEAD).decode().strip()


def _content(files: InstanceFiles, folder: str) -> set[str]:
    paths = (files.data_dir / folder).rglob("*")
    return {_data_set(path) for path in paths if path.is_file()}


def _is_at_place(db: Database, files: InstanceFiles, one: IncomingInstance) -> bool:
    """Whether the row of an instance names a file with its content, in its study's folder."""
    kept = instances_of_series(db, one.series.series_instance_uid)
    (record,) = [each for each in kept if each.sop_instance_uid == one.sop_instance_uid]
    is_below = record.path.is_relative_to(f"instances/{one.study.study_instance_uid}")
    return is_below and _data_set(files.absolute(record.path)) == one.dataset_digest


@pytest.mark.parametrize(("contradiction", "reason"), CONTRADICTIONS)
def test_what_contradicts_is_kept_aside_and_told_without_patient_data(
    db: Database,
    files: InstanceFiles,
    recorder: InstanceRecorder,
    contradiction: IncomingInstance,
    reason: ConflictReason,
) -> None:
    recorder.record(kept(files, incoming(1)))
    before = get_study(db, STUDY)
    number = _refused(recorder, files, contradiction)

    (record,) = list_quarantine(db, 10)
    assert (record.quarantine_id, record.reason, record.calling_ae_title) == (
        number,
        reason,
        "PACS",
    )
    assert record.sop_instance_uid == contradiction.sop_instance_uid
    assert _content(files, "quarantine") == {contradiction.dataset_digest}
    assert get_study(db, STUDY) == before
    (entry,) = list_audit(db, 10)
    assert (entry.event, entry.detail["reason"]) == ("instance_quarantined", reason.value)
    assert not any(word in str(entry) for word in ("PID", "Roe", STUDY, OTHER_STUDY))


def test_a_sender_that_tries_again_fills_no_quarantine(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    recorder.record(kept(files, incoming(1)))
    numbers = {_refused(recorder, files, _other_patient()) for _ in range(3)}
    assert len(numbers) == quarantine_count(db) == 1
    assert len(list((files.data_dir / "quarantine").iterdir())) == 1


@pytest.mark.parametrize(("contradiction", "reason"), CONTRADICTIONS)
def test_a_person_accepts_it_as_the_truth(
    db: Database,
    files: InstanceFiles,
    recorder: InstanceRecorder,
    contradiction: IncomingInstance,
    reason: ConflictReason,
) -> None:
    first = incoming(1)
    recorder.record(kept(files, first))
    make_ready(db)
    number = _refused(recorder, files, contradiction)

    assert release(db, files, number, actor="person") is StoreOutcome.STORED
    study_uid = contradiction.study.study_instance_uid
    assert get_study(db, study_uid).header.patient == contradiction.study.patient
    assert get_study(db, STUDY).state is StudyState.RECEIVING
    assert get_study(db, STUDY).generation == 2
    sweep_orphans(db, files, older_than=None)
    assert _is_at_place(db, files, contradiction)
    if reason is not ConflictReason.INSTANCE_IN_OTHER_STUDY:
        assert _is_at_place(db, files, first._replace(study=contradiction.study))
    assert list_quarantine(db, 10) == ()
    assert _content(files, "quarantine") == set()
    assert [entry.event for entry in list_audit(db, 1)] == ["quarantine_released"]


def test_what_was_told_of_the_former_patient_is_taken_back_from_that_one(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    job_id = told(db, RIS, PACS)
    arrived(db, "ris")
    arrived(db, "pacs")
    number = _refused(recorder, files, _other_patient())
    release(db, files, number, actor="person")

    receipts = {each.destination: each.receipt for each in list_deliveries(db, job_id=job_id)}
    former = {"PatientID": PATIENT.patient_id, "PatientName": PATIENT.patient_name}
    assert told_identity(receipts["ris"]) == former
    assert told_identity(receipts["pacs"]) == {}


def test_a_series_that_moves_leaves_nothing_in_its_former_study(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    recorder.record(kept(files, incoming(1)))
    release(db, files, _refused(recorder, files, incoming(2, study=OTHER_STUDY)), actor="person")
    assert series_of_study(db, STUDY) == ()
    (series,) = series_of_study(db, OTHER_STUDY)
    assert (series.header.series_instance_uid, series.instance_count) == (SERIES, 2)


def test_after_a_release_the_rest_of_the_sender_s_study_is_taken(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    """What the process remembered of the study's patient is no longer true."""
    for number in (1, 3):
        recorder.record(kept(files, incoming(number)))
    release(db, files, _refused(recorder, files, _other_patient()), actor="person")
    patient = _other_patient().study.patient
    sent = kept(files, incoming(4, patient=patient))
    assert recorder.record(sent) is StoreOutcome.STORED
    _refused(recorder, files, incoming(5))


def test_a_person_deletes_it(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    recorder.record(kept(files, incoming(1)))
    before = get_study(db, STUDY)
    number = _refused(recorder, files, _other_patient())
    discard(db, files, number, actor="person")
    assert quarantine_count(db) == 0
    assert _content(files, "quarantine") == set()
    assert get_study(db, STUDY) == before
    assert [entry.event for entry in list_audit(db, 1)] == ["quarantine_discarded"]


def test_what_is_not_in_quarantine_is_neither_released_nor_deleted(
    db: Database, files: InstanceFiles
) -> None:
    with pytest.raises(NotFound, match="quarantine 7"):
        release(db, files, 7, actor="person")
    with pytest.raises(NotFound, match="quarantine 7"):
        discard(db, files, 7, actor="person")


def test_the_quarantine_is_emptied_by_age_and_swept_of_files_without_a_row(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    recorder.record(kept(files, incoming(1)))
    _refused(recorder, files, _other_patient())
    (files.data_dir / "quarantine" / "leftover.dcm").write_text("of a killed process")
    assert sweep_orphans(db, files, older_than=None) == 1
    hour = timedelta(hours=1)
    assert purge_quarantine(db, files, older_than=datetime.now(UTC) - hour) == 0
    assert purge_quarantine(db, files, older_than=datetime.now(UTC) + hour) == 1
    assert _content(files, "quarantine") == set()


def test_a_replaced_dataset_stays_with_its_study_and_goes_with_it(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    old, new = incoming(1), incoming(1, content="corrected")
    recorder.record(kept(files, old))
    assert recorder.record(kept(files, new)) is StoreOutcome.REPLACED
    assert sweep_orphans(db, files, older_than=None) == 0
    assert _content(files, "instances") == {old.dataset_digest, new.dataset_digest}
    (entry,) = list_audit(db, 10)
    assert entry.event == "instance_replaced"
    assert purge(db, files, older_than=NOW + timedelta(days=1)) == 0  # it is being received


def test_a_listed_instance_in_quarantine_is_neither_waited_for_nor_proof(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    recorder.record(kept(files, incoming(1)))
    listed = [ListedSop(MR_IMAGE, f"{SERIES}.{number}", SERIES, STUDY) for number in (1, 2, 3)]
    source = ListSource.AVAILABILITY
    record_list(db, IncomingList(source, "PACS", "1.9.1", STUDY, tuple(listed), NOW))
    number = _refused(recorder, files, _other_patient())
    recorder.record(kept(files, incoming(3)))

    (progress,) = open_studies(db)
    assert progress.lists == ListEvidence((source,), quarantined=1)
    assert not progress.lists.is_proof

    release(db, files, number, actor="operator")
    (progress,) = open_studies(db)
    assert progress.lists.is_proof


def test_no_commitment_to_an_instance_of_which_another_version_is_in_quarantine(
    db: Database, files: InstanceFiles, recorder: InstanceRecorder
) -> None:
    recorder.record(kept(files, incoming(2)))
    assert set(kept_instances(db, (f"{SERIES}.2",))) == {f"{SERIES}.2"}
    number = _refused(recorder, files, _other_patient()._replace(dataset_digest="cd" * 32))
    assert kept_instances(db, (f"{SERIES}.2",)) == {}
    discard(db, files, number, actor="operator")
    assert set(kept_instances(db, (f"{SERIES}.2",))) == {f"{SERIES}.2"}
