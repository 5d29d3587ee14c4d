"""Commands on the jobs and deliveries that a node has kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.load import load_settings
from node.data_directory import kept_data
from storage.deliveries import claim_next_delivery, settle_dead
from storage.delivery_reads import list_deliveries
from storage.dicom_records import StudyState
from storage.instance_files import uid_tag
from storage.jobs import fail_job, get_job
from storage.migrate import migrate
from storage.records import DeliveryState, JobState, Refusal
from storage.studies import get_study, route
from tests.unit.node_service.cli_runs import Run, config, run
from tests.unit.storage.samples import (
    NOW,
    PATIENT,
    STUDY,
    WORKER,
    claim,
    make_deliveries,
    make_job,
    make_ready,
    receive,
)

__all__ = ["config", "run"]


@pytest.fixture
def node_with_job(tmp_path: Path, config: Path) -> Path:
    """A data directory with one failed job; its configuration."""
    with kept_data(load_settings(config)) as db:
        migrate(db)
        job_id = make_job(db)
        claim(db)
        fail_job(db, job_id, worker_id=WORKER, code="x", text="broke", retry_at=None, now=NOW)
    return config


def test_the_status_of_a_node_that_never_ran_is_an_error_in_one_line(
    run: Run, config: Path
) -> None:
    done = run("status", "--config", str(config))

    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "no database yet" in done.err


def test_the_status_shows_studies_by_tag_and_no_patient(run: Run, node_with_job: Path) -> None:
    shown = run("status", "--config", str(node_with_job)).out
    as_json = run("status", "--json", "--config", str(node_with_job)).out

    assert uid_tag(STUDY) in shown
    assert json.loads(as_json)["studies"][0]["jobs"][0]["state"] == "failed"
    for text in (PATIENT.patient_id, "Doe", PATIENT.birth_date):
        assert text not in shown + as_json


def test_a_failed_job_can_be_tried_again_once(run: Run, node_with_job: Path) -> None:
    first = run("retry", "1", "--config", str(node_with_job))
    second = run("retry", "1", "--config", str(node_with_job))

    assert (first.code, first.out) == (0, "job 1 is queued\n")
    assert second.code == 1
    assert "job 1" in second.err
    with kept_data(load_settings(node_with_job)) as db:
        assert get_job(db, 1).state is JobState.QUEUED


def test_a_job_that_is_not_there_is_named(run: Run, node_with_job: Path) -> None:
    done = run("retry", "99", "--config", str(node_with_job))

    assert done.code == 1
    assert done.err == "radnode: there is no job 99\n"


def test_a_study_that_no_pipeline_took_is_routed_again(run: Run, config: Path) -> None:
    with kept_data(load_settings(config)) as db:
        migrate(db)
        receive(db)
        generation = make_ready(db)
        refusal = Refusal("no_pipeline_matches", "none")
        (job_id,) = route(db, STUDY, generation=generation, jobs=(), refusal=refusal, now=NOW)

    done = run("retry", str(job_id), "--config", str(config))

    assert done.code == 0
    with kept_data(load_settings(config)) as db:
        assert get_study(db, STUDY).state is StudyState.READY


def test_a_dead_delivery_can_be_tried_again(run: Run, config: Path) -> None:
    with kept_data(load_settings(config)) as db:
        migrate(db)
        make_deliveries(db, "pacs")
        delivery = claim_next_delivery(
            db, destination="pacs", worker_id=WORKER, lease_s=60, now=NOW
        )
        assert delivery
        number = delivery.delivery_id
        settle_dead(db, number, worker_id=WORKER, code="x", text="broke", now=NOW)

    done = run("retry-delivery", str(number), "--config", str(config))

    assert (done.code, done.out) == (0, f"delivery {number} is pending, due now\n")
    with kept_data(load_settings(config)) as db:
        assert list_deliveries(db)[0].state is DeliveryState.PENDING


def test_a_waiting_delivery_is_hurried_by_its_number(run: Run, config: Path) -> None:
    late = NOW.replace(year=9000)
    with kept_data(load_settings(config)) as db:
        migrate(db)
        make_deliveries(db, "ehr", now=late)
        number = list_deliveries(db)[0].delivery_id

    done = run("retry-delivery", str(number), "--config", str(config))

    assert (done.code, done.err) == (0, "")
    with kept_data(load_settings(config)) as db:
        assert list_deliveries(db)[0].due_at < late
