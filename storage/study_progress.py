"""Studies that are being received, with all the evidence about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, case, func, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.dicom_records import StudyRecord, StudyState
from storage.dicom_tables import Association, AssociationStudy, Instance, Series, Study
from storage.evidence_records import NO_LISTS, ListEvidence
from storage.evidence_tables import Completion
from storage.instance_lists import has_lists, list_evidence
from storage.study_rows import study_record


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """What is known about a study that is being received.

    `last_association_end` ("released", "aborted" or "lost") is of the association that ended
    last among those that touched the study; one that broke off counts until a later one was
    opened and released. `series_counts` maps Series Instance UIDs to
    numbers of instances, without our own results; it is empty where nobody wants it. `lists` is
    what lists of instances say.
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


def open_studies(
    db: Database, wants_counts: Callable[[StudyRecord], bool] = lambda _: True
) -> tuple[StudyProgress, ...]:
    """Every study that is being received, with the evidence so far.

    Instances are counted where `wants_counts` says so: the more there are, the longer it takes.
    """
    with db.read() as session:
        found = [(row, study_record(row)) for row in session.scalars(_OPEN)]
        if not found:
            return ()
        wanted = [_uid(study) for _, study in found if wants_counts(study)]
        counts = _series_counts(session, wanted) if wanted else {}
        seen = _Seen(_associations(session), counts, has_lists(session))
        return tuple(_progress(session, row, study, seen) for row, study in found)


class _Ended(NamedTuple):
    end: str
    ended_at: datetime


class _Associations(NamedTuple):
    """Those of one study: how many run, the last end, the last number and end that broke off."""

    running: int = 0
    ended_at: datetime | None = None
    broken_number: int | None = None
    broken_at: datetime | None = None


class _Seen(NamedTuple):
    """What one statement finds for all open studies, by Study Instance UID: there may be many."""

    associations: Mapping[str, _Associations]
    series_counts: Mapping[str, Mapping[str, int]]
    has_lists: bool


_IS_OPEN = Study.state == StudyState.RECEIVING
_BROKE_OFF = Association.end != "released"

# Put together once, as the two below: they are asked several times a second.
_OPEN = select(Study).where(_IS_OPEN).order_by(Study.last_received_at)
_ASSOCIATIONS = (
    select(
        AssociationStudy.study_instance_uid,
        func.count(case((Association.ended_at.is_(None), 1))),
        func.max(Association.ended_at),
        func.max(case((_BROKE_OFF, Association.id))),
        func.max(case((_BROKE_OFF, Association.ended_at))),
    )
    .select_from(Association)
    .join(AssociationStudy, AssociationStudy.association_id == Association.id)
    .join(Study, Study.study_instance_uid == AssociationStudy.study_instance_uid)
    .where(_IS_OPEN)
    .group_by(AssociationStudy.study_instance_uid)
)


def _associations(session: Session) -> dict[str, _Associations]:
    """Some modalities open one for each image, so that the database looks through them."""
    return {uid: _Associations(*found) for uid, *found in session.execute(_ASSOCIATIONS)}


def _decisive(session: Session, study_uid: str, seen: _Associations) -> _Ended | None:
    """The association whose end counts: the last one, unless an earlier one broke off.

    What broke off counts until a sender has come back after it and was released: of several
    associations side by side, the clean end of one does not mend the abort of another.
    """
    number, broken_at = seen.broken_number, seen.broken_at
    if number is None or broken_at is None:
        return None if seen.ended_at is None else _Ended("released", seen.ended_at)
    newest = (
        _of_study(Association.end, Association.ended_at, study_uid=study_uid)
        .where(Association.ended_at.is_not(None))
        .order_by(Association.ended_at.desc(), Association.id.desc())
        .limit(1)
    )
    if not session.scalar(_came_back(study_uid, number, broken_at)):
        newest = newest.where(_BROKE_OFF)
    return _Ended(*session.execute(newest).one())


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


def _uid(study: StudyRecord) -> str:
    return study.header.study_instance_uid


def _progress(session: Session, row: Study, study: StudyRecord, seen: _Seen) -> StudyProgress:
    uid = _uid(study)
    associations = seen.associations.get(uid, _Associations())
    last = _decisive(session, uid, associations)
    return StudyProgress(
        study=study,
        running_associations=associations.running,
        last_association_end=last.end if last else None,
        last_association_ended_at=last.ended_at if last else None,
        series_counts=seen.series_counts.get(uid, {}),
        lists=list_evidence(session, uid) if seen.has_lists else NO_LISTS,
        is_resent=_is_resent(session, row),
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
    statement = _counted(Instance.series_instance_uid).where(
        Series.study_instance_uid == study_instance_uid
    )
    return dict(session.execute(statement).all())


def _series_counts(session: Session, study_uids: Sequence[str]) -> dict[str, dict[str, int]]:
    """The same of several studies, by Study Instance UID."""
    counts: dict[str, dict[str, int]] = {}
    for study_uid, series_uid, count in session.execute(_SERIES_COUNTS, {"wanted": study_uids}):
        counts.setdefault(study_uid, {})[series_uid] = count
    return counts


def _counted(*by: Any) -> Select[Any]:
    counted: Select[Any] = select(*by, func.count())
    joined = counted.join(Series, Series.series_instance_uid == Instance.series_instance_uid)
    return joined.where(Instance.is_own_result.is_(False)).group_by(*by).order_by(*by)


_SERIES_COUNTS = _counted(Series.study_instance_uid, Instance.series_instance_uid).where(
    Series.study_instance_uid.in_(bindparam("wanted", expanding=True))
)
