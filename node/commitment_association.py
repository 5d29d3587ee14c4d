"""Associations of our own for storage commitment (PS3.4 J): to ask as SCU, to report as SCP."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from config.tls_settings import ClientTls
from node.commitment_result import (
    COMPLETE,
    FAILURES_EXIST,
    INSTANCE_UID,
    CommitmentResult,
    read_result,
    report_dataset,
    request_dataset,
)
from node.dimse_policy import apply_dimse_policy, prepare_requestor
from node.errors import CommitmentUnavailable
from node.receive.instance_references import InvalidReference
from node.rejection_watch import RejectionWatch
from node.tls_client import TlsRequest
from storage.evidence_records import ListedSop

_REQUEST = 1
_PLAIN = ClientTls()
_SUCCESS = 0x0000
_INVALID_ATTRIBUTE_VALUE = 0x0106
_WARNINGS = range(0xB000, 0xC000)


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to call, and as whom; each step may take `timeout_s`."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    timeout_s: float
    tls: ClientTls = _PLAIN


def ask_commitment(
    peer: Peer, transaction_uid: str, objects: Mapping[str, str], *, wait_s: float
) -> CommitmentResult | None:
    """Ask a PACS to commit itself to `objects` (SOP Class UIDs by SOP Instance UID).

    Returns its report if that comes within `wait_s` on the same association; else None: it will
    come on an association that the PACS opens to us.

    Raises:
        CommitmentUnavailable: it could not be asked, or refused.
    """
    report = _Report()
    handlers = [(evt.EVT_N_EVENT_REPORT, report.take)]
    with _association(peer, handlers) as assoc:
        answer = _sent(
            assoc.send_n_action,
            request_dataset(transaction_uid, objects),
            _REQUEST,
            StorageCommitmentPushModel,
            INSTANCE_UID,
        )
        _check(answer, "the storage commitment request")
        report.arrived.wait(wait_s)
    return report.result


def report_commitment(
    peer: Peer,
    transaction_uid: str,
    instances: tuple[ListedSop, ...],
    failed: Mapping[str, int],
) -> None:
    """Tell the sender of a request what is kept, as the SCP on an association that we open.

    Raises:
        CommitmentUnavailable: it could not be told, or did not take it.
    """
    dataset = report_dataset(transaction_uid, instances, failed)
    event_type = FAILURES_EXIST if failed else COMPLETE
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
    with _association(peer, [], roles) as assoc:
        answer = _sent(
            assoc.send_n_event_report,
            dataset,
            event_type,
            StorageCommitmentPushModel,
            INSTANCE_UID,
        )
        _check(answer, "the storage commitment report")


class _Report:
    """Takes the N-EVENT-REPORT in the association's thread."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.result: CommitmentResult | None = None

    def take(self, event: Any) -> tuple[int, None]:
        try:
            self.result = read_result(event.event_information)
        except InvalidReference:
            return _INVALID_ATTRIBUTE_VALUE, None
        self.arrived.set()
        return _SUCCESS, None


@contextmanager
def _association(
    peer: Peer, handlers: list[tuple[Any, Any]], roles: list[Any] | None = None
) -> Iterator[Any]:
    apply_dimse_policy()
    ae = AE(ae_title=peer.calling_ae_title)
    ae.connection_timeout = ae.acse_timeout = peer.timeout_s
    ae.dimse_timeout = ae.network_timeout = peer.timeout_s
    ae.add_requested_context(StorageCommitmentPushModel)
    tls = TlsRequest(peer.tls, peer.host)
    if tls.unusable:
        text = f"our TLS files for it cannot be used: {tls.unusable}"
        raise CommitmentUnavailable("tls_files", text)
    watch = RejectionWatch()
    try:
        assoc = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.called_ae_title,
            ext_neg=roles,
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor), watch.handler, *handlers],
            **tls.arguments,
        )
    except OSError as error:
        raise CommitmentUnavailable("host_unknown", "its host is unknown") from error
    if not assoc.is_established:
        raise _why_not(assoc, tls, watch)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def _why_not(assoc: Any, tls: TlsRequest, watch: RejectionWatch) -> CommitmentUnavailable:
    if tls.failure is not None:
        return CommitmentUnavailable(tls.failure.value, tls.fault)
    if assoc.rejected_contexts:
        text = "it does not serve storage commitment"
        return CommitmentUnavailable("commitment_unsupported", text, is_supported=False)
    if watch.rejection is not None:
        return CommitmentUnavailable("association_rejected", "it rejected the association")
    return CommitmentUnavailable("no_association", "it is down, or does not answer")


def _sent(send: Any, *arguments: Any) -> Dataset:
    try:
        answer, _ = send(*arguments)
    except (RuntimeError, ValueError) as error:
        raise CommitmentUnavailable("aborted", "it ended the association") from error
    return Dataset() if answer is None else answer


def _check(answer: Dataset, what: str) -> None:
    status = answer.get("Status")
    if status is None:
        raise CommitmentUnavailable("no_answer", f"it did not answer {what} in time")
    if status != _SUCCESS and status not in _WARNINGS:
        raise CommitmentUnavailable(
            "commitment_refused", f"it answered {what} with status 0x{status:04X}"
        )
