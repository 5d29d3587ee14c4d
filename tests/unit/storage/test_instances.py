from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.database import Database
from storage.dicom_records import (
    CodedConcept,
    IncomingInstance,
    PatientIdentity,
    SeriesHeader,
    StoreOutcome,
    StudyHeader,
    StudyState,
)
from storage.errors import IdentityConflict, StorageError
from storage.instances import instances_of_series, is_own_sop_instance, record_instance
from storage.studies import get_study, own_series_of_study, route, series_of_study
from storage.table_types import storable
from tests.unit.storage.samples import (
    NOW,
    PATIENT,
    SERIES,
    STUDY,
    after,
    claim,
    finish,
    incoming,
    job_result,
    make_job,
    make_ready,
    new_job,
    receive,
)

any_text = st.text(st.characters(exclude_categories=()), max_size=20)


def _snapshot(db: Database) -> tuple[Any, ...]:
    series = series_of_study(db, STUDY)
    return get_study(db, STUDY), series, instances_of_series(db, SERIES)


def _route(db: Database) -> None:
    generation = make_ready(db)
    route(db, STUDY, generation=generation, jobs=(new_job(),), refusal=None, now=NOW)


def test_the_first_instance_opens_its_study(db: Database) -> None:
    sent = incoming()
    assert record_instance(db, sent) is StoreOutcome.STORED
    study, (series,), (instance,) = _snapshot(db)
    assert study.header == sent.study
    assert (study.state, study.generation) == (StudyState.RECEIVING, 1)
    assert study.first_received_at == study.last_received_at == NOW
    assert study.calling_ae_title == "PACS"
    assert (series.header, series.instance_count) == (sent.series, 1)
    assert str(instance.path) == sent.path
    assert instance.dataset_digest == sent.dataset_digest
    assert instance.study_instance_uid == STUDY
    assert not instance.is_own_result


def test_a_second_identical_instance_changes_nothing(db: Database) -> None:
    receive(db, incoming())
    before = _snapshot(db)
    again = incoming(received_at=after(9))._replace(path="instances/other.dcm")
    assert record_instance(db, again) is StoreOutcome.DUPLICATE
    assert _snapshot(db) == before


def test_a_duplicate_does_not_reopen_a_routed_study(db: Database) -> None:
    receive(db, incoming())
    _route(db)
    assert record_instance(db, incoming(received_at=after(9))) is StoreOutcome.DUPLICATE
    assert get_study(db, STUDY).state is StudyState.ROUTED


def test_another_dataset_replaces_the_row(db: Database) -> None:
    receive(db, incoming())
    newer = incoming(content="corrected", received_at=after(1))
    assert record_instance(db, newer) is StoreOutcome.REPLACED
    (instance,) = instances_of_series(db, SERIES)
    assert str(instance.path) == newer.path
    assert instance.dataset_digest == newer.dataset_digest
    assert get_study(db, STUDY).last_received_at == after(1)


@pytest.mark.parametrize("number", [1, 2])
def test_what_comes_late_begins_a_new_generation(db: Database, number: int) -> None:
    """A new instance, or another dataset of a known one."""
    receive(db, incoming(1))
    _route(db)
    receive(db, incoming(number, content="late", received_at=after(60)))
    study = get_study(db, STUDY)
    assert (study.state, study.generation) == (StudyState.RECEIVING, 2)
    assert study.complete_evidence == ""
    assert study.complete_at is None
    assert study.last_received_at == after(60)
    receive(db, incoming(3, received_at=after(61)))
    assert get_study(db, STUDY).generation == 2


def test_what_comes_between_complete_and_routed_begins_a_new_generation(db: Database) -> None:
    receive(db, incoming(1))
    make_ready(db)
    receive(db, incoming(2, received_at=after(1)))
    study = get_study(db, STUDY)
    assert (study.state, study.generation) == (StudyState.RECEIVING, 2)


def test_two_instances_in_the_same_microsecond_are_both_seen(db: Database) -> None:
    receive(db, incoming(1))
    before = get_study(db, STUDY).last_received_at
    receive(db, incoming(2))
    assert get_study(db, STUDY).last_received_at != before


def test_our_result_that_comes_back_does_not_reopen_the_study(db: Database) -> None:
    receive(db, incoming())
    _route(db)
    before = get_study(db, STUDY)
    own = incoming(series="2.25.2", is_own_result=True, received_at=after(60))
    assert record_instance(db, own) is StoreOutcome.OWN_RESULT
    assert record_instance(db, own) is StoreOutcome.DUPLICATE
    assert get_study(db, STUDY) == before
    assert [series.header.series_instance_uid for series in series_of_study(db, STUDY)] == [SERIES]
    assert instances_of_series(db, "2.25.2") == ()
    assert is_own_sop_instance(db, own.sop_instance_uid)
    assert own_series_of_study(db, STUDY) == {"2.25.2"}


def test_a_registered_result_is_known_again_without_a_mark(db: Database) -> None:
    job_id = make_job(db)
    claim(db)
    finish(db, job_id)
    made = job_result(f"2.25.{job_id}").objects[0]
    back = incoming(series=made.series_instance_uid)._replace(
        sop_instance_uid=made.sop_instance_uid
    )
    assert record_instance(db, back) is StoreOutcome.OWN_RESULT
    assert get_study(db, STUDY).state is StudyState.ROUTED
    assert is_own_sop_instance(db, made.sop_instance_uid)
    assert not is_own_sop_instance(db, incoming().sop_instance_uid)
    assert own_series_of_study(db, STUDY) == {
        one.series_instance_uid for one in job_result(f"2.25.{job_id}").objects
    }


