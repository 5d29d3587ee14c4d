"""Which studies are not done with: something of them waits, or a person has to see to it.

A person has to see to a failed job, a dead delivery, and a report that was told under another
patient or order than the PACS lists the study under by now; not to what newer work has replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sqlalchemy import Select, Text, cast, or_, select
from sqlalchemy.orm import Session

from storage.delivery_state import UNSETTLED
from storage.dicom_records import StudyState
from storage.dicom_tables import Study
from storage.identity import IDENTITY_KEY, outdated_keywords, told_identity
from storage.job_tables import Delivery, Job
from storage.overview_rows import DeliveryRow, JobRow, StudyRow
from storage.records import DeliveryState, DestinationKind, JobState, Purpose

_TOLD: Final = (DeliveryState.SENT, DeliveryState.CONFIRMED)
_WAITING_STUDIES: Final = (StudyState.RECEIVING, StudyState.READY)
_WAITING_JOBS: Final = (JobState.QUEUED, JobState.RUNNING)


def is_unfinished(study: StudyRow) -> bool:
    """Whether something of a study waits, or a person has to see to it."""
    if study.state in _WAITING_STUDIES:
        return True
    return any(_is_unfinished_job(job, _is_replaced(job, study.jobs)) for job in study.jobs)


def _is_unfinished_job(job: JobRow, is_replaced: bool) -> bool:
    if job.state in _WAITING_JOBS or (job.state is JobState.FAILED and not is_replaced):
        return True
    return any(_is_unfinished_delivery(one, is_replaced) for one in job.deliveries)


def _is_unfinished_delivery(delivery: DeliveryRow, is_replaced: bool) -> bool:
    if delivery.state in UNSETTLED:
        return True
    if delivery.state is DeliveryState.DEAD:
        # What is replaced need not be sent; but what was told of it is still to be withdrawn.
        return delivery.purpose is Purpose.WITHDRAW or not is_replaced
    return bool(delivery.outdated) and not is_replaced


def _is_replaced(job: JobRow, jobs: Iterable[JobRow]) -> bool:
    """Whether newer work stands for it, as `storage.job_queue.has_newer` has it."""
    return job.state is JobState.SUPERSEDED or any(_is_newer(other, job) for other in jobs)


def _is_newer(other: JobRow, job: JobRow) -> bool:
    is_later = other.pipeline_name == job.pipeline_name and other.job_id > job.job_id
    return other.generation > job.generation or (other.generation == job.generation and is_later)


def maybe_unfinished(session: Session) -> set[str]:
    """Study Instance UIDs of all that `is_unfinished`, and of some that are not: found quickly."""
    states = DeliveryState.DEAD, *UNSETTLED
    jobs = select(Job.study_instance_uid)
    statements: tuple[Select[str], ...] = (
        select(Study.study_instance_uid).where(Study.state.in_(_WAITING_STUDIES)),
        jobs.where(Job.state.in_((JobState.FAILED, *_WAITING_JOBS))),
        jobs.join(Delivery, Delivery.job_id == Job.id).where(Delivery.state.in_(states)),
    )
    found = {uid for statement in statements for uid in session.scalars(statement)}
    return found.union(_with_outdated_reports(session))


def _with_outdated_reports(session: Session) -> Iterator[str]:
    statement = (
        select(Study.study_instance_uid, Study.listed_identity, Delivery)
        .join(Job, Job.study_instance_uid == Study.study_instance_uid)
        .join(Delivery, Delivery.job_id == Job.id)
        .where(
            Delivery.state.in_(_TOLD),
            Delivery.kind != DestinationKind.DICOM,
            or_(
                Study.listed_identity.is_not(None),
                cast(Delivery.receipt, Text).contains(f'"{IDENTITY_KEY}"'),
            ),
        )
    )
    for uid, listed, delivery in session.execute(statement):
        if outdated(delivery, listed or {}):
            yield uid


def outdated(delivery: Delivery, listed: Mapping[str, str]) -> tuple[str, ...]:
    """By keyword, what a report was told under that the PACS lists the study otherwise by now."""
    is_told = delivery.state in _TOLD and delivery.purpose is Purpose.TELL
    if not is_told or delivery.kind is DestinationKind.DICOM:
        return ()
    return outdated_keywords(told_identity(delivery.receipt), listed)
