from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)
from pynetdicom import AE, evt

from config.settings import DicomDestination
from node.errors import DeliveryError, FormRefused, PermanentDelivery, TransientDelivery
from node.scu import Stored, store_objects
from tests.integration.node_receive.mr_study import STUDY, dataset_bytes
from tests.integration.node_receive.result_files import SEG_UID, SR_UID, result_files
from tests.peers.dcmtk import IMPLICIT_ONLY, StoreScp
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port
from tests.peers.scp import start_scp


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    return result_files(tmp_path)


def _statuses(stored: Mapping[str, Stored]) -> dict[str, str]:
    return {uid: one.status for uid, one in stored.items()}


def _destination(port: int, ae_title: str, **changes: Any) -> DicomDestination:
    known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 10}
    return DicomDestination.model_validate({**known, "port": port, "ae_title": ae_title, **changes})


@dataclass
class _Pacs:
    """A PACS that answers every C-STORE with the next of `statuses`, and notes the order."""

    statuses: list[int]
    port: int = field(default_factory=free_port)
    received: list[str] = field(default_factory=list)
    abort: bool = False

    def store(self, event: Any) -> int:
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        if self.abort:
            event.assoc.abort()
        return self.statuses[min(len(self.received), len(self.statuses)) - 1]


@contextmanager
def _pacs(*statuses: int, abort: bool = False, ae_title: str = "PACS") -> Iterator[_Pacs]:
    pacs = _Pacs(list(statuses) or [0], abort=abort)
    ae = AE(ae_title=ae_title)
    ae.require_called_aet = True
    for sop_class in (ComprehensiveSRStorage, SegmentationStorage):
        ae.add_supported_context(sop_class, ExplicitVRLittleEndian)
    start_scp(ae, ("127.0.0.1", pacs.port), [(evt.EVT_C_STORE, pacs.store)])
    yield pacs
    ae.shutdown()


