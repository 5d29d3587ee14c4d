from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from storage.audit import list_audit
from storage.instances import instances_of_series
from storage.studies import get_study, list_studies
from tests.integration.node_receive.ended_associations import wait_for_nothing_incoming
from tests.integration.node_receive.mr_study import (
    SERIES,
    STUDY,
    dataset_bytes,
    mr_instance,
    write,
)
from tests.integration.node_receive.running_listener import Running
from tests.integration.node_receive.sender import (
    MR_EXPLICIT,
    association,
    encoded,
    raw_file,
    store,
)
from tests.integration.node_receive.stored_rows import SUCCESS, rows_of
from tests.peers.raw_dicom import RawPeer, associate_request, context
from tests.peers.raw_elements import element

MISMATCH = 0xA900

CANNOT_UNDERSTAND = 0xC000

INSTANCE = f"{SERIES}.1"


def _assert_nothing_was_kept(running: Running) -> None:
    assert list_studies(running.db, 10) == ()
    assert rows_of(running) == []
    wait_for_nothing_incoming(running)


def test_success_means_that_file_and_row_are_there(running: Running, tmp_path: Path) -> None:
    path = write(mr_instance(), tmp_path)

    with association(running.port) as assoc:
        assert store(assoc, path) == [SUCCESS]
        (record,) = instances_of_series(running.db, SERIES)

    assert dataset_bytes(running.files.absolute(record.path)) == dataset_bytes(path)
    assert running.files.absolute(record.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("transfer_syntax", "encode"),
    [
        (ImplicitVRLittleEndian, lambda dataset: encoded(dataset, implicit=True)),
        (ExplicitVRBigEndian, lambda dataset: encoded(dataset, little=False)),
    ],
)
def test_bytes_stay_as_they_came_in_other_encodings(
    running: Running, tmp_path: Path, transfer_syntax: str, encode: Callable[..., bytes]
) -> None:
    content = encode(mr_instance())
    path = raw_file(
        tmp_path / "a.dcm",
        content,
        sop_instance_uid=INSTANCE,
        transfer_syntax_uid=transfer_syntax,
    )

    with association(running.port, [(MRImageStorage, transfer_syntax)]) as assoc:
        assert store(assoc, path) == [SUCCESS]

    (record,) = instances_of_series(running.db, SERIES)
    assert record.transfer_syntax_uid == transfer_syntax
    assert dataset_bytes(running.files.absolute(record.path)) == content
    assert get_study(running.db, STUDY).header.patient.patient_name == "Müller^Änne"


