"""What a process knows of the series that it receives: the short way for the common instance.

A new instance of a known series of a study that is being received needs two statements: one notes
at the study that something came, one adds the row. Both say what they take for granted (the
study's state, generation and patient; that the series belongs to it; that the instance is none of
our results), so the database decides, not the memory: if anything is otherwise, nothing is
recorded this way, and `storage.instances` takes the long way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from storage.database import Database, DriverTransaction
from storage.dicom_records import IncomingInstance, SeriesHeader, StudyHeader, StudyState
from storage.dicom_tables import AssociationStudy, Instance, Series, Study
from storage.job_tables import ResultObjectRow
from storage.prepared import Prepared
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.study_rows import (
    instance_columns,
    is_same_patient,
    series_columns,
    study_columns,
)

MOST_KNOWN = 4096


class _NotAsKnown(Exception):
    """The database has it otherwise; the transaction is undone."""


@dataclass(slots=True)
class _Known:
    """A series and its study as their rows were after the last commit of ours.

    `agreed` are the headers that agreed last: slice after slice has the very same ones.
    """

    study_instance_uid: str
    generation: int
    patient_id: str
    issuer_of_patient_id: str
    first_received_at: datetime
    empty: frozenset[str]
    associations: set[int] = field(default_factory=set)
    agreed: tuple[StudyHeader, SeriesHeader] | None = None

    def agrees(self, incoming: IncomingInstance) -> bool:
        """Whether the instance says nothing new and nothing else about study and series."""
        if self.agreed is not None:
            study, series = self.agreed
            if study is incoming.study and series is incoming.series:
                return True
        if not _agrees(self, incoming):
            return False
        self.agreed = incoming.study, incoming.series
        return True


class KnownSeries:
    """The series that one process receives; changed by one thread at a time, `expects` by any."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def learn(self, study: Study, series: Series, incoming: IncomingInstance) -> None:
        """Remember rows that are committed; the study is being received."""
        linked = set() if incoming.association_id is None else {incoming.association_id}
        self._known[series.series_instance_uid] = _Known(
            study_instance_uid=study.study_instance_uid,
            generation=study.generation,
            patient_id=study.patient_id,
            issuer_of_patient_id=study.issuer_of_patient_id,
            first_received_at=study.first_received_at,
            empty=_empty(study, study_columns(incoming.study))
            | _empty(series, series_columns(incoming.series)),
            associations=linked,
        )
        self._known.move_to_end(series.series_instance_uid)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def covers(self, incoming: IncomingInstance) -> bool:
        """Whether the short way may be tried."""
        known = self._known.get(incoming.series.series_instance_uid)
        if known is None or incoming.is_own_result:
            return False
        return incoming.sop_class_uid != KEY_OBJECT_SELECTION and known.agrees(incoming)

    def expects(self, incoming: IncomingInstance) -> bool:
        """Whether its association has brought some of the study, and the short way may be tried."""
        known = self._known.get(incoming.series.series_instance_uid)
        linked = known is not None and incoming.association_id in known.associations
        return linked and self.covers(incoming)

    def record(self, db: Database, batch: Sequence[IncomingInstance]) -> bool:
        """Record instances that are covered, all new; False: nothing is recorded, go the long way.

        Raises:
            StorageError: nothing was recorded.
        """
        try:
            with db.drive() as driver:
                self._record(driver, batch)
        except _NotAsKnown:
            self.forget(batch)
            return False
        for incoming in batch:
            if incoming.association_id is not None:
                self._of(incoming).associations.add(incoming.association_id)
        return True

    def forget(self, batch: Sequence[IncomingInstance]) -> None:
        """Take nothing for granted about the series of these instances any more."""
        for incoming in batch:
            self._known.pop(incoming.series.series_instance_uid, None)

    def _of(self, incoming: IncomingInstance) -> _Known:
        return self._known[incoming.series.series_instance_uid]

    def _record(self, driver: DriverTransaction, batch: Sequence[IncomingInstance]) -> None:
        # Studies first and in order: transactions side by side then never wait in a circle.
        studies = {one.study.study_instance_uid: one for one in batch}
        for uid in sorted(studies):
            if _TOUCH.run(driver, [self._touched(studies[uid])]) != 1:
                raise _NotAsKnown
        rows = sorted((_row(one) for one in batch), key=lambda row: str(row["sop_instance_uid"]))
        if _ADD.run(driver, rows) != len(rows):
            raise _NotAsKnown
        links = {
            (one.association_id, one.study.study_instance_uid)
            for one in batch
            if one.association_id not in {None, *self._of(one).associations}
        }
        if links:
            _LINK.run(driver, [dict(zip(_LINK_NAMES, link, strict=True)) for link in links])

    def _touched(self, incoming: IncomingInstance) -> dict[str, Any]:
        known = self._of(incoming)
        return {
            "known_study": known.study_instance_uid,
            "known_generation": known.generation,
            "known_patient": known.patient_id,
            "known_issuer": known.issuer_of_patient_id,
            "known_first": known.first_received_at,
            "came_from": incoming.calling_ae_title,
            "came_at": incoming.received_at,
            "came_later": incoming.received_at + timedelta(microseconds=1),
        }


def _empty(row: Study | Series, columns: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name in columns if getattr(row, name) in ("", None))


def _agrees(known: _Known, incoming: IncomingInstance) -> bool:
    columns = study_columns(incoming.study) | series_columns(incoming.series)
    return (
        incoming.study.study_instance_uid == known.study_instance_uid
        and is_same_patient(known, incoming.study.patient)
        and all(columns[name] in ("", None) for name in known.empty)
    )


def _row(incoming: IncomingInstance) -> dict[str, Any]:
    return instance_columns(incoming) | {
        "sop_instance_uid": incoming.sop_instance_uid,
        "is_own_result": False,
        "of_study": incoming.study.study_instance_uid,
    }


def _insert(dialect: Dialect, table: type[Instance | AssociationStudy]) -> Any:
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
    values = {column.name: bindparam(column.name, type_=column.type) for column in table.columns}
    in_study = exists().where(
        Series.series_instance_uid == values["series_instance_uid"],
        Series.study_instance_uid == bindparam("of_study", type_=Series.study_instance_uid.type),
    )
    is_own = exists().where(ResultObjectRow.sop_instance_uid == values["sop_instance_uid"])
    row = select(*values.values()).where(in_study, ~is_own)
    return _insert(dialect, Instance).from_select(list(values), row).on_conflict_do_nothing()  # type: ignore[no-any-return]


_LINK_NAMES = ("link_association", "link_study")


def _link(dialect: Dialect) -> ClauseElement:
    values: dict[str, Any] = dict(
        zip(("association_id", "study_instance_uid"), map(bindparam, _LINK_NAMES), strict=True)
    )
    return _insert(dialect, AssociationStudy).values(values).on_conflict_do_nothing()  # type: ignore[no-any-return]


_TOUCH = Prepared(_touch)
_ADD = Prepared(_add)
_LINK = Prepared(_link)
