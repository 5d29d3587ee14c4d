"""A PACS that reports on what it keeps when it is told to, or not at all."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from node.commitment_result import INSTANCE_UID, report_dataset
from node.dimse_policy import prepare_requestor
from storage.evidence_records import ListedSop
from tests.integration.node_receive.committing_node import (
    UIDS,
    Node,
)
from tests.integration.node_receive.running_listener import CALLED, CALLING
from tests.peers.ports import free_port
from tests.peers.scp import start_scp


def _listed() -> list[ListedSop]:
    return [ListedSop(str(MRImageStorage), uid) for uid in UIDS]


@dataclass
class SlowArchive:
    """A PACS that takes a commitment request and reports as it is told, or not at all."""

    port: int = field(default_factory=free_port)
    reports_at_once: bool = False
    requests: list[Dataset] = field(default_factory=list)

    def __enter__(self) -> SlowArchive:
        ae = AE(ae_title=CALLING)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_ACTION, self._take)]
        self._server: Any = start_scp(ae, ("127.0.0.1", self.port), handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.ae.shutdown()

    def _take(self, event: Any) -> tuple[int, None]:
        self.requests.append(event.action_information)
        if self.reports_at_once:
            threading.Timer(0.2, self._report_on, (event.assoc,)).start()
        return 0x0000, None

    def _report_on(self, assoc: Any) -> None:
        assoc.send_n_event_report(
            report_dataset(self.requests[-1].TransactionUID, _listed(), {}),
            1,
            StorageCommitmentPushModel,
            INSTANCE_UID,
        )

    def report(self, node: Node, *, failed: dict[str, int] | None = None) -> int:
        """Report on the newest request, as SCP on an association to the node."""
        ae = AE(ae_title=CALLING)
        ae.add_requested_context(StorageCommitmentPushModel)
        assoc = ae.associate(
            "127.0.0.1",
            node.port,
            ae_title=CALLED,
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor)],
        )
        assert assoc.is_established
        dataset = report_dataset(self.requests[-1].TransactionUID, _listed(), failed or {})
        event_type = 2 if failed else 1
        status, _ = assoc.send_n_event_report(
            dataset, event_type, StorageCommitmentPushModel, INSTANCE_UID
        )
        assoc.release()
        return int(status.Status)
