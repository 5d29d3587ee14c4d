"""Rows have the digest of what was sent, whenever it was taken; nothing is read twice for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from xxhash import xxh3_128

import storage.late_rows
from config.setting_types import Durability
from config.settings import ReceiveSettings, SenderSettings, Settings, StorageSettings
from node.receive import arriving_instance
from node.receive.dataset_structure import RawElement
from node.receive.gathered_blocks import BUFFER_BYTES
from node.receive.instance_header import InstanceHeader, header_of
from node.receive.pacing import Pace
from storage.dicom_records import IncomingInstance
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series
from storage.late_rows import LateRow, Told
from tests.integration.node_receive.ended_associations import SUCCESS
from tests.integration.node_receive.mr_study import SERIES, mr_instance, write
from tests.integration.node_receive.running_listener import CALLING, Running, StartListener
from tests.integration.node_receive.sender import association, store
from tests.peers.part10 import data_set_of

_MIB = 1 << 20
_SIZES = (16, 400, 1 << 14, 1 << 16, 5000, _MIB, _MIB - 2, _MIB + 2, 3 * _MIB + 78, 16)
_NEAR_THE_BUFFER = range(BUFFER_BYTES - 1000, BUFFER_BYTES + 4, 100)


@pytest.fixture(autouse=True)
def read_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose digest was not told."""
    places: list[str] = []
    digest_of_file = InstanceFiles.dataset_digest

    def counted(files: InstanceFiles, place: str) -> str:
        places.append(place)
        return digest_of_file(files, place)

    monkeypatch.setattr(InstanceFiles, "dataset_digest", counted)
    # Rows are written when somebody asks for them, and not just before their digest is told.
    monkeypatch.setattr(storage.late_rows, "GATHER_S", 600.0)
    monkeypatch.setattr("node.receive.listener.Listener._keep_house", lambda _self: None)
    return places


def _settings(durability: Durability, **sender: float) -> Settings:
    senders = (SenderSettings(ae_title=CALLING, **sender),)
    return Settings(
        receive=ReceiveSettings(port=0, senders=senders),
        storage=StorageSettings(disk_low_mib=0, durability=durability),
    )


def _slice(number: int, size_bytes: int, folder: Path) -> Path:
    instance = mr_instance(number)
    instance.PixelData = bytes([number]) * size_bytes
    return write(instance, folder)


def _wrong(running: Running, sent: Mapping[int, Path]) -> list[int]:
    """Return the slices whose row is missing, or has the digest or the file of something else."""
    rows = {one.instance_number: one for one in instances_of_series(running.db, SERIES)}
    wrong = []
    for number, path in sent.items():
        content, row = data_set_of(path), rows.get(number)
        if (
            row is None
            or row.dataset_digest != f"xxh3:{xxh3_128(content).hexdigest()}"
            or data_set_of(running.files.absolute(row.path)) != content
        ):
            wrong.append(number)
    return wrong


@pytest.mark.parametrize("durability", ["os", "fsync"])
@pytest.mark.parametrize("sizes", [_SIZES, _NEAR_THE_BUFFER])
def test_the_digest_is_of_what_was_sent_and_taken_on_its_way(
    start_listener: StartListener,
    tmp_path: Path,
    read_again: list[str],
    durability: Durability,
    sizes: tuple[int, ...],
) -> None:
    running = start_listener(_settings(durability))
    sent = {number: _slice(number, size, tmp_path) for number, size in enumerate(sizes, start=1)}

    with association(running.port) as assoc:
        for path in sent.values():
            assert store(assoc, path, path) == [SUCCESS] * 2

    assert _wrong(running, sent) == []
    assert read_again == []


def test_who_is_held_back_costs_no_second_reading(
    start_listener: StartListener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_again: list[str],
) -> None:
    """Rows that are written while a sender waits for its answer, have their digest by then."""
    recorders: list[InstanceRecorder] = []
    acknowledged = InstanceRecorder.acknowledged

    def noted(recorder: InstanceRecorder, one: IncomingInstance, told: Told) -> LateRow | None:
        recorders.append(recorder)
        return acknowledged(recorder, one, told)

    def write_meanwhile(*_: object) -> None:
        for recorder in recorders[-1:]:
            recorder.write_late()

    monkeypatch.setattr(InstanceRecorder, "acknowledged", noted)
    monkeypatch.setattr(Pace, "_wait", write_meanwhile)
    running = start_listener(_settings("os", max_instances_per_s=1000.0))
    sent = {number: _slice(number, 5000, tmp_path) for number in range(1, 7)}

    with association(running.port) as assoc:
        assert store(assoc, *sent.values()) == [SUCCESS] * 6

    assert _wrong(running, sent) == []
    assert read_again == []


def test_over_one_association_most_headers_are_known_already(
    start_listener: StartListener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(elements: Mapping[int, RawElement], syntax: str) -> InstanceHeader:
        read.append(len(elements))
        return header_of(elements, syntax)

    monkeypatch.setattr(arriving_instance, "header_of", counted)
    running = start_listener(_settings("os"))
    sent = {number: _slice(number, 2000, tmp_path) for number in range(1, 13)}

    with association(running.port) as assoc:
        store(assoc, *sent.values())

    assert _wrong(running, sent) == []
    assert len(read) <= 4
