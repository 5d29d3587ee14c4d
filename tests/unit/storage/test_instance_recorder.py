from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import storage.instance_recorder
import storage.instances
from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import IdentityConflict, OutOfSpace, StorageError
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series, record_instance, record_instances
from storage.known_series import KnownSeries
from tests.unit.storage.kept_files import HEAD, kept
from tests.unit.storage.samples import PATIENT, SERIES, incoming


def test_one_that_contradicts_does_not_hold_its_neighbours(db: Database) -> None:
    record_instance(db, incoming(1))
    stranger = incoming(2, patient=replace(PATIENT, patient_id="PID-2"))
    nobody_s = incoming(5, association_id=4711)
    batch = [incoming(3), stranger, nobody_s, incoming(1), incoming(4)]
    first, second, third, fourth, fifth = record_instances(db, batch)
    assert (first, fourth, fifth) == (
        StoreOutcome.STORED,
        StoreOutcome.DUPLICATE,
        StoreOutcome.STORED,
    )
    assert isinstance(second, IdentityConflict)
    assert isinstance(third, StorageError)
    assert [one.instance_number for one in instances_of_series(db, SERIES)] == [1, 3, 4]


def test_threads_share_transactions_and_each_gets_its_own_outcome(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(
        db: Database,
        batch: list[IncomingInstance],
        known: KnownSeries,
        files: InstanceFiles,
    ) -> list[StoreOutcome | StorageError]:
        sizes.append(len(batch))
        return record_instances(db, batch, known, files)

    monkeypatch.setattr(storage.instance_recorder, "record_instances", counted)
    recorder = InstanceRecorder(db, files)
    sent = [kept(files, incoming(number // 2)) for number in range(60)]
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(recorder.record, one) for one in sent]
    outcomes = [call.result() for call in calls]
    assert outcomes.count(StoreOutcome.STORED) == 30
    assert outcomes.count(StoreOutcome.DUPLICATE) == 30
    assert sum(sizes) == 60
    assert max(sizes) > 1
    assert sum(1 for path in files.data_dir.rglob("*.dcm") if path.is_file()) == 30


def test_a_full_disk_gives_the_space_back_and_the_next_call_goes_on(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = InstanceRecorder(db, files)
    sent = kept(files, incoming(1))
    with monkeypatch.context() as patch:
        error = OutOfSpace("no space is left for files")
        patch.setattr(files, "sync_folders", lambda _places: (_ for _ in ()).throw(error))
        with pytest.raises(OutOfSpace):
            recorder.record(sent)
    assert not files.absolute(sent.path).exists()
    assert recorder.record(kept(files, incoming(1))) is StoreOutcome.STORED


def test_an_unexpected_error_reaches_every_caller_and_leaves_the_recorder_whole(
    db: Database, files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = InstanceRecorder(db, files)
    sent = kept(files, incoming(1))

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(storage.instance_recorder, "record_instances", fail)
        with pytest.raises((ZeroDivisionError, StorageError)):
            recorder.record(sent)
    assert recorder.record(kept(files, incoming(2))) is StoreOutcome.STORED
    recorder.settle()
    assert instances_of_series(db, SERIES)[0].instance_number == 2


def test_without_fsync_nothing_is_synced_and_all_iskept(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = InstanceFiles(tmp_path / "fast", durability="os")
    monkeypatch.setattr("os.fsync", lambda _descriptor: pytest.fail("synced"))
    sent = kept(files, incoming(1))
    assert InstanceRecorder(db, files).record(sent) is StoreOutcome.STORED
    assert files.absolute(sent.path).read_bytes().startswith(HEAD)
