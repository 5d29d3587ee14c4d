from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from storage.audit import list_audit
from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.dicom_records import IncomingInstance, StoreOutcome, StudyState
from storage.errors import LeaseLost
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series, record_instance
from storage.job_inputs import InputInstance, JobInput
from storage.jobs import get_job, job_events, list_jobs
from storage.overview import study_rows
from storage.overview_rows import StudyRow
from storage.records import JobState, NewJob, Purpose, Refusal
from storage.rejection_notes import (
    IMAGES_EXPIRED,
    IMAGES_REJECTED,
    dismiss_note,
    rejected_count,
    settle_note,
    unsettled_notes,
)
from storage.rejection_records import KEY_OBJECT_SELECTION, NoteState, ReadNote, RejectionCode
from storage.retention import purge
from storage.studies import get_study, ready_studies, route
from tests.unit.storage.samples import (
    NOW,
    SERIES,
    STUDY,
    after,
    claim,
    finish,
    incoming,
    make_ready,
    new_job,
    receive,
    to_destinations,
)
from tests.unit.storage.withdrawn_deliveries import arrived

WRONG = [code for code in RejectionCode if code.withdraws]
FIRST, SECOND = f"{SERIES}.1", f"{SERIES}.2"


def job_on(*numbers: int, digest: str = "in-1") -> NewJob:
    """A job that reads these instances."""
    made = new_job(digest)
    (given,) = made.inputs
    pinned = (
        InputInstance(f"{SERIES}.{number}", given.instances[0].path, "") for number in numbers
    )
    return replace(made, inputs=(JobInput("t1", SERIES, "", tuple(pinned)),))


def note(
    number: int = 1, *, sender: str = "PACS", content: str = "", at: datetime = NOW
) -> IncomingInstance:
    made = incoming(900 + number, series=f"{STUDY}.77", content=content, received_at=at)
    return made._replace(sop_class_uid=KEY_OBJECT_SELECTION, calling_ae_title=sender)


def routed(db: Database, *jobs: NewJob) -> tuple[int, ...]:
    generation = make_ready(db)
    return route_now(db, generation, *jobs)


def route_now(db: Database, generation: int, *jobs: NewJob) -> tuple[int, ...]:
    return route(
        db,
        STUDY,
        generation=generation,
        jobs=tuple(replace(each, generation=generation) for each in jobs),
        refusal=None if jobs else Refusal("images_rejected", ""),
        now=NOW,
    )


def settle(
    db: Database, *uids: str, title: RejectionCode = RejectionCode.PATIENT_SAFETY
) -> tuple[str, ...]:
    """Settle the only open note, as naming these instances."""
    (open_note,) = unsettled_notes(db)
    read = ReadNote(title, uids)
    return settle_note(db, open_note, read, may_reject=own_studies, now=after(9))


def own_studies(sender: str, senders: frozenset[str]) -> bool:
    return sender in senders


def in_use(db: Database) -> list[str]:
    return [each.sop_instance_uid for each in instances_of_series(db, SERIES)]


def shown(db: Database) -> StudyRow:
    (row,) = study_rows(db, 10)
    return row


def states(db: Database) -> list[NoteState]:
    return [each.state for each in shown(db).rejection_notes]


@pytest.mark.parametrize("title", WRONG, ids=lambda title: title.value)
def test_a_queued_job_on_rejected_images_is_stopped_and_the_study_goes_on_without_them(
    db: Database, title: RejectionCode
) -> None:
    receive(db, incoming(1), incoming(2))
    (job_id,) = routed(db, job_on(1, 2))
    receive(db, note())

    assert settle(db, FIRST, title=title) == ()

    job = get_job(db, job_id)
    assert (job.state, job.reason_code) == (JobState.SUPERSEDED, IMAGES_REJECTED)
    assert title.value in job.reason_text
    assert job_events(db, job_id)[-1].actor == "routing"
    assert in_use(db) == [SECOND]
    (ready,) = ready_studies(db)
    assert ready.generation == 2
    assert (shown(db).rejected_count, states(db)) == (1, [NoteState.OBEYED])


def test_a_running_job_is_stopped_and_its_worker_cannot_end_it_any_more(db: Database) -> None:
    receive(db, incoming(1))
    (job_id,) = routed(db, job_on(1))
    worker_id = claim(db).worker_id
    receive(db, note())

    assert settle(db, FIRST) == (worker_id,)

    assert get_job(db, job_id).state is JobState.SUPERSEDED
    with pytest.raises(LeaseLost):
        finish(db, job_id)


def test_a_result_that_was_told_is_withdrawn_at_once(db: Database) -> None:
    receive(db, incoming(1))
    (job_id,) = routed(db, job_on(1))
    claim(db)
    finish(db, job_id, deliveries=to_destinations("ehr"))
    arrived(db, "ehr")
    receive(db, note())
    settle(db, FIRST)

    (delivery,) = list_deliveries(db, job_id=job_id)
    assert (delivery.purpose, delivery.reason_code) == (Purpose.WITHDRAW, IMAGES_REJECTED)
    assert get_job(db, job_id).state is JobState.SUPERSEDED


def test_a_job_on_other_images_is_left_alone(db: Database) -> None:
    receive(db, incoming(1), incoming(2))
    (job_id,) = routed(db, job_on(1))
    receive(db, note())
    settle(db, SECOND)
    assert get_job(db, job_id).state is JobState.QUEUED
    route_now(db, 2, job_on(1))
    assert get_job(db, job_id).state is JobState.QUEUED


