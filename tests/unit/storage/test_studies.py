from __future__ import annotations

from dataclasses import replace

import pytest

from storage.database import Database
from storage.dicom_records import SeriesHeader, StudyState
from storage.errors import IllegalTransition, NotFound
from storage.jobs import get_job, job_events, jobs_of_study
from storage.records import JobState, NewJob, Refusal
from storage.studies import (
    get_study,
    list_studies,
    mark_ready,
    open_studies,
    ready_studies,
    reopen_for_routing,
    route,
    series_of_study,
)
from tests.unit.storage.samples import (
    NOW,
    STUDY,
    after,
    claim,
    finish,
    incoming,
    make_job,
    make_ready,
    new_job,
    receive,
)

REFUSAL = Refusal("no_pipeline_matches", "no enabled pipeline takes this study")


def _route(
    db: Database, generation: int, *jobs: NewJob, refusal: Refusal | None = None
) -> tuple[int, ...]:
    return route(db, STUDY, generation=generation, jobs=jobs, refusal=refusal, now=after(2))


def _states(db: Database) -> list[JobState]:
    return [job.state for job in jobs_of_study(db, STUDY)]


def test_an_unknown_study_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound) as caught:
        get_study(db, STUDY)
    assert STUDY not in str(caught.value)


def test_studies_are_listed_newest_first(db: Database) -> None:
    for number in (1, 2, 3):
        study = f"1.2.{number}"
        receive(db, incoming(study=study, series=f"{study}.1", received_at=after(number)))
    uids = [study.header.study_instance_uid for study in list_studies(db, 2)]
    assert uids == ["1.2.3", "1.2.2"]


def test_series_come_in_order_of_their_number_with_their_counts(db: Database) -> None:
    for uid, number in (("1.2.3.1.7", 10), ("1.2.3.1.8", 9), ("1.2.3.1.9", None)):
        sent = [incoming(one, series=uid) for one in range(1, 3)]
        receive(db, *(one._replace(series=SeriesHeader(uid, "MR", number)) for one in sent))
    found = [(one.header.series_number, one.instance_count) for one in series_of_study(db, STUDY)]
    assert found == [(9, 2), (10, 2), (None, 2)]


def test_progress_counts_the_instances_of_each_series(db: Database) -> None:
    receive(db, incoming(1), incoming(2), incoming(1, series="1.2.3.1.2"))
    receive(db, incoming(1, series="2.25.9", is_own_result=True))
    (progress,) = open_studies(db)
    assert progress.study == get_study(db, STUDY)
    assert progress.series_counts == {"1.2.3.1.1": 2, "1.2.3.1.2": 1}
    assert progress.running_associations == 0
    assert progress.last_association_end is None


def test_only_the_instances_that_somebody_wants_to_know_of_are_counted(db: Database) -> None:
    for study in ("1.2.1", "1.2.2"):
        receive(db, incoming(study=study, series=f"{study}.1"))

    found = open_studies(db, lambda study: study.header.study_instance_uid == "1.2.2")

    assert [dict(each.series_counts) for each in found] == [{}, {"1.2.2.1": 1}]
    assert [each.study for each in found] == [each.study for each in open_studies(db)]


def test_a_complete_study_is_ready_with_its_evidence(db: Database) -> None:
    receive(db)
    make_ready(db, now=after(1))
    (study,) = ready_studies(db)
    assert study.complete_evidence == "quiet time"
    assert study.complete_at == after(1)
    assert open_studies(db) == ()


def test_a_study_is_not_ready_if_something_came_meanwhile(db: Database) -> None:
    receive(db, incoming(1))
    seen = get_study(db, STUDY)
    receive(db, incoming(2))
    is_ready = mark_ready(
        db,
        STUDY,
        generation=seen.generation,
        last_received_at=seen.last_received_at,
        evidence="quiet time",
        now=after(1),
    )
    assert not is_ready
    assert get_study(db, STUDY).state is StudyState.RECEIVING


def test_a_study_becomes_ready_once(db: Database) -> None:
    receive(db)
    make_ready(db, now=after(1))
    study = get_study(db, STUDY)
    again = mark_ready(
        db,
        STUDY,
        generation=study.generation,
        last_received_at=study.last_received_at,
        evidence="find counts",
        now=after(2),
    )
    assert not again
    assert get_study(db, STUDY) == study


