from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
import structlog

from config.settings import (
    FolderDestination,
    NodeSettings,
    PipelineSettings,
    Settings,
    WorkerSettings,
)
from node.attempt import warm_up
from node.report_pdf import hand_over, with_pdf
from node.worker import Worker
from pipelines.registry import Registry, load_registry
from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.dicom_records import StudyState
from storage.instance_files import InstanceFiles
from storage.jobs import finished_job, get_job, job_events, list_jobs, return_jobs_of
from storage.records import JobRecord, JobState, ObjectKind
from storage.studies import get_study
from tests.acceptance.small_study import PATIENT_TEXTS, SmallStudy, write_small_study
from tests.integration.node_service.kept_study import keep, route
from tests.migrated_database import migrated_database

NEVER = threading.Event()


@dataclass(frozen=True)
class Node:
    """A node's storage with one study in it, and what it runs with."""

    settings: Settings
    db: Database
    files: InstanceFiles
    registry: Registry
    study: SmallStudy

    def receive(self, paths: tuple[Path, ...]) -> int:
        keep(self.db, self.files, paths)
        return route(
            self.db, self.files, self.registry, self.settings, self.study.study_instance_uid
        )

    def work_once(self, registry: Registry | None = None) -> bool:
        offered = self.registry if registry is None else registry
        return Worker(self.settings, self.db, offered).work_once(NEVER)

    def input_files(self) -> list[Path]:
        return sorted((self.files.data_dir / "instances").rglob("*.dcm"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    settings = Settings(
        node=NodeSettings(data_dir=tmp_path / "data"),
        worker=WorkerSettings(device="cpu", cpu_threads=2, max_attempts=2, heartbeat_s=0.1),
        destinations=(FolderDestination(type="folder", name="ehr"),),
    )
    db = migrated_database(tmp_path / "radnode.sqlite")
    yield Node(
        settings,
        db,
        InstanceFiles(settings.node.data_dir),
        load_registry(PipelineSettings()),
        write_small_study(tmp_path / "study"),
    )
    db.close()


def _results(node: Node) -> dict[str, str]:
    folder = node.files.data_dir / "results"
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.dcm")
    }


def _texts(node: Node, job_id: int) -> str:
    return "".join(event.reason_text for event in job_events(node.db, job_id))


def test_a_job_done_twice_writes_the_same_bytes_and_fills_the_outbox_once(node: Node) -> None:
    job_id = node.receive(node.study.paths)
    assert node.work_once()
    first = _results(node)
    assert get_job(node.db, job_id).state is JobState.SUCCEEDED
    assert len(list_deliveries(node.db)) == 1

    # As after a crash between writing the objects and registering them.
    from storage.job_tables import Delivery, Job, Measurement, ResultObjectRow

    with node.db.begin() as session:
        for table in (Delivery, Measurement, ResultObjectRow):
            session.query(table).delete()
        session.query(Job).update({"state": JobState.QUEUED})
    assert node.work_once()

    assert _results(node) == first
    assert len(first) == 2
    assert len(list_deliveries(node.db)) == 1
    assert not node.work_once()


def test_a_job_makes_the_pages_that_the_settings_want_and_a_report_its_own_patient_s_alone(
    node: Node,
) -> None:
    pages = node.settings.worker.model_copy(update={"extra_objects": ("PDF", "SC")})
    node = replace(node, settings=node.settings.model_copy(update={"worker": pages}))
    job_id = node.receive(node.study.paths)
    assert node.work_once()
    finished = finished_job(node.db, job_id)
    kinds = [made.kind for made in finished.objects]
    assert kinds == [ObjectKind.SEG, ObjectKind.SR, ObjectKind.PDF, ObjectKind.SC]
    told = with_pdf(finished, node.files)
    assert told.report_pdf is not None
    assert told.report_pdf.startswith(b"%PDF-")

    # A person has corrected the patient; the images, and with them the page, name the former one.
    patient = replace(finished.study.header.patient, patient_id="OTHER1")
    header = replace(finished.study.header, patient=patient)
    corrected = replace(finished, study=replace(finished.study, header=header))
    assert with_pdf(corrected, node.files).report_pdf is None
    assert hand_over(finished, node.files, lambda _: {"place": "1"}) == {"place": "1"}
    receipt = hand_over(corrected, node.files, lambda _: {"place": "1"})
    assert receipt == {
        "place": "1",
        "left_out": "PDF: it names another patient than the report does now",
    }


def test_a_series_with_a_gap_is_refused_with_its_reason(node: Node) -> None:
    job_id = node.receive(node.study.paths[:15] + node.study.paths[17:])

    node.work_once()

    job = get_job(node.db, job_id)
    assert (job.state, job.reason_code) == (JobState.REFUSED, "missing_slices")
    assert list_deliveries(node.db) == ()


def test_an_error_that_nobody_foresaw_is_recorded_without_patient_data_and_tried_again(
    node: Node,
) -> None:
    job_id = node.receive(node.study.paths)
    for path in node.input_files():
        path.unlink()

    with structlog.testing.capture_logs() as logged:
        node.work_once()

    job = get_job(node.db, job_id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert job.due_at > datetime.now(UTC)
    assert job.reason_code
    assert not any(text in _texts(node, job_id) + str(logged) for text in PATIENT_TEXTS)


def test_a_job_whose_attempts_are_used_up_is_failed(node: Node) -> None:
    job_id = node.receive(node.study.paths)
    for path in node.input_files():
        path.unlink()
    from storage.job_tables import Job

    with node.db.begin() as session:
        session.query(Job).update({"attempts": 1})
    node.work_once()

    assert get_job(node.db, job_id).state is JobState.FAILED


def test_a_job_for_another_version_of_its_pipeline_is_refused_and_its_study_routed_anew(
    node: Node,
) -> None:
    job_id = node.receive(node.study.paths)
    name = "hippocampus_mr"
    newer = {name: replace(node.registry[name], pipeline_digest="ab" * 32)}

    node.work_once(newer)

    job = get_job(node.db, job_id)
    assert (job.state, job.reason_code) == (JobState.REFUSED, "pipeline_changed")
    assert get_study(node.db, node.study.study_instance_uid).state is StudyState.READY


def test_a_job_for_a_pipeline_that_is_no_longer_offered_is_refused(node: Node) -> None:
    job_id = node.receive(node.study.paths)

    node.work_once({})

    assert get_job(node.db, job_id).reason_code == "pipeline_changed"


def test_a_result_whose_lease_was_lost_meanwhile_is_abandoned(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = node.receive(node.study.paths)
    from node import attempt

    def lose_lease_first(job: JobRecord, files: InstanceFiles) -> dict[str, tuple[Path, ...]]:
        return_jobs_of(node.db, node.settings.node.name, now=datetime.now(UTC))
        return paths_of(job, files)

    paths_of = attempt._input_paths
    monkeypatch.setattr(attempt, "_input_paths", lose_lease_first)
    node.work_once()

    assert get_job(node.db, job_id).state is JobState.QUEUED
    assert list_deliveries(node.db) == ()


def test_a_worker_without_a_job_does_nothing(node: Node) -> None:
    assert not node.work_once()
    assert list_jobs(node.db, limit=10) == ()


def test_a_model_that_cannot_be_loaded_does_not_keep_the_worker_from_starting(
    node: Node, tmp_path: Path
) -> None:
    name = "hippocampus_mr"
    broken = {name: replace(node.registry[name], bundle_dir=tmp_path, model_digest="cd" * 32)}

    with structlog.testing.capture_logs() as logged:
        warm_up(broken, node.settings)

    assert [line["event"] for line in logged] == ["model_not_loaded"]
