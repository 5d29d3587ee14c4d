"""Associations of our own for storage commitment (PS3.4 J): to ask as SCU, to report as SCP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
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
from node.receive.normalized_answers import answered
from node.receive.services import SUCCESS, ServiceAnswer
from node.rejection_watch import RejectionWatch
from node.tls_client import TlsRequest
from node.whole_messages import send_whole_messages
from storage.evidence_records import ListedSop

ENDS_ASSOCIATION = frozenset({"aborted", "no_answer"})
"""The codes of those errors of a request after which there is no association any more."""

_REQUEST = 1
_PLAIN = ClientTls()
_ANSWER_S = 10.0
"""Longer than it takes to keep what a report means, unless the database does not answer."""
_IDLE_S = 30.0
"""How long nothing may come at least: between request and report a PACS is silent."""
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


class CommitmentRequests:
    """An association on which a PACS is asked, and on which it may report; for one thread."""

    def __init__(self, assoc: Any, reports: _Reports) -> None:
        self._assoc = assoc
        self._reports = reports

    @property
    def is_open(self) -> bool:
        """Whether it stands: neither side has ended it."""
        return bool(self._assoc.is_established)

    def ask(self, transaction_uid: str, objects: Mapping[str, str]) -> None:
        """Ask the PACS to commit itself to `objects` (SOP Class UIDs by SOP Instance UID).

        Raises:
            CommitmentUnavailable: it refused, or did not answer; then the association has ended.
        """
        self._reports.wait_for_answers()
        answer = _sent(
            self._assoc.send_n_action,
            request_dataset(transaction_uid, objects),
            _REQUEST,
            StorageCommitmentPushModel,
            INSTANCE_UID,
        )
        _check(answer, "the storage commitment request")

    def wait(self, timeout_s: float) -> None:
        """Wait for a report on this association, `timeout_s` at the most."""
        self._reports.arrived.wait(timeout_s)
        self._reports.arrived.clear()


@contextmanager
def requesting_commitments(
    peer: Peer, take: Callable[[CommitmentResult], None]
) -> Iterator[CommitmentRequests]:
    """Open an association to ask on; `take` keeps what a report on it means.

    `take` is called in another thread, and raises `StorageError` where the PACS is to be told that
    its report was not taken.

    Raises:
        CommitmentUnavailable: there is no association.
    """
    reports = _Reports(take)
    with _association(peer, [(evt.EVT_N_EVENT_REPORT, reports.take)]) as assoc:
        try:
            yield CommitmentRequests(assoc, reports)
        finally:
            # The association is released behind the answers to its reports.
            reports.wait_for_answers()


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


class _Reports:
    """Takes each N-EVENT-REPORT in a thread of its own, which pynetdicom starts for it."""

    def __init__(self, take: Callable[[CommitmentResult], None]) -> None:
        self.arrived = threading.Event()
        self._take = take
        self._threads: list[threading.Thread] = []

    def take(self, event: Any) -> tuple[int, None]:
        self._threads.append(threading.current_thread())

        def kept() -> ServiceAnswer:
            self._take(read_result(event.event_information))
            return ServiceAnswer(SUCCESS)

        answer = answered("storage_commitment", kept)
        self.arrived.set()
        return answer.status, None

    def wait_for_answers(self) -> None:
        """Wait until the reports that came are answered."""
        while self._threads:
            self._threads.pop().join(_ANSWER_S)


@contextmanager
def _association(
    peer: Peer, handlers: list[tuple[Any, Any]], roles: list[Any] | None = None
) -> Iterator[Any]:
    apply_dimse_policy()
    ae = AE(ae_title=peer.calling_ae_title)
    ae.connection_timeout = ae.acse_timeout = peer.timeout_s
    ae.dimse_timeout = peer.timeout_s
    ae.network_timeout = max(peer.timeout_s, _IDLE_S)
    ae.add_requested_context(StorageCommitmentPushModel)
    tls = TlsRequest(peer.tls, peer.host)
    if tls.unusable:
        text = f"our TLS files for it cannot be used: {tls.unusable}"
        raise CommitmentUnavailable("tls_files", text)
    watch = RejectionWatch()
    opened = [(evt.EVT_CONN_OPEN, act) for act in (prepare_requestor, send_whole_messages)]
    try:
        assoc = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.called_ae_title,
            ext_neg=roles,
            evt_handlers=[*opened, watch.handler, *handlers],
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
    if status != SUCCESS and status not in _WARNINGS:
        raise CommitmentUnavailable(
            "commitment_refused", f"it answered {what} with status 0x{status:04X}"
        )