def test_routing_queues_the_jobs_as_they_were_asked_for(db: Database) -> None:
    receive(db)
    asked = new_job()
    (job_id,) = _route(db, make_ready(db), asked)
    job = get_job(db, job_id)
    assert get_study(db, STUDY).state is StudyState.ROUTED
    for name in ("inputs", "algorithm", "destinations", "priority", "max_attempts", "generation"):
        assert getattr(job, name) == getattr(asked, name)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert job.due_at == job.created_at == after(2)
    (event,) = job_events(db, job_id)
    assert (event.from_state, event.to_state, event.actor) == ("", "queued", "routing")


def test_known_work_is_not_queued_again(db: Database) -> None:
    receive(db)
    generation = make_ready(db)
    (job_id,) = _route(db, generation, new_job())
    reopen_for_routing(db, STUDY, now=after(3))
    assert _route(db, generation + 1, new_job(generation=2)) == ()
    assert [job.job_id for job in jobs_of_study(db, STUDY)] == [job_id]
    assert get_study(db, STUDY).state is StudyState.ROUTED


def test_a_study_that_went_on_meanwhile_is_not_routed(db: Database) -> None:
    receive(db, incoming(1))
    generation = make_ready(db)
    receive(db, incoming(2))
    assert _route(db, generation, new_job()) == ()
    assert get_study(db, STUDY).state is StudyState.RECEIVING
    assert jobs_of_study(db, STUDY) == ()


def test_a_study_that_no_pipeline_takes_has_one_visible_outcome(db: Database) -> None:
    receive(db)
    generation = make_ready(db)
    (job_id,) = _route(db, generation, refusal=REFUSAL)
    job = get_job(db, job_id)
    assert (job.state, job.pipeline_name, job.algorithm) == (JobState.REFUSED, "", None)
    assert (job.reason_code, job.reason_text) == (REFUSAL.code, REFUSAL.text)
    (event,) = job_events(db, job_id)
    assert (event.to_state, event.reason_code) == ("refused", REFUSAL.code)
    assert _route(db, generation, refusal=REFUSAL) == ()
    assert len(jobs_of_study(db, STUDY)) == 1


def test_each_generation_that_is_refused_says_so(db: Database) -> None:
    for number in (1, 2):
        receive(db, incoming(number))
        assert len(_route(db, make_ready(db), refusal=REFUSAL)) == 1
    assert [job.generation for job in jobs_of_study(db, STUDY)] == [1, 2]


def test_a_study_without_an_outcome_cannot_be_routed(db: Database) -> None:
    receive(db)
    generation = make_ready(db)
    with pytest.raises(ValueError, match="refusal"):
        _route(db, generation)
    assert get_study(db, STUDY).state is StudyState.READY


def test_only_a_routed_study_can_be_routed_again(db: Database) -> None:
    with pytest.raises(NotFound):
        reopen_for_routing(db, STUDY, now=NOW)
    receive(db)
    with pytest.raises(IllegalTransition):
        reopen_for_routing(db, STUDY, now=NOW)


def test_a_newer_job_replaces_one_that_waits(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    newer = make_job(db, new_job("in-2"), now=after(60))
    assert _states(db) == [JobState.SUPERSEDED, JobState.QUEUED]
    assert job_events(db, older)[-1].reason_code == "newer_generation"
    assert get_job(db, newer).generation == 2


def test_a_newer_job_replaces_one_that_succeeded(db: Database) -> None:
    older = make_job(db, new_job("in-1"))
    claim(db)
    finish(db, older)
    make_job(db, new_job("in-2"))
    assert _states(db) == [JobState.SUPERSEDED, JobState.QUEUED]


def test_a_newer_job_leaves_one_that_runs_to_its_end(db: Database) -> None:
    make_job(db, new_job("in-1"))
    claim(db)
    make_job(db, new_job("in-2"))
    assert _states(db) == [JobState.RUNNING, JobState.QUEUED]


def test_a_newer_job_leaves_what_else_is_current_and_other_studies_alone(db: Database) -> None:
    other = new_job("in-1", pipeline="other")
    make_job(db, new_job("in-1", study="1.2.9"))
    make_job(db, other)
    receive(db, incoming(2))
    _route(db, make_ready(db), replace(other, generation=2), new_job("in-2", generation=2))
    assert _states(db) == [JobState.QUEUED, JobState.QUEUED]
    assert [job.state for job in jobs_of_study(db, "1.2.9")] == [JobState.QUEUED]


def test_a_generation_that_changes_no_input_keeps_its_job(db: Database) -> None:
    job_id = make_job(db, new_job("in-1"))
    claim(db)
    finish(db, job_id)
    receive(db, incoming(1, series="1.2.3.1.2"))
    assert _route(db, make_ready(db), new_job("in-1", generation=2)) == ()
    assert _states(db) == [JobState.SUCCEEDED]
