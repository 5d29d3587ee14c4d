"""What a process knows of the series that it receives: the short way for the common instance.

A new instance of a study that is being received needs two statements: one notes at the study that
something came, one adds the row; a third adds the series where that is new. Of a study that nobody
knows, the first adds the study. They say what they take for granted (the study's state, generation
and patient, or that it is new; that the series belongs to it, or is new; that the instance is none
of our results), so the database decides, not the memory: if anything is otherwise, nothing is
recorded this way, and `storage.instances` takes the long way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

from storage.database import Database, DriverTransaction
from storage.dicom_records import IncomingInstance, SeriesHeader, StudyHeader, StudyState
from storage.dicom_tables import Series, Study
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.short_statements import ADD, ADD_SERIES, ADD_STUDY, LINK, LINK_NAMES, TOUCH
from storage.study_rows import (
    first_columns,
    instance_columns,
    is_same_patient,
    series_columns,
    study_columns,
)

MOST_KNOWN = 4096
T = TypeVar("T")

_study_uid = attrgetter("study.study_instance_uid")
_series_uid = attrgetter("series.series_instance_uid")


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
    """A series; `agreed` are the headers that agreed last: slice after slice has the very same.

    Its study is the one that was first received then: it may be deleted, and come again.
    """

    study_instance_uid: str
    first_received_at: datetime
    empty: frozenset[str]
    agreed: tuple[_KnownStudy, StudyHeader, SeriesHeader] | None = None

    def agrees(self, study: _KnownStudy, incoming: IncomingInstance) -> bool:
        """Whether the instance says nothing new and nothing else about study and series."""
        if self.agreed is not None:
            agreed, of_study, of_series = self.agreed
            if agreed is study and of_study is incoming.study and of_series is incoming.series:
                return True
        is_of_study = incoming.study.study_instance_uid == self.study_instance_uid
        is_as_then = study.first_received_at == self.first_received_at
        if not is_of_study or not is_as_then or not study.agrees(incoming.study):
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
        self._not_new: OrderedDict[str, None] = OrderedDict()

    def learn(self, study: Study, series: Series, incoming: IncomingInstance) -> None:
        """Remember rows that are committed; the study is being received."""
        uid = study.study_instance_uid
        before = self._studies.get(uid)
        linked = set() if incoming.association_id is None else {incoming.association_id}
        if before is not None and before.first_received_at == study.first_received_at:
            linked |= before.associations
        columns = {name: getattr(study, name) for name in study_columns(incoming.study)}
        known = _known_study(columns, study.generation, study.first_received_at, linked)
        _remember(self._studies, uid, known)
        columns = {name: getattr(series, name) for name in series_columns(incoming.series)}
        self._know(series.series_instance_uid, uid, columns)

    def may_begin(self, incoming: IncomingInstance) -> bool:
        """Whether the short way may be tried for the first instance of a study."""
        uid = incoming.study.study_instance_uid
        return uid not in self._studies and uid not in self._not_new and _is_usual(incoming)

    def covers(self, incoming: IncomingInstance) -> bool:
        """Whether the short way may be tried for an instance of a study that is being received."""
        if not _is_usual(incoming):
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
        """Record instances that are covered or may begin, all new; False: nothing is recorded.

        Raises:
            StorageError: nothing was recorded.
        """
        try:
            first = _new(batch, self._studies, _study_uid, attrgetter("study"))
            new = _new(batch, self._series, _series_uid, attrgetter("series"))
            with db.drive() as driver:
                _add_studies(driver, first, batch)
                self._record(driver, batch, new)
        except _NotAsKnown:
            self.forget(batch)
            return False
        for one in first:
            known = _known_study(study_columns(one.study), 1, one.received_at, set())
            _remember(self._studies, one.study.study_instance_uid, known)
        for one in new:
            study_uid = one.study.study_instance_uid
            self._know(one.series.series_instance_uid, study_uid, series_columns(one.series))
        for incoming in batch:
            if incoming.association_id is not None:
                self._of(incoming).associations.add(incoming.association_id)
        return True

    def forget(self, batch: Sequence[IncomingInstance]) -> None:
        """Take nothing for granted about series and studies of these instances any more."""
        for incoming in batch:
            self._series.pop(incoming.series.series_instance_uid, None)
            uid = incoming.study.study_instance_uid
            self._studies.pop(uid, None)
            _remember(self._not_new, uid, None)

    def _know(self, series_uid: str, study_uid: str, columns: Mapping[str, Any]) -> None:
        first_received_at = self._studies[study_uid].first_received_at
        known = _KnownSeries(study_uid, first_received_at, _empty(columns))
        _remember(self._series, series_uid, known)

    def _tied(self, incoming: IncomingInstance) -> Collection[int]:
        known = self._studies.get(incoming.study.study_instance_uid)
        return () if known is None else known.associations

    def _of(self, incoming: IncomingInstance) -> _KnownStudy:
        return self._studies[incoming.study.study_instance_uid]

    def _record(
        self,
        driver: DriverTransaction,
        batch: Sequence[IncomingInstance],
        new: Sequence[IncomingInstance],
    ) -> None:
        # Studies first and in order: transactions side by side then never wait in a circle.
        studies = {one.study.study_instance_uid: one for one in batch}
        for uid in sorted(studies.keys() & self._studies.keys()):
            if TOUCH.run(driver, [self._touched(studies[uid])]) != 1:
                raise _NotAsKnown
        if new and ADD_SERIES.run(driver, [_series_row(one) for one in new]) != len(new):
            raise _NotAsKnown
        rows = [_row(one) for one in sorted(batch, key=attrgetter("sop_instance_uid"))]
        if ADD.run(driver, rows) != len(rows):
            raise _NotAsKnown
        links = {
            (one.association_id, one.study.study_instance_uid)
            for one in batch
            if one.association_id not in {None, *self._tied(one)}
        }
        if links:
            LINK.run(driver, [dict(zip(LINK_NAMES, link, strict=True)) for link in links])

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


def _is_usual(incoming: IncomingInstance) -> bool:
    return not incoming.is_own_result and incoming.sop_class_uid != KEY_OBJECT_SELECTION


def _known_study(
    columns: Mapping[str, Any], generation: int, first_received_at: datetime, linked: set[int]
) -> _KnownStudy:
    return _KnownStudy(
        generation=generation,
        patient_id=columns["patient_id"],
        issuer_of_patient_id=columns["issuer_of_patient_id"],
        first_received_at=first_received_at,
        empty=_empty(columns),
        associations=linked,
    )


def _new(
    batch: Sequence[IncomingInstance],
    known: Container[str],
    uid_of: Callable[[IncomingInstance], str],
    header_of: Callable[[IncomingInstance], StudyHeader | SeriesHeader],
) -> list[IncomingInstance]:
    """Return the first instance of each that is not known; the others of it must say the same."""
    new: dict[str, IncomingInstance] = {}
    for one in batch:
        uid = uid_of(one)
        if uid not in known and header_of(new.setdefault(uid, one)) != header_of(one):
            raise _NotAsKnown
    return [new[uid] for uid in sorted(new)]


def _add_studies(
    driver: DriverTransaction,
    new: Sequence[IncomingInstance],
    batch: Sequence[IncomingInstance],
) -> None:
    last = {_study_uid(one): {"last_received_at": one.received_at} for one in batch}
    rows = [first_columns(one, StudyState.RECEIVING, 1) | last[_study_uid(one)] for one in new]
    if ADD_STUDY.run(driver, rows) != len(rows):
        raise _NotAsKnown


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
