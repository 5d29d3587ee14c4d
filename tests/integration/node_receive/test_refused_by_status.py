"""A PACS that accepts a SOP Class and refuses the object by a status gets the next of the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt

from config.settings import DicomDestination, NodeSettings
from fhir.progress import Progress
from node.dispatch import sender_for
from node.errors import PermanentDelivery, TransientDelivery
from pipelines.objects.encoding import LABEL_MAP_SEGMENTATION_STORAGE
from storage.instance_files import InstanceFiles
from storage.sent_objects import FALLBACK_KEY, sent_objects, tried_objects
from tests.integration.node_receive.finished_result import finished_of
from tests.integration.node_receive.kept_pages import kept_with_pages
from tests.peers.ports import free_port
from tests.peers.scp import start_scp
from tests.unit.pipelines_objects.kept_result import Kept

LABELMAP, SEG, SR = LABEL_MAP_SEGMENTATION_STORAGE, SegmentationStorage, Comprehensive3DSRStorage
SC, PDF = SecondaryCaptureImageStorage, EncapsulatedPDFStorage
OF_FORM = [0x0122, 0xA900, 0xC001]
SYNTAXES = [JPEGLSLossless, RLELossless, ExplicitVRLittleEndian]


def _hex(status: int) -> str:
    return f"{status:04X}"


@dataclass
class Pacs:
    """Accepts everything, and answers each object with what `judge` says of it."""

    judge: Callable[[Dataset], int] = lambda _: 0x0000
    port: int = field(default_factory=free_port)
    asked: list[str] = field(default_factory=list)
    taken: dict[str, Dataset] = field(default_factory=dict)

    def refuse(self, **statuses: int) -> None:
        """Refuse kinds of objects, by the names of their SOP Classes here."""
        by_class = {globals()[name]: status for name, status in statuses.items()}
        self.judge = lambda dataset: by_class.get(dataset.SOPClassUID, 0x0000)

    def store(self, event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.asked.append(_name(dataset.SOPClassUID))
        status = self.judge(dataset)
        if status == 0x0000:
            self.taken[str(dataset.SOPInstanceUID)] = dataset
        return status

    @property
    def kinds(self) -> list[str]:
        return sorted(_name(dataset.SOPClassUID) for dataset in self.taken.values())


def _name(sop_class: UID) -> str:
    names = {LABELMAP: "LABELMAP", SEG: "SEG", SR: "SR", SC: "SC", PDF: "PDF"}
    return names[sop_class]


@contextmanager
def _listening(pacs: Pacs) -> Iterator[Pacs]:
    ae = AE(ae_title="PACS")
    for sop_class in (LABELMAP, SEG, SR, SC, PDF):
        ae.add_supported_context(sop_class, SYNTAXES)
    handlers = [(evt.EVT_C_STORE, pacs.store)]
    start_scp(ae, ("127.0.0.1", pacs.port), handlers)
    yield pacs
    ae.shutdown()


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with _listening(Pacs()) as listening:
        yield listening


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Its objects in another form are made once for all tests."""
    return kept_with_pages(tmp_path_factory.mktemp("data"))


@dataclass
class Delivery:
    """Tries of one delivery, with what is kept between them."""

    kept: Kept
    port: int
    receipt: dict[str, str] = field(default_factory=dict)

    def send(self, **profile: Any) -> dict[str, str]:
        known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 20}
        destination = DicomDestination.model_validate(
            {**known, "port": self.port, "ae_title": "PACS", **profile}
        )
        sender = sender_for(destination, NodeSettings(), InstanceFiles(self.kept.folder))
        progress = Progress(self.receipt, lambda receipt: self.receipt.update(receipt))
        return dict(sender.send(finished_of(self.kept), progress))


@pytest.fixture
def delivery(shared: Kept, pacs: Pacs) -> Delivery:
    return Delivery(shared, pacs.port)


@pytest.mark.parametrize("status", OF_FORM, ids=_hex)
def test_a_refused_label_map_gives_way_to_binary(
    pacs: Pacs, delivery: Delivery, status: int
) -> None:
    pacs.refuse(LABELMAP=status)
    receipt = delivery.send(segmentation="labelmap")

    assert pacs.asked == ["LABELMAP", "SEG", "SR"]
    sent = sent_objects(receipt)
    assert [(item.kind.name, item.encoding) for item in sent] == [("SEG", "BINARY"), ("SR", "")]
    assert set(pacs.taken) == {item.sop_instance_uid for item in sent}
    assert FALLBACK_KEY not in receipt


