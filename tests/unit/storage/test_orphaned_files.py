from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.job_inputs import InputInstance
from storage.orphaned_files import sweep_orphans
from tests.unit.storage.samples import SERIES, STUDY, incoming, make_job, new_job, receive


def _keep(files: InstanceFiles, number: int = 1, *, study: str = STUDY) -> str:
    with files.open_incoming() as part:
        part.write(b"x")
        series = f"{study}.1"
        return part.keep(study, series, f"{series}.{number}")


def _left(files: InstanceFiles) -> set[Path]:
    return {path for path in files.data_dir.rglob("*") if path.is_file()}


def test_a_file_without_a_row_goes_and_one_with_a_row_stays(
    db: Database, files: InstanceFiles
) -> None:
    named, _, of_no_study = _keep(files), _keep(files, 2), _keep(files, study="1.2.9")
    receive(db, incoming(1)._replace(path=named))
    assert sweep_orphans(db, files, older_than=None) == 2
    assert _left(files) == {files.absolute(named)}
    assert not files.absolute(of_no_study).parents[1].exists()


def test_our_own_result_that_came_back_stays(db: Database, files: InstanceFiles) -> None:
    own = _keep(files)
    receive(db, incoming(1, is_own_result=True)._replace(path=own))
    assert sweep_orphans(db, files, older_than=None) == 0
    assert files.absolute(own).exists()


def test_replaced_files_stay_whether_a_job_is_pinned_to_them_or_not(
    db: Database, files: InstanceFiles
) -> None:
    pinned, skipped, newest = _keep(files, 1), _keep(files, 2), _keep(files, 3)
    given = new_job().inputs[0]
    instance = InputInstance(f"{SERIES}.1", PurePosixPath(pinned), "cd" * 32)
    make_job(db, replace(new_job(), inputs=(replace(given, instances=(instance,)),)))
    for content, path in (("second", skipped), ("third", newest)):
        receive(db, incoming(1, content=content)._replace(path=path))
    assert sweep_orphans(db, files, older_than=None) == 0
    assert _left(files) == {files.absolute(path) for path in (pinned, skipped, newest)}


def test_a_file_that_may_still_be_on_its_way_into_a_row_stays(
    db: Database, files: InstanceFiles
) -> None:
    receive(db)
    path = files.absolute(_keep(files, 2))
    now = datetime.now(UTC)
    assert sweep_orphans(db, files, older_than=now - timedelta(hours=1)) == 0
    assert path.exists()
    assert sweep_orphans(db, files, older_than=now + timedelta(hours=1)) == 1
    assert not path.exists()


def test_a_database_that_knows_nothing_empties_no_data_directory(
    db: Database, files: InstanceFiles
) -> None:
    path = files.absolute(_keep(files))
    assert sweep_orphans(db, files, older_than=None) == 0
    assert path.exists()


def test_results_of_a_job_that_is_gone_go_and_those_of_a_known_job_stay(
    db: Database, files: InstanceFiles
) -> None:
    known = make_job(db)
    for job_id in (known, known + 1):
        (files.results_dir(job_id) / "seg.dcm").write_bytes(b"seg")
    assert sweep_orphans(db, files, older_than=None) == 1
    assert [path.parent.name for path in _left(files)] == [str(known)]
