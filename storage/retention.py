"""Old studies go: rows and files, once nothing is left to be done about them."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy import Select, delete, exists, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.delivery_state import UNSETTLED
from storage.dicom_records import StudyState
from storage.dicom_tables import Association, AssociationStudy, Study
from storage.durable import file_errors
from storage.instance_files import InstanceFiles, validated_uid
from storage.instance_lists import forget_lists
from storage.job_tables import Delivery, Job
from storage.records import JobState

SETTLED_STUDIES = (StudyState.ROUTED, StudyState.RESULTS_ONLY)
UNSETTLED_JOBS = (JobState.QUEUED, JobState.RUNNING)


def purge(db: Database, files: InstanceFiles, *, older_than: datetime) -> int:
    """Delete the studies that received nothing since `older_than`; how many studies.

    A study stays while it is being received or routed, a job of it is queued or running, or a
    delivery is pending or being sent. The audit trail has a retention of its own.
    """
    with db.read() as session:
        candidates = session.scalars(_settled(older_than)).all()
    purged = sum(_purge_study(db, files, uid, older_than) for uid in candidates)
    _forget_associations(db, older_than)
    return purged


def _settled(older_than: datetime) -> Select[str]:
    of_study = Job.study_instance_uid == Study.study_instance_uid
    delivering = exists().where(of_study, Delivery.job_id == Job.id, Delivery.state.in_(UNSETTLED))
    return (
        select(Study.study_instance_uid)
        .where(Study.last_received_at < older_than, Study.state.in_(SETTLED_STUDIES))
        .where(~exists().where(of_study, Job.state.in_(UNSETTLED_JOBS)), ~delivering)
        .order_by(Study.last_received_at)
    )


def _purge_study(db: Database, files: InstanceFiles, study_uid: str, older_than: datetime) -> bool:
    statement = _settled(older_than).where(Study.study_instance_uid == study_uid)
    with db.begin() as session:
        # Asked again under a lock: more may have come since the list was made.
        session.get(Study, study_uid, with_for_update=True)
        if session.scalar(statement) is None:
            return False
        job_ids = _delete_rows(session, study_uid)
    # After the commit: a row without its file would take an instance that is sent again for one
    # that replaces it. Files without a row are orphans, which a sweep of their own takes.
    with file_errors():
        _delete_files(files, study_uid, job_ids, older_than)
    return True


def _delete_rows(session: Session, study_uid: str) -> list[int]:
    jobs = select(Job.id).where(Job.study_instance_uid == study_uid)
    job_ids = list(session.scalars(jobs))
    # The rest goes with it: every foreign key that leads here deletes along.
    session.execute(delete(Study).where(Study.study_instance_uid == study_uid))
    return job_ids


def _delete_files(
    files: InstanceFiles, study_uid: str, job_ids: list[int], older_than: datetime
) -> None:
    for job_id in job_ids:
        shutil.rmtree(files.results_dir(job_id))
    _delete_old(files.absolute(f"instances/{validated_uid(study_uid)}"), older_than.timestamp())


def _delete_old(folder: Path, older_than_s: float) -> None:
    """Delete the old files below a folder; a new one is an instance that is just coming in."""
    for directory, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(directory) / name
            if path.stat().st_mtime < older_than_s:
                path.unlink()
        with suppress(OSError):
            Path(directory).rmdir()


def _forget_associations(db: Database, older_than: datetime) -> None:
    linked = exists().where(AssociationStudy.association_id == Association.id)
    statement = delete(Association).where(Association.ended_at < older_than, ~linked)
    with db.begin() as session:
        session.execute(statement, execution_options={"synchronize_session": False})
        forget_lists(session, older_than)
