"""Files of instances and results that nothing names, as a killed process leaves them.

A file below instances/ is named by the row of its instance, by a job that was pinned to it, or,
when a newer dataset has replaced it, by a `replaced_instance`; a receipt names it before its row is
written. What none of them names was never acknowledged; no later row or job can come to name it,
since a job takes its paths from rows. The same goes for quarantine/ and its rows. Such a file is an
orphan once it is too old to be still on its way into a row. A folder below results/ is an orphan
when its job has no row any more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy import exists, select

from storage.database import Database
from storage.dicom_tables import Instance, QuarantinedInstance, ReplacedInstance, Series, Study
from storage.durable import file_errors
from storage.instance_files import InstanceFiles
from storage.job_tables import Job
from storage.receipts import paths_in_receipts


def sweep_orphans(db: Database, files: InstanceFiles, *, older_than: datetime | None) -> int:
    """Delete the orphans that came before `older_than`; how many files.

    None, where no receiver runs: all of them. A database that knows no study at all is taken for
    the wrong one, not for a reason to empty the data directory: nothing is deleted then.

    Raises:
        DatabaseUnavailable: try again later. StorageError: a file could not be deleted.
    """
    if not _knows_a_study(db):
        return 0
    # Before the rows are looked at: a receipt goes only when the row is there.
    acknowledged = paths_in_receipts(files.data_dir)
    with file_errors():
        swept = sum(
            _sweep_study(db, files, folder, older_than, acknowledged)
            for folder in sorted((files.data_dir / "instances").iterdir())
        )
        return swept + _sweep_quarantine(db, files, older_than) + _sweep_results(db, files)


def _sweep_quarantine(db: Database, files: InstanceFiles, older_than: datetime | None) -> int:
    folder = files.data_dir / "quarantine"
    old = [path for path in _files_below(folder) if _is_older(path, older_than)]
    if not old:
        return 0
    with db.read() as session:
        named = set(session.scalars(select(QuarantinedInstance.path)))
    orphans = [path for path in old if path.relative_to(files.data_dir).as_posix() not in named]
    for path in orphans:
        path.unlink(missing_ok=True)
    return len(orphans)


def _sweep_results(db: Database, files: InstanceFiles) -> int:
    folders = [path for path in (files.data_dir / "results").glob("*") if path.name.isdecimal()]
    swept = 0
    for folder in folders:
        with db.read() as session:
            is_known = session.get(Job, int(folder.name)) is not None
        if not is_known:
            swept += sum(1 for _ in _files_below(folder))
            shutil.rmtree(folder)
    return swept


def _sweep_study(
    db: Database,
    files: InstanceFiles,
    folder: Path,
    older_than: datetime | None,
    acknowledged: frozenset[str],
) -> int:
    # Files first, then names: what gets its row in between is seen as named.
    old = [path for path in _files_below(folder) if _is_older(path, older_than)]
    named = acknowledged | _named(db, folder.name) if old else acknowledged
    orphans = [path for path in old if path.relative_to(files.data_dir).as_posix() not in named]
    for path in orphans:
        path.unlink(missing_ok=True)
    _remove_empty({path.parent for path in orphans})
    return len(orphans)


def _files_below(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder):
        yield from (Path(directory) / name for name in names)


def _is_older(path: Path, older_than: datetime | None) -> bool:
    if older_than is None:
        return True
    # The time of the rename to this place; a receiver may discard the file under our eyes.
    with suppress(FileNotFoundError):
        return path.stat().st_ctime < older_than.timestamp()
    return False


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        for one in (folder, folder.parent):
            with suppress(OSError):
                one.rmdir()


def _knows_a_study(db: Database) -> bool:
    with db.read() as session:
        return bool(session.scalar(select(exists().select_from(Study))))


def _named(db: Database, study_instance_uid: str) -> frozenset[str]:
    """Every path that an instance or a job of the study names."""
    rows = (
        select(Instance.path)
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Series.study_instance_uid == study_instance_uid)
    )
    replaced = select(ReplacedInstance.path).where(
        ReplacedInstance.study_instance_uid == study_instance_uid
    )
    pinned = select(Job.inputs).where(Job.study_instance_uid == study_instance_uid)
    with db.read() as session:
        paths = set(session.scalars(rows)) | set(session.scalars(replaced))
        for inputs in session.scalars(pinned):
            paths.update(one["path"] for given in inputs for one in given["instances"])
    return frozenset(paths)