def test_images_that_expired_stop_what_has_not_ended_and_withdraw_nothing(db: Database) -> None:
    receive(db, incoming(1), incoming(2))
    done, waiting = routed(db, job_on(1), replace(job_on(2, digest="in-2"), pipeline_name="other"))
    claim(db)
    finish(db, done, deliveries=to_destinations("ehr"))
    receive(db, note())

    settle(db, FIRST, SECOND, title=RejectionCode.RETENTION_EXPIRED)

    assert get_job(db, done).state is JobState.SUCCEEDED
    assert get_job(db, waiting).reason_code == IMAGES_EXPIRED
    assert (in_use(db), rejected_count(db, STUDY)) == ([FIRST, SECOND], 0)
    assert get_study(db, STUDY).state is StudyState.ROUTED


def test_a_note_of_another_sender_is_not_obeyed_and_visible(db: Database) -> None:
    receive(db, incoming(1))
    (job_id,) = routed(db, job_on(1))
    receive(db, note(sender="STRANGER"))

    settle(db, FIRST)

    assert get_job(db, job_id).state is JobState.QUEUED
    assert in_use(db) == [FIRST]
    (told,) = shown(db).rejection_notes
    assert (told.state, told.calling_ae_title) == (NoteState.NOT_OBEYED, "STRANGER")
    assert get_study(db, STUDY).calling_ae_title == "PACS"
    assert "not_obeyed" in {line.detail.get("state") for line in list_audit(db, 10)}


def test_a_note_that_comes_before_its_images_keeps_them_from_being_analysed(db: Database) -> None:
    receive(db, note())
    assert get_study(db, STUDY).state is StudyState.RESULTS_ONLY
    settle(db, FIRST)
    assert (states(db), unsettled_notes(db)) == ([NoteState.WAITING], ())

    receive(db, incoming(1), incoming(2))
    assert (get_study(db, STUDY).generation, unsettled_notes(db)) == (1, ())
    make_ready(db)
    settle(db, FIRST)

    assert (states(db), in_use(db)) == ([NoteState.OBEYED], [SECOND])
    assert route_now(db, 1, job_on(2)) == ()
    assert len(route_now(db, 2, job_on(2))) == 1


def test_a_note_before_images_of_another_sender_is_not_obeyed(db: Database) -> None:
    receive(db, note(sender="STRANGER"))
    settle(db, FIRST)
    receive(db, incoming(1))
    make_ready(db)
    settle(db, FIRST)
    assert (states(db), in_use(db)) == ([NoteState.NOT_OBEYED], [FIRST])


def test_an_image_that_comes_after_its_rejection_is_kept_and_not_analysed(db: Database) -> None:
    receive(db, incoming(1))
    receive(db, note())
    settle(db, FIRST, SECOND)
    receive(db, incoming(2), incoming(1, content="again, otherwise"))
    assert (in_use(db), rejected_count(db, STUDY)) == ([], 2)
    assert shown(db).instance_count == 3


def test_a_note_that_comes_twice_counts_once(db: Database) -> None:
    receive(db, incoming(1), incoming(2))
    routed(db, job_on(1, 2))
    receive(db, note())
    settle(db, FIRST)
    assert record_instance(db, note()) is StoreOutcome.DUPLICATE
    assert unsettled_notes(db) == ()

    receive(db, note(2))
    settle(db, FIRST)
    assert get_study(db, STUDY).generation == 2
    assert rejected_count(db, STUDY) == 1
    assert states(db) == [NoteState.OBEYED, NoteState.OBEYED]


def test_another_note_under_the_same_uid_is_read_as_well(db: Database) -> None:
    receive(db, incoming(1), incoming(2))
    receive(db, note())
    settle(db, FIRST)
    receive(db, note(content="more"))
    settle(db, FIRST, SECOND)
    assert in_use(db) == []


def test_a_note_of_our_own_is_none(db: Database) -> None:
    receive(db, incoming(1), note()._replace(is_own_result=True))
    assert (unsettled_notes(db), states(db)) == ((), [])


def test_a_key_object_selection_never_opens_a_study_again(db: Database) -> None:
    receive(db, incoming(1))
    routed(db, job_on(1))
    before = get_study(db, STUDY)
    receive(db, note(at=after(5)))
    (open_note,) = unsettled_notes(db)
    dismiss_note(db, open_note, NoteState.NO_REJECTION, now=after(6))
    assert get_study(db, STUDY) == before
    assert states(db) == []


def test_a_note_is_kept_also_where_its_series_is_known_to_the_receiver(
    db: Database, files: InstanceFiles
) -> None:
    recorder = InstanceRecorder(db, files)
    files.absolute("instances").mkdir(parents=True, exist_ok=True)
    for one in (incoming(1), note(1), note(2), note(3)):
        (files.data_dir / one.path).parent.mkdir(parents=True, exist_ok=True)
        recorder.record(one)
    assert len(unsettled_notes(db)) == 3


def test_notes_go_with_their_study(db: Database, files: InstanceFiles) -> None:
    receive(db, incoming(1))
    (job_id,) = routed(db, job_on(1))
    receive(db, note())
    settle(db, FIRST)
    route_now(db, 2)
    assert list_jobs(db, limit=1)[0].reason_code == "images_rejected"
    for number in (job_id, job_id + 1):
        files.results_dir(number)
    assert purge(db, files, older_than=after(1000)) == 1
    assert study_rows(db, 10) == ()
    assert unsettled_notes(db) == ()
