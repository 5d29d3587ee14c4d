"""The statements of the short way (`storage.known_series`): what each takes for granted it says."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, case, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from storage.dicom_records import StudyState
from storage.dicom_tables import AssociationStudy, Instance, Series, Study
from storage.job_tables import ResultObjectRow
from storage.prepared import Prepared, bound
from storage.study_rows import GIVEN_AT_FIRST


def _insert(dialect: Dialect, table: type[Instance | Series | Study | AssociationStudy]) -> Any:
    return (postgresql if dialect.name == "postgresql" else sqlite).insert(table)


def _touch(_dialect: Dialect) -> ClauseElement:
    """Note that something came: at another time than the last, for `mark_ready` must see it."""
    came_at = bindparam("came_at", type_=Study.last_received_at.type)
    came_later = bindparam("came_later", type_=Study.last_received_at.type)
    return (
        update(Study)
        .where(
            Study.study_instance_uid == bindparam("known_study"),
            Study.state == StudyState.RECEIVING,
            Study.generation == bindparam("known_generation"),
            Study.patient_id == bindparam("known_patient"),
            Study.issuer_of_patient_id == bindparam("known_issuer"),
            Study.first_received_at == bindparam("known_first"),
        )
        .values(
            calling_ae_title=bindparam("came_from"),
            last_received_at=case((Study.last_received_at == came_at, came_later), else_=came_at),
        )
    )


def _add(dialect: Dialect) -> ClauseElement:
    table = Instance.__table__
    values = bound(table.columns)
    in_study = exists().where(
        Series.series_instance_uid == values["series_instance_uid"],
        Series.study_instance_uid == bindparam("of_study", type_=Series.study_instance_uid.type),
    )
    is_own = exists().where(ResultObjectRow.sop_instance_uid == values["sop_instance_uid"])
    row = select(*values.values()).where(in_study, ~is_own)
    return _insert(dialect, Instance).from_select(list(values), row).on_conflict_do_nothing()  # type: ignore[no-any-return]


def _add_study(dialect: Dialect) -> ClauseElement:
    values = bound(Study.__table__.columns[name] for name in GIVEN_AT_FIRST)
    return _insert(dialect, Study).values(values).on_conflict_do_nothing()  # type: ignore[no-any-return]


def _add_series(dialect: Dialect) -> ClauseElement:
    table = Series.__table__
    values = bound(table.columns)
    return _insert(dialect, Series).values(values).on_conflict_do_nothing()  # type: ignore[no-any-return]


LINK_NAMES = ("link_association", "link_study")


def _link(dialect: Dialect) -> ClauseElement:
    values: dict[str, Any] = dict(
        zip(("association_id", "study_instance_uid"), map(bindparam, LINK_NAMES), strict=True)
    )
    return _insert(dialect, AssociationStudy).values(values).on_conflict_do_nothing()  # type: ignore[no-any-return]


TOUCH = Prepared(_touch)
ADD_STUDY = Prepared(_add_study)
ADD_SERIES = Prepared(_add_series)
ADD = Prepared(_add)
LINK = Prepared(_link)
