from __future__ import annotations

import re
import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from node.receive.file_meta import file_head
from storage.database import Database
from storage.dataset_digest import DatasetDigest, dataset_digest, former_digest, is_former
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import Quarantined, StorageError
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series, record_instance
from storage.quarantine import quarantine_count
from storage.rejection_notes import unsettled_notes
from storage.rejection_records import KEY_OBJECT_SELECTION
from storage.studies import get_study
from tests.unit.storage.samples import PATIENT, SERIES, STUDY, digest_of, incoming, make_ready

HEAD = file_head(MRImageStorage.encode(), b"1.2.3.4", ExplicitVRLittleEndian)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_a_digest_does_not_hang_on_the_fragments(fragments: list[bytes]) -> None:
    digest = DatasetDigest()
    for fragment in fragments:
        digest.take(memoryview(fragment))

    assert digest.text() == digest_of(b"".join(fragments))
    assert not is_former(digest.text())
    assert re.fullmatch("blake3:[0-9a-f]{64}", digest.text())


def test_another_bit_is_another_digest() -> None:
    assert digest_of(b"\0") != digest_of(b"\1") != digest_of(b"") != digest_of(b"\0")


def test_a_digest_of_an_earlier_version_is_known_as_one() -> None:
    assert is_former(sha256(b"x").hexdigest())


@given(st.binary(max_size=5000))
def test_the_digests_of_a_file_are_of_the_data_set_behind_its_head(data_set: bytes) -> None:
    with NamedTemporaryFile() as file:
        file.write(HEAD + data_set)
        file.flush()

        assert former_digest(Path(file.name)) == sha256(data_set).hexdigest()
        assert dataset_digest(Path(file.name)) == digest_of(data_set)


def test_a_file_without_a_head_has_no_digest(tmp_path: Path, files: InstanceFiles) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"DICM")

    with pytest.raises(struct.error):
        former_digest(path)
    (files.data_dir / "short").write_bytes(b"DICM")
    with pytest.raises(StorageError, match="shorter than its head"):
        files.dataset_digest("short")


class _Upgraded:
    """A node whose instances came to an earlier version, and what it receives now."""

    def __init__(self, db: Database, files: InstanceFiles) -> None:
        self._db, self._files = db, files
        self._recorder = InstanceRecorder(db, files)

    def has(self, one: IncomingInstance, data_set: bytes = b"x") -> None:
        """Record an instance as the earlier version did."""
        record_instance(self._db, self._on_disk(one, data_set, sha256(data_set).hexdigest()))

    def receives(self, one: IncomingInstance, data_set: bytes = b"x") -> StoreOutcome:
        return self._recorder.record(self._on_disk(one, data_set, digest_of(data_set)))

    def kept_aside(self, one: IncomingInstance, *, as_earlier: bool) -> int:
        digest = sha256(b"x").hexdigest() if as_earlier else digest_of(b"x")
        with pytest.raises(Quarantined) as caught:
            self._recorder.record(self._on_disk(one, b"x", digest))
        return caught.value.quarantine_id

    def _on_disk(self, one: IncomingInstance, data_set: bytes, digest: str) -> IncomingInstance:
        with self._files.open_incoming() as part:
            part.write(HEAD + data_set)
            place = part.keep(STUDY, SERIES, one.sop_instance_uid)
        return one._replace(path=place, dataset_digest=digest)


@pytest.fixture
def node(db: Database, files: InstanceFiles) -> _Upgraded:
    return _Upgraded(db, files)


def test_what_came_to_an_earlier_version_and_comes_again_changes_nothing(
    node: _Upgraded, db: Database, files: InstanceFiles
) -> None:
    node.has(incoming(1))
    make_ready(db)
    (before,) = instances_of_series(db, SERIES)

    assert node.receives(incoming(1)) is StoreOutcome.DUPLICATE
    assert instances_of_series(db, SERIES) == (before,)
    assert get_study(db, STUDY).generation == 1
    assert files.absolute(before.path).read_bytes() == HEAD + b"x"
    assert sum(path.is_file() for path in (files.data_dir / "instances").rglob("*")) == 1


def test_what_came_to_an_earlier_version_and_comes_changed_replaces_it(
    node: _Upgraded, db: Database
) -> None:
    node.has(incoming(1))

    assert node.receives(incoming(1), b"y") is StoreOutcome.REPLACED
    assert node.receives(incoming(1), b"y") is StoreOutcome.DUPLICATE
    (now,) = instances_of_series(db, SERIES)
    assert now.dataset_digest == digest_of(b"y")


def test_new_slices_join_a_series_of_an_earlier_version(node: _Upgraded, db: Database) -> None:
    node.has(incoming(1))

    outcomes = [node.receives(incoming(number)) for number in (2, 3, 1, 2)]

    stored, duplicate = StoreOutcome.STORED, StoreOutcome.DUPLICATE
    assert outcomes == [stored, stored, duplicate, duplicate]
    assert len(instances_of_series(db, SERIES)) == 3


def test_what_an_earlier_version_kept_aside_is_kept_aside_once(
    node: _Upgraded, db: Database
) -> None:
    node.has(incoming(1))
    stranger = incoming(2, patient=replace(PATIENT, patient_id="PID-2"))

    first = node.kept_aside(stranger, as_earlier=True)

    assert node.kept_aside(stranger, as_earlier=False) == first
    assert quarantine_count(db) == 1


def test_a_rejection_note_of_an_earlier_version_is_read_once(node: _Upgraded, db: Database) -> None:
    note = incoming(2)._replace(sop_class_uid=KEY_OBJECT_SELECTION)
    node.has(incoming(1))
    node.has(note)

    assert node.receives(note) is StoreOutcome.DUPLICATE
    assert len(unsettled_notes(db)) == 1
