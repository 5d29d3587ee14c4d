"""What a process knows of the series that it receives: the short way for the common instance.

A new instance of a study that is being received needs two statements: one notes at the study that
something came, one adds the row; a third adds the series where that is new. They say what they
take for granted (the study's state, generation and patient; that the series belongs to it, or is
new; that the instance is none of our results), so the database decides, not the memory: if
anything is otherwise, nothing is recorded this way, and `storage.instances` takes the long way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

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
T = TypeVar("T")


class _NotAsKnown(Exception):
    """The database has it otherwise; the transaction is undone."""


@dataclass(frozen=True, slots=True)
class _KnownStudy:
    """A study as its row was after the last commit of ours, and the associations tied to it."""

    generation: int
    patient_id: str
    issuer_of_patient_id: str
    first_received_at: datetime
    empty: frozenset[str]
    associations: set[int]

    def agrees(self, header: StudyHeader) -> bool:
        """Whether a header says nothing new, and is of the same patient."""
        return is_same_patient(self, header.patient) and _fills_none(
            self.empty, study_columns(header)
        )


@dataclass(slots=True)
class _KnownSeries:
    """A series; `agreed` are the headers that agreed last: slice after slice has the very same."""

    study_instance_uid: str
    empty: frozenset[str]
    agreed: tuple[_KnownStudy, StudyHeader, SeriesHeader] | None = None

    def agrees(self, study: _KnownStudy, incoming: IncomingInstance) -> bool:
        """Whether the instance says nothing new and nothing else about study and series."""
        if self.agreed is not None:
            agreed, of_study, of_series = self.agreed
            if agreed is study and of_study is incoming.study and of_series is incoming.series:
                return True
        is_of_study = incoming.study.study_instance_uid == self.study_instance_uid
        if not is_of_study or not study.agrees(incoming.study):
            return False
        if not _fills_none(self.empty, series_columns(incoming.series)):
            return False
        self.agreed = study, incoming.study, incoming.series
        return True


class KnownSeries:
    """The series that one process receives; changed by one thread at a time, `expects` by any."""

    def __init__(self) -> None:
        self._series: OrderedDict[str, _KnownSeries] = OrderedDict()
        self._studies: OrderedDict[str, _KnownStudy] = OrderedDict()

    def learn(self, study: Study, series: Series, incoming: IncomingInstance) -> None:
        """Remember rows that are committed; the study is being received."""
        uid = study.study_instance_uid
        before = self._studies.get(uid)
        linked = set() if incoming.association_id is None else {incoming.association_id}
        if before is not None and before.first_received_at == study.first_received_at:
            linked |= before.associations
        known = _KnownStudy(
            generation=study.generation,
            patient_id=study.patient_id,
            issuer_of_patient_id=study.issuer_of_patient_id,
            first_received_at=study.first_received_at,
            empty=_empty({name: getattr(study, name) for name in study_columns(incoming.study)}),
            associations=linked,
        )
        _remember(self._studies, uid, known)
        columns = {name: getattr(series, name) for name in series_columns(incoming.series)}
        _remember(self._series, series.series_instance_uid, _KnownSeries(uid, _empty(columns)))

    def covers(self, incoming: IncomingInstance) -> bool:
        """Whether the short way may be tried."""
        if incoming.is_own_result or incoming.sop_class_uid == KEY_OBJECT_SELECTION:
            return False
        study = self._studies.get(incoming.study.study_instance_uid)
        if study is None:
            return False
        series = self._series.get(incoming.series.series_instance_uid)
        return study.agrees(incoming.study) if series is None else series.agrees(study, incoming)

    def expects(self, incoming: IncomingInstance) -> bool:
        """Whether its association has brought some of the study, and its series is known.

        Then the short way may be tried.
        """
        study = self._studies.get(incoming.study.study_instance_uid)
        if study is None or incoming.association_id not in study.associations:
            return False
        return incoming.series.series_instance_uid in self._series and self.covers(incoming)

    def record(self, db: Database, batch: Sequence[IncomingInstance]) -> bool:
        """Record instances that are covered, all new; False: nothing is recorded, go the long way.

        Raises:
            StorageError: nothing was recorded.
        """
        try:
            new = self._new_series(batch)
            with db.drive() as driver:
                self._record(driver, batch, new)
        except _NotAsKnown:
            self.forget(batch)
            return False
        for one in new:
            known = _KnownSeries(one.study.study_instance_uid, _empty(series_columns(one.series)))
            _remember(self._series, one.series.series_instance_uid, known)
        for incoming in batch:
            if incoming.association_id is not None:
                self._of(incoming).associations.add(incoming.association_id)
        return True

    def forget(self, batch: Sequence[IncomingInstance]) -> None:
        """Take nothing for granted about series and studies of these instances any more."""
        for incoming in batch:
            self._series.pop(incoming.series.series_instance_uid, None)
            self._studies.pop(incoming.study.study_instance_uid, None)

    def _of(self, incoming: IncomingInstance) -> _KnownStudy:
        return self._studies[incoming.study.study_instance_uid]

    def _new_series(self, batch: Sequence[IncomingInstance]) -> list[IncomingInstance]:
        """Return one instance of each series that is new; the others of it must say the same."""
        new: dict[str, IncomingInstance] = {}
        for one in batch:
            uid = one.series.series_instance_uid
            if uid not in self._series and new.setdefault(uid, one).series != one.series:
                raise _NotAsKnown
        return [new[uid] for uid in sorted(new)]

    def _record(
        self,
        driver: DriverTransaction,
        batch: Sequence[IncomingInstance],
        new: Sequence[IncomingInstance],
    ) -> None:
        # Studies first and in order: transactions side by side then never wait in a circle.
        studies = {one.study.study_instance_uid: one for one in batch}
        for uid in sorted(studies):
            if _TOUCH.run(driver, [self._touched(studies[uid])]) != 1:
                raise _NotAsKnown
        if new and _ADD_SERIES.run(driver, [_series_row(one) for one in new]) != len(new):
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
            "known_study": incoming.study.study_instance_uid,
            "known_generation": known.generation,
            "known_patient": known.patient_id,
            "known_issuer": known.issuer_of_patient_id,
            "known_first": known.first_received_at,
            "came_from": incoming.calling_ae_title,
            "came_at": incoming.received_at,
            "came_later": incoming.received_at + timedelta(microseconds=1),
        }


def _empty(columns: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name, value in columns.items() if value in ("", None))


def _fills_none(empty: frozenset[str], columns: Mapping[str, Any]) -> bool:
    return all(columns[name] in ("", None) for name in empty)


def _remember(known: OrderedDict[str, T], uid: str, what: T) -> None:
    known[uid] = what
    known.move_to_end(uid)
    if len(known) > MOST_KNOWN:
        known.popitem(last=False)


def _row(incoming: IncomingInstance) -> dict[str, Any]:
    return instance_columns(incoming) | {
        "sop_instance_uid": incoming.sop_instance_uid,
        "is_own_result": False,
        "of_study": incoming.study.study_instance_uid,
    }


def _series_row(incoming: IncomingInstance) -> dict[str, Any]:
    of_study = {"study_instance_uid": incoming.study.study_instance_uid}
    return series_columns(incoming.series) | of_study


def _insert(dialect: Dialect, table: type[Instance | Series | AssociationStudy]) -> Any:
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


def _add_series(dialect: Dialect) -> ClauseElement:
    table = Series.__table__
    values = {column.name: bindparam(column.name, type_=column.type) for column in table.columns}
    return _insert(dialect, Series).values(values).on_conflict_do_nothing()  # type: ignore[no-any-return]


_LINK_NAMES = ("link_association", "link_study")


def _link(dialect: Dialect) -> ClauseElement:
    values: dict[str, Any] = dict(
        zip(("association_id", "study_instance_uid"), map(bindparam, _LINK_NAMES), strict=True)
    )
    return _insert(dialect, AssociationStudy).values(values).on_conflict_do_nothing()  # type: ignore[no-any-return]


_TOUCH = Prepared(_touch)
_ADD_SERIES = Prepared(_add_series)
_ADD = Prepared(_add)
_LINK = Prepared(_link)
