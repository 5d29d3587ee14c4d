"""The first instance of a study: a row of its own, at the price of a statement more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

import storage.instances
from storage.associations import open_association
from storage.database import Database
from storage.dicom_records import CodedConcept, IncomingInstance, StoreOutcome
from storage.errors import IdentityConflict
from storage.instances import record_instance, record_instances
from storage.known_series import KnownSeries
from storage.studies import get_study
from tests.unit.storage.samples import NOW, PATIENT, STUDY, after, incoming, make_ready

_CODE = CodedConcept("24627-2", "LN", "CT chest")


def _rows(db: Database, study: str) -> list[dict[str, Any]]:
    """Every column of what belongs to a study, as the database has it."""
    of_study = f"WHERE study_instance_uid LIKE '{study}%'"
    series = f"WHERE series_instance_uid LIKE '{study}%'"
    with db.read() as session:
        return [
            {name: str(value).replace(study, "") for name, value in row.items()}
            for query in (
                f"SELECT * FROM study {of_study}",
                f"SELECT * FROM series {of_study}",
                f"SELECT * FROM instance {series}",
                f"SELECT * FROM association_study {of_study}",
            )
            for row in session.execute(text(query)).mappings()
        ]


def _told_in_full(study: str) -> IncomingInstance:
    one = incoming(study=study, series=f"{study}.7", patient=replace(PATIENT, patient_name="\0É"))
    header = replace(one.study, procedure_code=_CODE, study_description="a\0b")
    return one._replace(study=header, dataset_digest="xxh3:" + "ab" * 16, path=f"{study}.7")


def _told_little(study: str) -> IncomingInstance:
    one = incoming(study=study, series=f"{study}.7")
    header = replace(one.series, series_number=None, series_description="")
    return one._replace(series=header, dataset_digest="xxh3:" + "cd" * 16, path=f"{study}.7")


@pytest.mark.parametrize("made", [_told_in_full, _told_little])
def test_both_ways_make_the_same_rows(
    db: Database, monkeypatch: pytest.MonkeyPatch, made: Any
) -> None:
    titles = {"calling_ae_title": "PACS", "called_ae_title": "RADNODE", "address": ""}
    association = open_association(db, **titles, now=NOW)
    one, twin = (made(uid)._replace(association_id=association) for uid in ("1.2.71", "1.2.72"))
    assert record_instance(db, one) is StoreOutcome.STORED
    monkeypatch.setattr(storage.instances, "_together", None)
    assert record_instances(db, [twin], KnownSeries()) == [StoreOutcome.STORED]
    assert _rows(db, "1.2.72") == _rows(db, "1.2.71")
    assert len(_rows(db, "1.2.72")) == 4


def test_two_series_of_a_new_study_come_at_once(db: Database) -> None:
    known = KnownSeries()
    batch = [incoming(1), incoming(2, series="1.2.3.1.2"), incoming(3, received_at=after(2))]
    assert record_instances(db, batch, known) == [StoreOutcome.STORED] * 3
    study = get_study(db, STUDY)
    assert (study.first_received_at, study.last_received_at) == (NOW, after(2))
    assert record_instances(db, [incoming(4)], known) == [StoreOutcome.STORED]
    assert get_study(db, STUDY).generation == 1


def test_a_study_that_another_process_has_made_is_opened_again(db: Database) -> None:
    record_instance(db, incoming(1))
    make_ready(db)
    again = incoming(2, received_at=after(5))
    assert record_instances(db, [again], KnownSeries()) == [StoreOutcome.STORED]
    assert get_study(db, STUDY).generation == 2


def test_a_study_that_is_not_new_sends_nobody_else_the_long_way(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_instance(db, incoming(1))
    known = KnownSeries()
    elsewhere = [incoming(n, study="1.2.8", series="1.2.8.1") for n in (1, 2)]
    record_instances(db, elsewhere[:1], known)
    went: list[int] = []
    together = storage.instances._together

    def watched(db: Database, batch: Any, *rest: Any) -> Any:
        went.append(len(batch))
        return together(db, batch, *rest)

    monkeypatch.setattr(storage.instances, "_together", watched)
    batch = [elsewhere[1], incoming(2)]
    assert record_instances(db, batch, known) == [StoreOutcome.STORED] * 2
    assert went == [1]


def test_what_comes_again_is_tried_as_new_only_once(db: Database) -> None:
    record_instance(db, incoming(1))
    known = KnownSeries()
    assert known.may_begin(incoming(1))
    assert record_instances(db, [incoming(1)], known) == [StoreOutcome.DUPLICATE]
    assert not known.may_begin(incoming(1))


def test_another_patient_of_a_known_study_is_told(db: Database) -> None:
    record_instance(db, incoming(1))
    stranger = incoming(2, patient=replace(PATIENT, patient_id="PID-2"))
    (result,) = record_instances(db, [stranger], KnownSeries())
    assert isinstance(result, IdentityConflict)


def test_two_patients_of_one_new_study_do_not_both_get_in(db: Database) -> None:
    batch = [incoming(1), incoming(2, patient=replace(PATIENT, patient_id="PID-2"))]
    first, second = record_instances(db, batch, KnownSeries())
    assert first is StoreOutcome.STORED
    assert isinstance(second, IdentityConflict)


def test_our_own_results_begin_no_study(db: Database) -> None:
    known = KnownSeries()
    assert not known.may_begin(incoming(1, is_own_result=True))
    assert record_instances(db, [incoming(1, is_own_result=True)], known) == [
        StoreOutcome.OWN_RESULT
    ]