def _deflated(content: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    stream = deflate.compress(content) + deflate.flush()
    return stream + b"\0" * (len(stream) % 2)


def test_a_deflated_data_set_is_kept_deflated(running: Running, tmp_path: Path) -> None:
    content = _deflated(encoded(mr_instance()))
    syntax = DeflatedExplicitVRLittleEndian
    whole = raw_file(
        tmp_path / "a.dcm", content, sop_instance_uid=INSTANCE, transfer_syntax_uid=syntax
    )
    cut = raw_file(
        tmp_path / "b.dcm", content[:-50], sop_instance_uid=INSTANCE, transfer_syntax_uid=syntax
    )

    with association(running.port, [(MRImageStorage, syntax)]) as assoc:
        assert store(assoc, whole, cut) == [SUCCESS, CANNOT_UNDERSTAND]

    (record,) = instances_of_series(running.db, SERIES)
    assert dataset_bytes(running.files.absolute(record.path)) == content


def test_file_meta_information_in_a_data_set_does_not_become_the_files_own(
    running: Running,
) -> None:
    meta = element(0x00020010, b"UI", ExplicitVRBigEndian.encode())

    with RawPeer(running.port) as peer:
        peer.associate(associate_request([context(1, *MR_EXPLICIT)]))
        assert peer.store(1, INSTANCE, meta + encoded(mr_instance())) == CANNOT_UNDERSTAND

    _assert_nothing_was_kept(running)


def test_a_data_set_that_ends_too_early_is_not_taken(running: Running, tmp_path: Path) -> None:
    content = encoded(mr_instance())
    path = raw_file(tmp_path / "cut.dcm", content[:-100], sop_instance_uid=INSTANCE)

    with association(running.port) as assoc:
        assert store(assoc, path) == [CANNOT_UNDERSTAND]

    _assert_nothing_was_kept(running)


@pytest.mark.parametrize("content", [b"", b"no data set, just text", bytes(range(256)) * 40])
def test_what_is_no_data_set_is_not_taken(running: Running, tmp_path: Path, content: bytes) -> None:
    path = raw_file(tmp_path / "a.dcm", content, sop_instance_uid=INSTANCE)

    with association(running.port) as assoc:
        if content:
            assert store(assoc, path) == [CANNOT_UNDERSTAND]
        good = write(mr_instance(), tmp_path / "good")
        assert store(assoc, good) == [SUCCESS]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", [None, "", "1.2.x", "../../etc/passwd", "1." * 40 + "1"])
def test_an_instance_without_valid_uids_is_not_taken(
    running: Running, tmp_path: Path, keyword: str, value: str | None
) -> None:
    dataset = mr_instance()
    if value is None:
        delattr(dataset, keyword)
    else:
        dataset[keyword]._value = value
    path = raw_file(tmp_path / "a.dcm", encoded(dataset), sop_instance_uid=INSTANCE)

    with association(running.port) as assoc:
        assert store(assoc, path) == [CANNOT_UNDERSTAND]

    _assert_nothing_was_kept(running)


def test_another_sop_class_than_announced_is_a_mismatch(running: Running, tmp_path: Path) -> None:
    path = raw_file(
        tmp_path / "a.dcm",
        encoded(mr_instance()),
        sop_class_uid=CTImageStorage,
        sop_instance_uid=INSTANCE,
    )

    with association(running.port, [(CTImageStorage, MR_EXPLICIT[1])]) as assoc:
        assert store(assoc, path) == [MISMATCH]

    _assert_nothing_was_kept(running)


def test_another_sop_instance_than_announced_is_a_mismatch(
    running: Running, tmp_path: Path
) -> None:
    content = encoded(mr_instance())
    path = raw_file(tmp_path / "a.dcm", content, sop_instance_uid=f"{SERIES}.777")

    with association(running.port) as assoc:
        assert store(assoc, path) == [MISMATCH]

    _assert_nothing_was_kept(running)


@pytest.mark.parametrize("uid", ["not a uid", "1.2.x", "../../etc/passwd"])
def test_a_command_with_something_else_than_a_uid_is_a_mismatch(
    running: Running, tmp_path: Path, uid: str
) -> None:
    path = raw_file(tmp_path / "a.dcm", encoded(mr_instance()), sop_instance_uid=uid)

    with association(running.port) as assoc:
        assert store(assoc, path) == [MISMATCH]

    _assert_nothing_was_kept(running)


def test_the_answer_says_why_without_patient_data(running: Running, tmp_path: Path) -> None:
    content = encoded(mr_instance())[:-100]
    path = raw_file(tmp_path / "cut.dcm", content, sop_instance_uid=INSTANCE)

    with association(running.port) as assoc:
        answer = assoc.send_c_store(path)

    assert "ends before its last element" in answer.ErrorComment
    assert len(answer.ErrorComment) <= 64


def test_a_repeated_instance_is_a_success_and_changes_nothing(
    running: Running, tmp_path: Path
) -> None:
    path = write(mr_instance(), tmp_path)
    with association(running.port) as assoc:
        assert store(assoc, path) == [SUCCESS]
        before = get_study(running.db, STUDY)
        files = rows_of(running)

        assert store(assoc, path) == [SUCCESS]

    assert get_study(running.db, STUDY) == before
    assert rows_of(running) == files
    wait_for_nothing_incoming(running)


def test_a_changed_instance_is_taken_and_the_old_file_stays(
    running: Running, tmp_path: Path
) -> None:
    first = write(mr_instance(), tmp_path / "first")
    changed = mr_instance()
    changed.PixelData = b"\1\0" * 256
    second = write(changed, tmp_path / "second")

    with association(running.port) as assoc:
        assert store(assoc, first, second) == [SUCCESS, SUCCESS]

    (record,) = instances_of_series(running.db, SERIES)
    assert dataset_bytes(running.files.absolute(record.path)) == dataset_bytes(second)
    assert len(rows_of(running)) == 2
    assert "instance_replaced" in [entry.event for entry in list_audit(running.db, 10)]