@pytest.mark.parametrize("status", OF_FORM, ids=_hex)
def test_a_pacs_that_takes_no_segmentation_gets_pages_and_says_why(
    pacs: Pacs, delivery: Delivery, status: int
) -> None:
    pacs.refuse(LABELMAP=status, SEG=status)
    receipt = delivery.send(segmentation="labelmap")

    assert pacs.asked[:2] == ["LABELMAP", "SEG"]
    assert pacs.kinds == ["PDF", "SC", "SR"]
    assert set(pacs.taken) == {item.sop_instance_uid for item in sent_objects(receipt)}
    assert f"0x{status:04X}" in receipt[FALLBACK_KEY]
    segmentation = str(dcmread(delivery.kept.folder / "seg.dcm").SOPInstanceUID)
    assert not any(segmentation in str(dataset) for dataset in pacs.taken.values())
    # What was refused is not taken back later.
    assert {item.kind.name for item in tried_objects(delivery.receipt)} == {"PDF", "SC", "SR"}


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110], ids=_hex)
def test_a_busy_pacs_is_tried_again_with_the_same(
    pacs: Pacs, delivery: Delivery, status: int
) -> None:
    pacs.refuse(LABELMAP=status)
    with pytest.raises(TransientDelivery):
        delivery.send(segmentation="labelmap")
    assert pacs.asked == ["LABELMAP"]

    pacs.refuse()
    receipt = delivery.send(segmentation="labelmap")
    assert [item.encoding for item in sent_objects(receipt)] == ["LABELMAP", ""]


@pytest.mark.parametrize("status", [0x0124, 0x0117, 0xA800], ids=_hex)
def test_a_refusal_of_something_else_is_for_a_person(
    pacs: Pacs, delivery: Delivery, status: int
) -> None:
    pacs.refuse(SEG=status)
    with pytest.raises(PermanentDelivery, match=f"0x{status:04X}"):
        delivery.send()
    assert pacs.asked == ["SEG"]


def test_a_site_that_wants_no_pages_has_a_dead_letter(pacs: Pacs, delivery: Delivery) -> None:
    pacs.refuse(SEG=0xC000)
    with pytest.raises(PermanentDelivery, match="0xC000"):
        delivery.send(fallback=[])
    assert pacs.kinds == []


def test_each_page_goes_where_it_is_taken(pacs: Pacs, delivery: Delivery) -> None:
    pacs.refuse(SEG=0x0122, SC=0xA900, SR=0xC000)
    receipt = delivery.send()
    assert [item.kind.name for item in sent_objects(receipt)] == ["PDF"]
    assert pacs.kinds == ["PDF"]


def test_a_pacs_that_refuses_everything_has_a_dead_letter_that_names_the_segmentation(
    pacs: Pacs, delivery: Delivery
) -> None:
    pacs.judge = lambda _: 0x0122
    with pytest.raises(PermanentDelivery, match="refused Segmentation Storage"):
        delivery.send()
    assert tried_objects(delivery.receipt) == ()


def test_a_refused_report_beside_a_segmentation_is_no_reason_to_fall_back(
    pacs: Pacs, delivery: Delivery
) -> None:
    pacs.refuse(SR=0xC000)
    with pytest.raises(PermanentDelivery, match="Comprehensive 3D SR"):
        delivery.send(segmentation="labelmap")
    assert pacs.asked == ["LABELMAP", "SR"]


def test_a_sop_class_that_is_not_supported_is_not_tried_in_another_syntax(
    pacs: Pacs, delivery: Delivery
) -> None:
    syntaxes = [str(uid) for uid in SYNTAXES]
    pacs.refuse(LABELMAP=0x0122)
    delivery.send(segmentation="labelmap", transfer_syntaxes=syntaxes)
    assert pacs.asked == ["LABELMAP", "SEG", "SR"]


def test_what_cannot_be_understood_is_tried_in_another_syntax(
    pacs: Pacs, delivery: Delivery
) -> None:
    syntaxes = [str(uid) for uid in SYNTAXES]
    compressed = {JPEGLSLossless, RLELossless}
    pacs.judge = lambda dataset: (
        0xC000 if dataset.file_meta.TransferSyntaxUID in compressed else 0x0000
    )
    sent = sent_objects(delivery.send(segmentation="labelmap", transfer_syntaxes=syntaxes))
    assert pacs.asked == ["LABELMAP", "LABELMAP", "LABELMAP", "SR"]
    assert (sent[0].encoding, sent[0].transfer_syntax_uid) == ("LABELMAP", ExplicitVRLittleEndian)


def test_a_result_is_never_there_in_two_forms(pacs: Pacs, delivery: Delivery) -> None:
    pacs.refuse(LABELMAP=0xA900, SR=0xA700)
    with pytest.raises(TransientDelivery):
        delivery.send(segmentation="labelmap")
    assert pacs.kinds == ["SEG"]

    pacs.refuse()
    delivery.send(segmentation="labelmap")
    assert pacs.kinds == ["SEG", "SR"]


def test_a_part_that_is_refused_after_another_was_taken_is_for_a_person(
    pacs: Pacs, delivery: Delivery
) -> None:
    pacs.judge = lambda dataset: 0xA900 if pacs.taken else 0x0000
    for _ in range(2):
        with pytest.raises(PermanentDelivery, match="a part of the result is there already"):
            delivery.send(segmentation="labelmap", most_segments=1)
    assert set(pacs.asked) == {"LABELMAP"}
    assert len(pacs.taken) == 1
