from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from config.settings import ReceiveSettings, SenderSettings, Settings
from node.routing import route_ready_studies
from pipelines.definition_schema import PipelineDefinition
from pipelines.registry import RegisteredPipeline
from storage import jobs
from storage.database import Database
from storage.dicom_records import IncomingInstance, StudyState
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.instances import record_instance
from storage.records import AlgorithmIdentity, JobRecord, JobState
from storage.studies import get_study, mark_ready
from tests.integration.node_receive.arrived_file import arrived
from tests.integration.node_receive.mr_study import ROOT, SERIES, STUDY, mr_instance, write
from tests.migrated_database import migrated_database
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.mammograms import VIEWS, classes, inputs, mammogram

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LOCALIZER = f"{ROOT}.1.2"
CODE = {"value": "1", "scheme": "99TEST", "meaning": "Test"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.db")
    yield database
    database.close()


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return InstanceFiles(tmp_path / "data")


def _pipeline(
    name: str = "brain", *, modality: str = "MR", priority: int = 100
) -> RegisteredPipeline:
    definition = PipelineDefinition.model_validate(
        {
            "name": name,
            "version": "1",
            "title": "Brain",
            "bundle": "brain",
            "priority": priority,
            "inputs": {
                "image": {
                    "where": [
                        {"tag": "Modality", "equals": modality},
                        {"tag": "ImageType", "not_contains": "LOCALIZER"},
                    ]
                }
            },
            "series_description": "AI brain",
            "procedure_reported": CODE,
            "segments": [
                {
                    "label_value": 1,
                    "label": "Brain",
                    "tracking_id": "Brain",
                    "category": CODE,
                    "type": CODE,
                    "color_rgb": [255, 0, 0],
                }
            ],
            "destinations": ["pacs"],
        }
    )
    algorithm = AlgorithmIdentity("Brain", "1", "0" * 64, "2.25.1")
    return RegisteredPipeline(definition, Path("brain"), f"{name}-digest", "0" * 64, algorithm)


def _receive(db: Database, files: InstanceFiles, dataset: Dataset, folder: Path) -> Path:
    """Keep one instance as the listener does; return its file."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    sent = write(dataset, folder)
    header, digest = arrived(sent, syntax)
    with files.open_incoming() as incoming:
        incoming.write(sent.read_bytes())
        series_uid = header.series.series_instance_uid
        place = header.study.study_instance_uid, series_uid, header.sop_instance_uid
        path = incoming.keep(*place, digest.dataset_sha256)
    record_instance(
        db,
        IncomingInstance(
            study=header.study,
            series=header.series,
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=syntax,
            instance_number=header.instance_number,
            path=path,
            size_bytes=digest.size,
            dataset_sha256=digest.dataset_sha256,
            calling_ae_title="PACS",
            association_id=None,
            is_own_result=False,
            received_at=NOW,
        ),
    )
    return files.absolute(path)


def _receive_study(db: Database, files: InstanceFiles, folder: Path, slices: int = 4) -> list[Path]:
    """A series of `slices` and a localizer of one."""
    scout = mr_instance(1, series=LOCALIZER)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SeriesNumber = 1
    kept = [_receive(db, files, scout, folder)]
    for number in range(1, slices + 1):
        kept.append(_receive(db, files, mr_instance(number), folder))
    return kept


def _ready(db: Database) -> None:
    study = get_study(db, STUDY)
    assert mark_ready(
        db,
        STUDY,
        generation=study.generation,
        last_received_at=study.last_received_at,
        evidence="quiet_time",
        now=NOW,
    )


def _route(
    db: Database,
    files: InstanceFiles,
    pipelines: Sequence[RegisteredPipeline],
    settings: Settings | None = None,
) -> int:
    registry = {pipeline.definition.name: pipeline for pipeline in pipelines}
    return route_ready_studies(db, files, registry, settings or Settings(), now=NOW)


def _only_job(db: Database) -> JobRecord:
    (job,) = jobs.list_jobs(db, limit=10)
    return job


def test_a_complete_study_becomes_a_job_of_the_series_that_fits(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_study(db, files, tmp_path)
    _ready(db)

    assert _route(db, files, [_pipeline()]) == 1

    job = _only_job(db)
    assert job.state is JobState.QUEUED
    assert job.destinations == ("pacs",)
    (chosen,) = job.inputs
    assert chosen.series_instance_uid == SERIES
    assert [item.sop_instance_uid for item in chosen.instances] == [
        f"{SERIES}.{number}" for number in range(1, 5)
    ]
    assert all(files.absolute(item.path).is_file() for item in chosen.instances)
    assert get_study(db, STUDY).state is StudyState.ROUTED
    assert _route(db, files, [_pipeline()]) == 0


def test_every_offered_pipeline_gets_its_job(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_study(db, files, tmp_path)
    _ready(db)

    assert (
        _route(db, files, [_pipeline("one"), _pipeline("two"), _pipeline("ct", modality="CT")]) == 2
    )

    assert {job.pipeline_name for job in jobs.list_jobs(db, limit=10)} == {"one", "two"}


def _of_sender(*pipelines: str) -> Settings:
    sender = SenderSettings(ae_title="PACS", pipelines=pipelines)
    return Settings(receive=ReceiveSettings(senders=(sender,)))


def test_a_sender_may_have_pipelines_of_its_own(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_study(db, files, tmp_path)
    _ready(db)

    assert _route(db, files, [_pipeline("one"), _pipeline("two")], _of_sender("two")) == 1

    assert _only_job(db).pipeline_name == "two"


def test_a_sender_without_any_pipeline_is_told_where_to_change_that(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_study(db, files, tmp_path)
    _ready(db)

    assert _route(db, files, [_pipeline()], _of_sender()) == 0

    job = _only_job(db)
    assert job.state is JobState.REFUSED
    assert "the sender's pipelines" in job.reason_text


def test_a_study_that_no_pipeline_takes_is_refused_with_every_reason(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_study(db, files, tmp_path)
    _ready(db)

    assert _route(db, files, [_pipeline("ct", modality="CT"), _pipeline("pet", modality="PT")]) == 0

    job = _only_job(db)
    assert job.state is JobState.REFUSED
    assert job.reason_code == "no_pipeline_matches"
    for told in ("ct: series 3", "ct: series 1", "pet: series 3", "pet: series 1"):
        assert told in job.reason_text
    assert "P1" not in job.reason_text
    assert SERIES not in job.reason_text


def test_without_any_pipeline_a_study_is_refused(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_study(db, files, tmp_path)
    _ready(db)

    assert _route(db, files, []) == 0

    assert "pipelines.enabled" in _only_job(db).reason_text


def test_files_that_cannot_be_read_are_a_refusal_and_no_loop(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    kept = _receive_study(db, files, tmp_path)
    for path in kept[1:]:
        path.write_bytes(b"not DICOM any more")
    kept[0].unlink()
    _ready(db)

    assert _route(db, files, [_pipeline()]) == 0

    job = _only_job(db)
    assert job.state is JobState.REFUSED
    assert "series 3: no instance can be read" in job.reason_text
    assert get_study(db, STUDY).state is StudyState.ROUTED


def test_one_readable_instance_is_enough_to_choose_a_series(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    kept = _receive_study(db, files, tmp_path)
    for path in kept[2:]:
        path.write_bytes(b"not DICOM any more")
    _ready(db)

    assert _route(db, files, [_pipeline()]) == 1


def test_the_input_digest_follows_what_came_and_not_the_order(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_study(db, files, tmp_path, slices=4)
    _ready(db)
    _route(db, files, [_pipeline()])
    first = _only_job(db)
    late = mr_instance(5)

    _receive(db, files, late, tmp_path)
    _ready(db)
    assert _route(db, files, [_pipeline()]) == 1

    newer = next(job for job in jobs.list_jobs(db, limit=10) if job.job_id != first.job_id)
    assert newer.input_digest != first.input_digest
    assert newer.generation == first.generation + 1
    assert jobs.get_job(db, first.job_id).state is JobState.SUPERSEDED


def test_the_same_data_in_another_order_has_the_same_digest(tmp_path: Path) -> None:
    digests = set()
    for order in ((1, 2, 3, 4), (4, 2, 1, 3)):
        folder = tmp_path / str(order[0])
        database = migrated_database(folder / "radnode.db")
        files = InstanceFiles(folder / "data")
        for number in order:
            _receive(database, files, mr_instance(number), folder)
        _ready(database)
        _route(database, files, [_pipeline()])
        digests.add(_only_job(database).input_digest)
        database.close()

    assert len(digests) == 1


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
    _receive_study(db, files, tmp_path)
    _ready(db)

    _route(db, files, [_pipeline(priority=pipeline)], settings)

    assert _only_job(db).priority == priority


def test_a_study_that_breaks_routing_is_ended_visibly_and_holds_nobody(
    db: Database, files: InstanceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError("Doe^Jane")

    _receive_study(db, files, tmp_path)
    _ready(db)
    monkeypatch.setattr("node.routing.select_inputs", out_of_memory)

    assert _route(db, files, [_pipeline()]) == 0

    job = _only_job(db)
    assert (job.state, job.reason_code) == (JobState.REFUSED, "routing_failed")
    assert "MemoryError" in job.reason_text
    assert "Doe" not in job.reason_text


def test_a_disk_that_is_away_postpones_routing_and_refuses_nothing(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    kept = _receive_study(db, files, tmp_path)
    _ready(db)
    for path in kept:  # a folder in its place: EISDIR, an error of the system
        path.rename(path.with_suffix(".away"))
        path.mkdir()
    with pytest.raises(StorageError, match="cannot be read now"):
        _route(db, files, [_pipeline()])
    for path in kept:
        path.rmdir()
        path.with_suffix(".away").rename(path)

    assert _route(db, files, [_pipeline()]) == 1


def _mammography(several: str = "per_view") -> RegisteredPipeline:
    wanted = definition(**classes(0.5, 0.5), inputs=inputs(), several_projections=several)
    algorithm = AlgorithmIdentity("Breast", "1", "0" * 64, "2.25.1")
    return RegisteredPipeline(wanted, Path("breast"), "breast-digest", "0" * 64, algorithm)


def _receive_views(
    db: Database, files: InstanceFiles, folder: Path, views: Sequence[str], **attributes: Any
) -> None:
    for role in views:
        image = mammogram(role, StudyInstanceUID=STUDY, **attributes)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        _receive(db, files, image, folder)


@pytest.mark.parametrize("attributes", [{}, {"SeriesInstanceUID": SERIES}], ids=["four", "one"])
def test_four_views_fill_four_inputs_from_four_series_or_from_one(
    db: Database, files: InstanceFiles, tmp_path: Path, attributes: dict[str, str]
) -> None:
    _receive_views(db, files, tmp_path, list(VIEWS), **attributes)
    _ready(db)
    assert _route(db, files, [_mammography()]) == 1
    given = {each.role: each for each in _only_job(db).inputs}
    assert list(given) == list(VIEWS)
    count = len({each.series_instance_uid for each in given.values()})
    assert count == (1 if attributes else 4)


def test_a_study_without_one_of_the_views_is_refused_by_that_code(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_views(db, files, tmp_path, ["rcc", "lcc", "rmlo"])
    _ready(db)
    assert _route(db, files, [_pipeline(), _mammography("stacked")]) == 0
    job = _only_job(db)
    assert (job.state, job.reason_code) == (JobState.REFUSED, "missing_view")
    assert "3 of 4 views are there once; not lmlo" in job.reason_text