def test_a_study_of_our_results_alone_is_opened_by_the_first_image(db: Database) -> None:
    own = incoming(series="2.25.2", is_own_result=True)
    own = own._replace(study=replace(own.study, study_description="as we copied it"))
    assert record_instance(db, own) is StoreOutcome.OWN_RESULT
    assert get_study(db, STUDY).state is StudyState.RESULTS_ONLY
    image = incoming(received_at=after(5))
    image = image._replace(study=replace(image.study, study_description="as the sender has it"))
    assert record_instance(db, image) is StoreOutcome.STORED
    study = get_study(db, STUDY)
    assert (study.state, study.generation) == (StudyState.RECEIVING, 1)
    assert study.first_received_at == study.last_received_at == after(5)
    assert study.header.study_description == "as the sender has it"


def test_later_instances_fill_what_was_empty_and_change_nothing_else(db: Database) -> None:
    bare = incoming(1)._replace(study=StudyHeader(STUDY, PATIENT, accession_number="A1"))
    code = CodedConcept("MR1", "99SITE", "MR head")
    full = incoming(2)._replace(
        study=StudyHeader(STUDY, PATIENT, "20260301", accession_number="B2", procedure_code=code),
    )
    receive(db, bare, full)
    header = get_study(db, STUDY).header
    assert header == StudyHeader(
        STUDY, PATIENT, "20260301", accession_number="A1", procedure_code=code
    )


def test_a_corrected_dataset_corrects_the_study(db: Database) -> None:
    receive(db, incoming(1))
    corrected = incoming(1, content="corrected")
    header = replace(corrected.study, accession_number="A2", study_id="")
    receive(db, corrected._replace(study=header, series=SeriesHeader(SERIES, "MR", 4, "T1 new")))
    assert get_study(db, STUDY).header.accession_number == "A2"
    (series,) = series_of_study(db, STUDY)
    assert (series.header.series_number, series.header.series_description) == (4, "T1 new")


def _other_patient(text: str) -> IncomingInstance:
    return incoming(2, patient=replace(PATIENT, patient_id=text))


@pytest.mark.parametrize(
    ("contradiction", "what"),
    [
        (_other_patient("PID-2"), "patient"),
        (_other_patient(""), "patient"),
        (incoming(2, patient=replace(PATIENT, issuer_of_patient_id="OTHER")), "patient"),
        (incoming(2, study="1.2.9"), "series"),
        (incoming(1, study="1.2.9")._replace(series=SeriesHeader("1.2.9.1")), "instance"),
    ],
)
def test_a_contradiction_is_refused_and_changes_nothing(
    db: Database, contradiction: IncomingInstance, what: str
) -> None:
    sent = incoming(1)
    receive(db, sent)
    before = _snapshot(db)
    contradiction = contradiction._replace(
        sop_instance_uid=sent.sop_instance_uid if what == "instance" else "1.2.3.99",
    )
    with pytest.raises(IdentityConflict, match=what) as caught:
        record_instance(db, contradiction)
    assert _snapshot(db) == before
    words = ("PID", "OTHER", "SITE", "Doe", STUDY, "1.2.9", SERIES)
    assert not any(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "patient",
    [
        replace(PATIENT, patient_id=" PID-1 "),
        replace(PATIENT, patient_id="PID-1\x00"),
        replace(PATIENT, issuer_of_patient_id=""),
        replace(PATIENT, patient_name="Doe^J"),
    ],
)
def test_the_same_patient_written_otherwise_is_no_contradiction(
    db: Database, patient: PatientIdentity
) -> None:
    receive(db, incoming(1))
    assert record_instance(db, incoming(2, patient=patient)) is StoreOutcome.STORED


def test_an_instance_may_move_to_another_series_of_its_study(db: Database) -> None:
    receive(db, incoming(1))
    moved = incoming(1, content="moved")._replace(series=SeriesHeader("1.2.3.1.2", "MR", 4))
    assert record_instance(db, moved) is StoreOutcome.REPLACED
    (series,) = series_of_study(db, STUDY)
    assert (series.header.series_instance_uid, series.instance_count) == ("1.2.3.1.2", 1)
    assert instances_of_series(db, SERIES) == ()


def test_an_instance_of_an_unknown_association_is_refused(db: Database) -> None:
    with pytest.raises(StorageError):
        record_instance(db, incoming(association_id=4711))


def test_instances_come_in_order_of_their_number(db: Database) -> None:
    unnumbered = incoming(5)._replace(instance_number=None)
    receive(db, incoming(10), unnumbered, incoming(9), incoming(2))
    numbers = [instance.instance_number for instance in instances_of_series(db, SERIES)]
    assert numbers == [2, 9, 10, None]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(any_text, min_size=8, max_size=8))
def test_every_text_is_kept_as_it_came_but_for_what_no_database_keeps(
    db: Database, texts: list[str]
) -> None:
    # Every example is another study: one study cannot have two patients.
    uid = f"1.2.4.{uuid4().int}"[:64]
    header = StudyHeader(
        uid,
        PatientIdentity(*texts[:3]),
        study_date=texts[3],
        study_description=texts[4],
        procedure_code=CodedConcept(*texts[5:8]),
    )
    record_instance(db, incoming(study=uid, series=f"{uid}.1")._replace(study=header))
    kept = get_study(db, uid).header
    assert kept.patient == PatientIdentity(*map(storable, texts[:3]))
    assert [kept.study_date, kept.study_description] == list(map(storable, texts[3:5]))
    assert kept.procedure_code == header.procedure_code
