"""A report may be answered while the next request is sent: the PACS gets both as they are."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from pydicom.uid import MRImageStorage
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import StorageCommitmentPushModel

from node.commitment_association import Peer, requesting_commitments
from node.commitment_result import INSTANCE_UID
from tests.integration.node_receive.running_listener import CALLED, CALLING
from tests.integration.node_receive.slow_archive import SlowArchive


def _answer() -> N_EVENT_REPORT:
    answer = N_EVENT_REPORT()
    answer.MessageIDBeingRespondedTo = 1
    answer.Status = 0x0000
    answer.AffectedSOPClassUID = StorageCommitmentPushModel
    answer.AffectedSOPInstanceUID = INSTANCE_UID
    answer.EventTypeID = 1
    return answer


def test_a_request_is_sent_whole_while_a_report_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = DULServiceProvider.send_pdu

    def send_slowly(provider: Any, pdu: Any) -> None:
        send(provider, pdu)
        if isinstance(pdu, P_DATA):
            time.sleep(0.1)

    with SlowArchive() as archive:
        peer = Peer("127.0.0.1", archive.port, CALLING, CALLED, 5.0)
        with requesting_commitments(peer, lambda _: None) as requests:
            monkeypatch.setattr(DULServiceProvider, "send_pdu", send_slowly)
            assoc: Any = requests._assoc
            given = (_answer(), assoc.accepted_contexts[0].context_id)
            answering = threading.Timer(0.05, assoc.dimse.send_msg, given)
            answering.start()
            requests.ask("1.2.3", {"1.2.4": str(MRImageStorage)})
            answering.join()

    assert [each.TransactionUID for each in archive.requests] == ["1.2.3"]
