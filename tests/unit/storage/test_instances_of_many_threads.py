"""Instances that many threads record at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from storage.database import Database
from storage.dicom_records import (
    StoreOutcome,
)
from storage.errors import IdentityConflict
from storage.instances import record_instance
from storage.studies import get_study, series_of_study
from tests.unit.storage.samples import (
    STUDY,
    incoming,
)


def test_many_threads_record_one_study_without_losing_an_instance(db: Database) -> None:
    sent = [incoming(number // 2) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda one: record_instance(db, one), sent))
    assert outcomes.count(StoreOutcome.STORED) == 20
    assert outcomes.count(StoreOutcome.DUPLICATE) == 20
    (series,) = series_of_study(db, STUDY)
    assert series.instance_count == 20
    assert get_study(db, STUDY).generation == 1


def test_threads_that_contradict_each_other_never_both_win(db: Database) -> None:
    """One series under two studies at the same time: whoever comes first decides."""

    def send(study: str) -> bool:
        try:
            record_instance(db, incoming(1, study=study, series="1.2.8"))
        except IdentityConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(send, ["1.2.8.1", "1.2.8.2"] * 8))
    assert len({study for study, has_won in zip(["a", "b"] * 8, won, strict=True) if has_won}) == 1
