"""An archive that commits itself to what it stores, and reports when and as a test says."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from node.commitment_result import INSTANCE_UID, report_dataset
from node.dimse_policy import prepare_requestor
from storage.evidence_records import ListedSop
from tests.peers.ports import free_port
from tests.peers.scp import start_scp

AE_TITLE = "ARCHIVE"
NO_SUCH_OBJECT = 0x0112


@dataclass
class Archive:
    """Takes SEG and SR, and reports when it is told to.

    `is_prompt`: its report comes soon, on the association that asked; with `reports_to`, a port
    and an AE title, on one of its own. `takes_one` ends an association at its second request.
    """

    port: int = field(default_factory=free_port)
    stored: dict[str, int] = field(default_factory=dict)
    requests: list[Dataset] = field(default_factory=list)
    is_prompt: bool = False
    reports_to: tuple[int, str] | None = None
    takes_one: bool = False
    asked_on: list[Any] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def __enter__(self) -> Archive:
        ae = AE(ae_title=AE_TITLE)
        for sop_class in (SegmentationStorage, ComprehensiveSRStorage):
            ae.add_supported_context(sop_class, ExplicitVRLittleEndian)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._take)]
        self._server: Any = start_scp(ae, ("127.0.0.1", self.port), handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.ae.shutdown()

    def lose_one(self) -> str:
        """Forget the newest object."""
        return self.stored.popitem()[0]

    def report(self, request: Dataset, port: int, called: str) -> int:
        """Report on a request, on an association of our own; the status that is answered."""
        ae = AE(ae_title=AE_TITLE)
        ae.add_requested_context(StorageCommitmentPushModel)
        assoc = ae.associate(
            "127.0.0.1",
            port,
            ae_title=called,
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor)],
        )
        assert assoc.is_established
        status = self._report(assoc, request)
        assoc.release()
        return status

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.stored[uid] = self.stored.get(uid, 0) + 1
        return 0x0000

    def _take(self, event: Any) -> tuple[int, None]:
        request = event.action_information
        self.requests.append(request)
        if self.takes_one and event.assoc in self.asked_on:
            event.assoc.abort()
            return 0x0000, None
        self.asked_on.append(event.assoc)
        # After the answer to the request.
        if self.reports_to is not None:
            threading.Timer(0.1, self.report, (request, *self.reports_to)).start()
        elif self.is_prompt:
            threading.Timer(0.1, self._report, (event.assoc, request)).start()
        return 0x0000, None

    def _report(self, assoc: Any, request: Dataset) -> int:
        listed = [
            ListedSop(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in request.ReferencedSOPSequence
        ]
        failed: Mapping[str, int] = {
            each.sop_instance_uid: NO_SUCH_OBJECT
            for each in listed
            if each.sop_instance_uid not in self.stored
        }
        dataset = report_dataset(str(request.TransactionUID), listed, failed)
        status, _ = assoc.send_n_event_report(
            dataset, 2 if failed else 1, StorageCommitmentPushModel, INSTANCE_UID
        )
        self.answers.append(int(status.get("Status", -1)))
        return self.answers[-1]