def _failure(destination: DicomDestination, paths: list[Path]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        store_objects(destination, "RADNODE", paths)
    return caught.value


@pytest.mark.peer("orthanc")
def test_orthanc_takes_both_objects_and_a_second_time_too(results: list[Path]) -> None:
    with Orthanc([Modality("radnode", "RADNODE", free_port())]) as orthanc:
        destination = _destination(orthanc.dicom_port, orthanc.aet)

        receipt = store_objects(destination, "RADNODE", results)
        again = store_objects(destination, "RADNODE", results)

        kept = {tags["SOPInstanceUID"]: tags["Modality"] for tags in orthanc.instances(STUDY)}

    assert _statuses(receipt) == _statuses(again) == {SEG_UID: "0x0000", SR_UID: "0x0000"}
    assert kept == {SEG_UID: "SEG", SR_UID: "SR"}


@pytest.mark.peer("orthanc")
def test_orthanc_does_not_take_from_a_stranger(results: list[Path]) -> None:
    with Orthanc([Modality("other", "OTHER", free_port())]) as orthanc:
        failure = _failure(_destination(orthanc.dicom_port, orthanc.aet), results)

    assert isinstance(failure, PermanentDelivery)
    assert "register this node" in failure.text


@pytest.mark.peer("dcmtk")
def test_bytes_arrive_as_they_lie_on_disk(results: list[Path], tmp_path: Path) -> None:
    with StoreScp(tmp_path / "taken") as scp:
        store_objects(_destination(scp.port, scp.ae_title), "RADNODE", results)

        taken = {dataset_bytes(path) for path in scp.files()}

    assert taken == {dataset_bytes(path) for path in results}


@pytest.mark.peer("dcmtk")
def test_a_pacs_that_takes_implicit_only_gets_implicit(results: list[Path], tmp_path: Path) -> None:
    with StoreScp(tmp_path / "taken", options=IMPLICIT_ONLY) as scp:
        store_objects(_destination(scp.port, scp.ae_title), "RADNODE", results)

        taken = [dcmread(path) for path in scp.files()]

    assert {dataset.file_meta.TransferSyntaxUID for dataset in taken} == {ImplicitVRLittleEndian}
    sent = {dataset.SOPInstanceUID: dataset for dataset in map(dcmread, results)}
    for dataset in taken:
        assert dataset == sent[dataset.SOPInstanceUID]


@pytest.mark.peer("dcmtk")
def test_explicit_only_is_no_good_for_a_pacs_that_takes_implicit_only(
    results: list[Path], tmp_path: Path
) -> None:
    with StoreScp(tmp_path / "taken", options=IMPLICIT_ONLY) as scp:
        only_explicit = _destination(
            scp.port, scp.ae_title, transfer_syntaxes=[ExplicitVRLittleEndian]
        )
        failure = _failure(only_explicit, results)

        assert scp.files() == []

    assert isinstance(failure, PermanentDelivery)
    assert "Segmentation Storage" in failure.text
    assert "transfer_syntaxes" in failure.text


REPORTS_ONLY = """
[[TransferSyntaxes]]
[Uncompressed]
TransferSyntax1 = LittleEndianExplicit
TransferSyntax2 = LittleEndianImplicit

[[PresentationContexts]]
[Reports]
PresentationContext1 = ComprehensiveSRStorage\\Uncompressed

[[Profiles]]
[Reports]
PresentationContexts = Reports
"""


@pytest.mark.peer("dcmtk")
def test_a_pacs_without_segmentations_gets_nothing_and_is_named(
    results: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "reports.cfg").write_text(REPORTS_ONLY)
    options = ["-xf", str(tmp_path / "reports.cfg"), "Reports"]
    with StoreScp(tmp_path / "taken", options=options) as scp:
        failure = _failure(_destination(scp.port, scp.ae_title), results)

        assert scp.files() == []

    assert isinstance(failure, PermanentDelivery)
    assert failure.code == "sop_class_refused"
    assert "Segmentation Storage" in failure.text
    assert "Comprehensive SR" not in failure.text


@pytest.mark.peer("dcmtk")
def test_a_pacs_that_refuses_every_association_is_tried_again_or_told(
    results: list[Path], tmp_path: Path
) -> None:
    with StoreScp(tmp_path / "taken", options=["--refuse"]) as scp:
        failure = _failure(_destination(scp.port, scp.ae_title), results)

    assert failure.code == "association_rejected"


@pytest.mark.peer("dcmtk")
def test_an_abort_in_the_middle_is_transient_and_sending_again_completes_it(
    results: list[Path], tmp_path: Path
) -> None:
    with StoreScp(tmp_path / "taken", options=["--abort-after"]) as scp:
        failure = _failure(_destination(scp.port, scp.ae_title), results)
    assert isinstance(failure, TransientDelivery)

    with StoreScp(tmp_path / "taken") as scp:
        receipt = store_objects(_destination(scp.port, scp.ae_title), "RADNODE", results)

    assert set(receipt) == {SEG_UID, SR_UID}


def test_the_segmentation_goes_before_the_report_that_refers_to_it(results: list[Path]) -> None:
    with _pacs() as pacs:
        store_objects(_destination(pacs.port, "PACS"), "RADNODE", results)

    assert pacs.received == [SEG_UID, SR_UID]


@pytest.mark.parametrize("status", [0xB000, 0xB007, 0x0111])
def test_a_warning_is_a_success_and_stands_in_the_receipt(results: list[Path], status: int) -> None:
    with _pacs(status, 0) as pacs:
        receipt = store_objects(_destination(pacs.port, "PACS"), "RADNODE", results)

    assert _statuses(receipt) == {SEG_UID: f"0x{status:04X}", SR_UID: "0x0000"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0xA700, TransientDelivery),
        (0xA900, FormRefused),
        (0xC001, FormRefused),
        (0x0122, FormRefused),
    ],
)
def test_a_failure_in_the_second_object_is_a_failure(
    results: list[Path], status: int, kind: type[DeliveryError]
) -> None:
    with _pacs(0, status) as pacs:
        failure = _failure(_destination(pacs.port, "PACS"), results)

    assert type(failure) is kind
    assert failure.code == f"status_{status:04x}"


def test_an_abort_instead_of_an_answer_is_transient(results: list[Path]) -> None:
    with _pacs(abort=True) as pacs:
        failure = _failure(_destination(pacs.port, "PACS"), results)

    assert isinstance(failure, TransientDelivery)


def test_a_wrong_ae_title_is_for_a_person_to_mend(results: list[Path]) -> None:
    with _pacs() as pacs:
        failure = _failure(_destination(pacs.port, "WRONG"), results)

    assert isinstance(failure, PermanentDelivery)
    assert "correct ae_title" in failure.text


def test_nobody_there_is_transient(results: list[Path]) -> None:
    assert isinstance(_failure(_destination(free_port(), "PACS"), results), TransientDelivery)


def test_an_unknown_host_is_transient(results: list[Path]) -> None:
    destination = _destination(104, "PACS", host="no-such-host.invalid")

    assert isinstance(_failure(destination, results), TransientDelivery)


def test_a_result_that_is_gone_is_for_a_person_to_mend(results: list[Path]) -> None:
    results[0].unlink()

    failure = _failure(_destination(free_port(), "PACS"), results)

    assert isinstance(failure, PermanentDelivery)
    assert failure.code == "object_unreadable"
