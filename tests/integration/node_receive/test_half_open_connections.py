"""A PACS that is there and is not: every try ends in time, and the next one can succeed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, evt

from config.settings import DicomDestination
from node.errors import TransientDelivery
from node.scu import store_objects
from tests.integration.node_receive.mr_study import mr_instance, write
from tests.peers.gateway import Gateway, Mood
from tests.peers.scp import start_scp

TIMEOUT_S = 1.0
P_DATA = b"\x04"


class Pacs:
    """Takes what comes; `taken` are the SOP Instance UIDs."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        ae = AE(ae_title="PACS")
        ae.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self._store)]
        self.server: Any = start_scp(ae, ("127.0.0.1", 0), handlers)
        self.port = int(self.server.socket.getsockname()[1])

    def _store(self, event: Any) -> int:
        self.taken.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    pacs = Pacs()
    yield pacs
    pacs.server.ae.shutdown()


@pytest.fixture
def line(pacs: Pacs) -> Iterator[Gateway]:
    with Gateway(pacs.port) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmentation that does not fit into the buffers between us and the PACS."""
    dataset = mr_instance()
    dataset.SOPClassUID = SegmentationStorage
    dataset.Rows = dataset.Columns = 3000
    dataset.PixelData = bytes(2 * 3000 * 3000)
    return write(dataset, tmp_path_factory.mktemp("large"))


def _send(line: Gateway, path: Path) -> None:
    settings = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "ae_title": "PACS"}
    destination = DicomDestination.model_validate(
        {**settings, "port": line.port, "timeout_s": TIMEOUT_S}
    )
    store_objects(destination, "RADNODE", [path])


def _is_of_a_requestor(thread: threading.Thread) -> bool:
    """Whether pynetdicom runs one of our own associations in it."""
    association = getattr(thread, "assoc", thread)
    return bool(getattr(association, "is_requestor", False))


MOODS = {
    "says nothing": Mood(is_silent=True),
    "stops reading": Mood(most_bytes=300_000),
    "goes away while it reads": Mood(most_bytes=300_000, hangs_up=True),
    "goes away after it has stored": Mood(loses=lambda _, answer: answer[:1] == P_DATA),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
def test_a_try_ends_and_the_next_one_delivers(
    line: Gateway, pacs: Pacs, large: Path, mood: Mood
) -> None:
    line.mood = mood
    with pytest.raises(TransientDelivery):
        _send(line, large)
    ours = [thread for thread in threading.enumerate() if _is_of_a_requestor(thread)]

    line.mood = Mood()
    _send(line, large)

    assert set(pacs.taken) == {str(dcmread(large, stop_before_pixels=True).SOPInstanceUID)}
    for thread in ours:
        thread.join(10)
    assert not any(thread.is_alive() for thread in ours)


def test_a_slow_line_may_carry_an_object_longer_than_the_time_limit_of_an_answer(
    line: Gateway, pacs: Pacs, large: Path
) -> None:
    line.mood = Mood(bytes_per_s=large.stat().st_size / (2 * TIMEOUT_S))

    _send(line, large)

    assert len(pacs.taken) == 1
