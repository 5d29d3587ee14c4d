"""Which inputs a job gets, of which digest, and what of several views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.registry import RegisteredPipeline
from storage import jobs
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.records import AlgorithmIdentity, JobState
from tests.integration.node_receive.mr_study import SERIES, STUDY, mr_instance
from tests.integration.node_receive.routed_studies import (
    a_pipeline,
    db,
    files,
    make_ready,
    only_job,
    receive,
    receive_study,
    route_all,
)
from tests.migrated_database import migrated_database
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.mammograms import VIEWS, classes, inputs, mammogram

__all__ = ["db", "files"]


def test_the_input_digest_follows_what_came_and_not_the_order(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    receive_study(db, files, tmp_path, slices=4)
    make_ready(db)
    route_all(db, files, [a_pipeline()])
    first = only_job(db)
    late = mr_instance(5)

    receive(db, files, late, tmp_path)
    make_ready(db)
    assert route_all(db, files, [a_pipeline()]) == 1

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
            receive(database, files, mr_instance(number), folder)
        make_ready(database)
        route_all(database, files, [a_pipeline()])
        digests.add(only_job(database).input_digest)
        database.close()

    assert len(digests) == 1


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
        receive(db, files, image, folder)


@pytest.mark.parametrize("attributes", [{}, {"SeriesInstanceUID": SERIES}], ids=["four", "one"])
def test_four_views_fill_four_inputs_from_four_series_or_from_one(
    db: Database, files: InstanceFiles, tmp_path: Path, attributes: dict[str, str]
) -> None:
    _receive_views(db, files, tmp_path, list(VIEWS), **attributes)
    make_ready(db)
    assert route_all(db, files, [_mammography()]) == 1
    given = {each.role: each for each in only_job(db).inputs}
    assert list(given) == list(VIEWS)
    count = len({each.series_instance_uid for each in given.values()})
    assert count == (1 if attributes else 4)


def test_a_study_without_one_of_the_views_is_refused_by_that_code(
    db: Database, files: InstanceFiles, tmp_path: Path
) -> None:
    _receive_views(db, files, tmp_path, ["rcc", "lcc", "rmlo"])
    make_ready(db)
    assert route_all(db, files, [a_pipeline(), _mammography("stacked")]) == 0
    job = only_job(db)
    assert (job.state, job.reason_code) == (JobState.REFUSED, "missing_view")
    assert "3 of 4 views are there once; not lmlo" in job.reason_text
