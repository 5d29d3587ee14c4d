"""Studies that are being received, with all the evidence about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import StudyRecord, StudyState
from storage.dicom_tables import Association, AssociationStudy, Instance, Series, Study
from storage.evidence_records import NO_LISTS, ListEvidence
from storage.evidence_tables import Completion
from storage.instance_lists import list_evidence
from storage.study_rows import study_record


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """What is known about a study that is being received.

    `last_association_end` ("released", "aborted" or "lost") is of the association that ended
    last among those that touched the study; one that broke off counts until a later one was
    opened and released. `series_counts` maps Series Instance UIDs to
    numbers of instances, without our own results. `lists` is what lists of instances say.
    `is_resent`: since the study was last complete, an instance came with another content, and
    not all the others have come anew; then the presence of every instance proves nothing.
    """

    study: StudyRecord
    running_associations: int
    last_association_end: str | None
    last_association_ended_at: datetime | None
    series_counts: Mapping[str, int]
    lists: ListEvidence = NO_LISTS
    is_resent: bool = False


def open_studies(db: Database) -> tuple[StudyProgress, ...]:
    """Every study that is being received, with the evidence so far."""
    statement = select(Study).where(Study.state == StudyState.RECEIVING)
    with db.read() as session:
        rows = session.scalars(statement.order_by(Study.last_received_at)).all()
        return tuple(_progress(session, row) for row in rows)


class _Ended(NamedTuple):
    end: str
    ended_at: datetime


def _decisive(session: Session, study_uid: str) -> _Ended | None:
    """The association whose end counts: the last one, unless an earlier one broke off.

    What broke off counts until a sender has come back after it and was released: of several
    associations side by side, the clean end of one does not mend the abort of another. Some
    modalities open one for each image, so that the database looks through them.
    """
    ended = _of_study(Association.end, Association.ended_at, study_uid=study_uid)
    ended = ended.where(Association.ended_at.is_not(None))
    newest = ended.order_by(Association.ended_at.desc(), Association.id.desc()).limit(1)
    broke_off = Association.end != "released"
    numbers = func.max(Association.id), func.max(Association.ended_at)
    broken = _of_study(*numbers, study_uid=study_uid).where(broke_off)
    number, ended_at = session.execute(broken).one()
    if number is not None and not session.scalar(_came_back(study_uid, number, ended_at)):
        newest = newest.where(broke_off)
    last = session.execute(newest).one_or_none()
    return None if last is None else _Ended(*last)


def _came_back(study_uid: str, number: int, ended_at: datetime) -> Select[bool]:
    """Whether an association was opened after the end of those that broke off, and released.

    A clock that was set back makes earlier ones look later; their numbers it cannot change.
    """
    released = _of_study(Association.id, study_uid=study_uid).where(
        Association.end == "released",
        Association.id > number,
        Association.opened_at > ended_at,
    )
    return select(released.exists())


def _of_study(*columns: Any, study_uid: str) -> Select[Any]:
    joined = (
        select(*columns)
        .select_from(Association)
        .join(AssociationStudy, AssociationStudy.association_id == Association.id)
    )
    return joined.where(AssociationStudy.study_instance_uid == study_uid)


def _progress(session: Session, study: Study) -> StudyProgress:
    running = _of_study(func.count(), study_uid=study.study_instance_uid).where(
        Association.ended_at.is_(None)
    )
    last = _decisive(session, study.study_instance_uid)
    return StudyProgress(
        study=study_record(study),
        running_associations=session.scalar(running) or 0,
        last_association_end=last.end if last else None,
        last_association_ended_at=last.ended_at if last else None,
        series_counts=series_counts(session, study.study_instance_uid),
        lists=list_evidence(session, study.study_instance_uid),
        is_resent=_is_resent(session, study),
    )


def _is_resent(session: Session, study: Study) -> bool:
    """Counted, not timed: a clock that is set must not make old instances look new."""
    if not study.resent_count:
        return False
    former = session.scalar(
        select(Completion.instance_count)
        .where(Completion.study_instance_uid == study.study_instance_uid)
        .order_by(Completion.generation.desc())
        .limit(1)
    )
    return former is not None and study.resent_count < former


def series_counts(session: Session, study_instance_uid: str) -> dict[str, int]:
    """Numbers of instances by Series Instance UID, without our own results."""
    statement = (
        select(Instance.series_instance_uid, func.count())
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Series.study_instance_uid == study_instance_uid, Instance.is_own_result.is_(False))
        .group_by(Instance.series_instance_uid)
        .order_by(Instance.series_instance_uid)
    )
    return dict(session.execute(statement).all())
