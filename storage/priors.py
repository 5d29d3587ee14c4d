"""Earlier results of the same patient by the same pipeline, as a job sees them.

A job keeps those that it saw first: however often it runs or is told, the trend is the same.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_tables import Study
from storage.job_reads import found_job, measurements_of
from storage.job_tables import Job
from storage.prior_records import PriorMeasurement, PriorResult
from storage.records import JobState, MeasurementRecord
from storage.studies import found_study

MOST_PRIORS = 8
_DATE_DIGITS = 8


def priors_for(db: Database, job_id: int) -> tuple[PriorResult, ...]:
    """The latest earlier studies' results, oldest first; looked up once, and kept with the job.

    The patient is the same by Patient ID and issuer, and no birth date contradicts that; without
    a Patient ID or a Study Date there are none. Superseded results do not count.

    Raises:
        NotFound: there is no such job.
    """
    with db.begin() as session:
        job = found_job(session, job_id)
        if job.priors is None:
            found = _found(session, job)
            kept = [prior.to_json() for prior in found]
            session.execute(update(Job).where(Job.id == job_id).values(priors=kept))
            return found
        return tuple(map(PriorResult.from_json, job.priors))


def _found(session: Session, job: Job) -> tuple[PriorResult, ...]:
    study = found_study(session, job.study_instance_uid)
    if not study.patient_id.strip() or not _is_date(study.study_date):
        return ()
    earlier = (
        select(Job, Study.study_date)
        .join(Study, Study.study_instance_uid == Job.study_instance_uid)
        .where(
            Job.state == JobState.SUCCEEDED,
            Job.pipeline_name == job.pipeline_name,
            Study.study_instance_uid != study.study_instance_uid,
            Study.study_date < study.study_date,
            _is_same_patient(study),
        )
        .order_by(Study.study_date.desc(), Study.study_instance_uid, Job.id.desc())
    )
    newest: dict[str, PriorResult] = {}
    for other, study_date in session.execute(earlier):
        if _is_date(study_date) and other.study_instance_uid not in newest:
            newest[other.study_instance_uid] = _prior(session, other, study_date)
        if len(newest) == MOST_PRIORS:
            break
    return tuple(reversed(newest.values()))


def _is_same_patient(study: Study) -> ColumnElement[bool]:
    same = and_(
        Study.patient_id == study.patient_id,
        Study.issuer_of_patient_id == study.issuer_of_patient_id,
    )
    if not study.birth_date:
        return same
    return and_(same, or_(Study.birth_date == study.birth_date, Study.birth_date == ""))


def _prior(session: Session, job: Job, study_date: str) -> PriorResult:
    measured = tuple(map(_measurement, measurements_of(session, job.id)))
    return PriorResult(study_date, str((job.algorithm or {}).get("version", "")), measured)


def _measurement(record: MeasurementRecord) -> PriorMeasurement:
    return PriorMeasurement(
        record.tracking_identifier, record.quantity, record.unit, record.value, record.is_present
    )


def _is_date(text: str) -> bool:
    return len(text) == _DATE_DIGITS and text.isdigit()
