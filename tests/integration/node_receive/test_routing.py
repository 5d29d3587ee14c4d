from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import ReceiveSettings, SenderSettings, Settings
from storage import jobs
from storage.database import Database
from storage.dicom_records import StudyState
from storage.errors import StorageError
from storage.instance_files import InstanceFiles, uid_tag
from storage.records import JobState
from storage.studies import get_study
from tests.integration.node_receive.mr_study import SERIES, STUDY
from tests.integration.node_receive.routed_studies import (
    a_pipeline,
    db,
    files,
    make_ready,
    of_another_study,
    only_job,
    receive,
    receive_study,
    route_all,
)

__all__ = ["db", "files"]


def test_a_complete_study_becomes_a_job_of_the_series_that_fits(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    receive_study(db, files, tmp_path)
    make_ready(db)

    assert route_all(db, files, [a_pipeline()]) == 1

    job = only_job(db)
    assert job.state is JobState.QUEUED
    assert job.destinations == ("pacs",)
    (chosen,) = job.inputs
    assert chosen.series_instance_uid == SERIES
    assert [item.sop_instance_uid for item in chosen.instances] == [
        f"{SERIES}.{number}" for number in range(1, 5)
    ]
    assert all(files.absolute(item.path).is_file() for item in chosen.instances)
    assert get_study(db, STUDY).state is StudyState.ROUTED
    assert route_all(db, files, [a_pipeline()]) == 0


def test_every_offered_pipeline_gets_its_job(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    receive_study(db, files, tmp_path)
    make_ready(db)

    assert (
        route_all(
            db, files, [a_pipeline("one"), a_pipeline("two"), a_pipeline("ct", modality="CT")]
        )
        == 2
    )

    assert {job.pipeline_name for job in jobs.list_jobs(db, limit=10)} == {"one", "two"}


def _of_sender(*pipelines: str) -> Settings:
    sender = SenderSettings(ae_title="PACS", pipelines=pipelines)
    return Settings(receive=ReceiveSettings(senders=(sender,)))


def test_a_sender_may_have_pipelines_of_its_own(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    receive_study(db, files, tmp_path)
    make_ready(db)

    assert route_all(db, files, [a_pipeline("one"), a_pipeline("two")], _of_sender("two")) == 1

    assert only_job(db).pipeline_name == "two"


def test_a_sender_without_any_pipeline_is_told_where_to_change_that(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    receive_study(db, files, tmp_path)
    make_ready(db)

    assert route_all(db, files, [a_pipeline()], _of_sender()) == 0

    job = only_job(db)
    assert job.state is JobState.REFUSED
    assert "the sender's pipelines" in job.reason_text


def test_a_study_that_no_pipeline_takes_is_refused_with_every_reason(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    receive_study(db, files, tmp_path)
    make_ready(db)

    assert (
        route_all(db, files, [a_pipeline("ct", modality="CT"), a_pipeline("pet", modality="PT")])
        == 0
    )

    job = only_job(db)
    assert job.state is JobState.REFUSED
    assert job.reason_code == "no_pipeline_matches"
    for told in ("ct: series 3", "ct: series 1", "pet: series 3", "pet: series 1"):
        assert told in job.reason_text
    assert "P1" not in job.reason_text
    assert SERIES not in job.reason_text


def test_without_any_pipeline_a_study_is_refused(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    receive_study(db, files, tmp_path)
    make_ready(db)

    assert route_all(db, files, []) == 0

    assert "pipelines.enabled" in only_job(db).reason_text


def test_files_that_cannot_be_read_are_a_refusal_and_no_loop(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    kept = receive_study(db, files, tmp_path)
    for path in kept[1:]:
        path.write_bytes(b"not DICOM any more")
    kept[0].unlink()
    make_ready(db)

    assert route_all(db, files, [a_pipeline()]) == 0

    job = only_job(db)
    assert job.state is JobState.REFUSED
    assert "series 3: no instance can be read" in job.reason_text
    assert get_study(db, STUDY).state is StudyState.ROUTED


def test_one_readable_instance_is_enough_to_choose_a_series(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    kept = receive_study(db, files, tmp_path)
    for path in kept[2:]:
        path.write_bytes(b"not DICOM any more")
    make_ready(db)

    assert route_all(db, files, [a_pipeline()]) == 1


@pytest.mark.parametrize(
    ("sender", "pipeline", "priority"),
    [("stat", 100, 100), ("high", 0, 10_000), ("routine", 7, 20_007)],
)
def test_the_sender_counts_before_the_pipeline(
    db: Database,
    files: InstanceFiles,
    tmp_path: Path,
    sender: str,
    pipeline: int,
    priority: int,
) -> None:
    senders = (SenderSettings.model_validate({"ae_title": "PACS", "priority": sender}),)
    settings = Settings(receive=ReceiveSettings(senders=senders))
    receive_study(db, files, tmp_path)
    make_ready(db)

    route_all(db, files, [a_pipeline(priority=pipeline)], settings)

    assert only_job(db).priority == priority


def test_a_study_that_breaks_routing_is_ended_visibly_and_holds_nobody(
    db: Database, files: InstanceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError("Doe^Jane")

    receive_study(db, files, tmp_path)
    make_ready(db)
    monkeypatch.setattr("node.routing.select_inputs", out_of_memory)

    assert route_all(db, files, [a_pipeline()]) == 0

    job = only_job(db)
    assert (job.state, job.reason_code) == (JobState.REFUSED, "routing_failed")
    assert "MemoryError" in job.reason_text
    assert "Doe" not in job.reason_text


def test_a_disk_that_is_away_postpones_routing_and_refuses_nothing(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    kept = receive_study(db, files, tmp_path)
    make_ready(db)
    for path in kept:  # a folder in its place: EISDIR, an error of the system
        path.rename(path.with_suffix(".away"))
        path.mkdir()
    with pytest.raises(StorageError, match="cannot be read now"):
        route_all(db, files, [a_pipeline()])
    for path in kept:
        path.rmdir()
        path.with_suffix(".away").rename(path)

    assert route_all(db, files, [a_pipeline()]) == 1


def test_a_study_whose_files_cannot_be_read_now_holds_no_other(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    away = [receive(db, files, of_another_study(1), tmp_path)]
    make_ready(db, f"{STUDY}.8")
    receive_study(db, files, tmp_path)
    make_ready(db)
    for path in away:
        path.unlink()
        path.mkdir()

    named = f"study {uid_tag(f'{STUDY}.8')} waits: an instance cannot be read now"
    with pytest.raises(StorageError, match=named):
        route_all(db, files, [a_pipeline()])
    assert get_study(db, f"{STUDY}.8").state is StudyState.READY
    assert only_job(db).study_instance_uid == STUDY
