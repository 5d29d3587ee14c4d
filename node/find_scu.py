"""C-FIND SCU (PS3.4 C, Study Root): one association, and all matches of a query."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, evt

from config.settings import SenderSettings
from config.tls_settings import ClientTls
from node.dimse_policy import apply_dimse_policy, prepare_requestor
from node.errors import CountsUnavailable
from node.rejection_watch import RejectionWatch
from node.tls_client import TlsRequest

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")

_SUCCESS = 0x0000
_PENDING = (0xFF00, 0xFF01)


@contextmanager
def find_association(
    host: str,
    port: int,
    *,
    called_ae_title: str,
    calling_ae_title: str,
    timeout_s: float,
    tls: ClientTls,
) -> Iterator[Any]:
    """An association for queries, released at the end; each step may take `timeout_s`.

    Raises:
        CountsUnavailable: there is none.
    """
    apply_dimse_policy()
    ae = AE(ae_title=calling_ae_title)
    ae.connection_timeout = ae.acse_timeout = timeout_s
    ae.dimse_timeout = ae.network_timeout = timeout_s
    request = TlsRequest(tls, host)
    if request.unusable:
        text = f"our TLS files for the C-FIND cannot be used: {request.unusable}"
        raise CountsUnavailable(text)
    watch = RejectionWatch()
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    try:
        assoc = ae.associate(
            host,
            port,
            contexts=[build_context(STUDY_ROOT_FIND, syntaxes)],
            ae_title=called_ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor), watch.handler],
            **request.arguments,
        )
    except OSError as error:
        raise CountsUnavailable("the host of the C-FIND provider is unknown") from error
    if not assoc.is_established:
        raise CountsUnavailable(_no_association(request, watch, assoc))
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def find_association_of(
    sender: SenderSettings, *, calling_ae_title: str, timeout_s: float
) -> AbstractContextManager[Any]:
    """`find_association` with the C-FIND provider of a sender; raises as that, at once."""
    if sender.find_host is None or sender.find_port is None:
        raise CountsUnavailable("no find_host is configured for this sender")
    return find_association(
        sender.find_host,
        sender.find_port,
        called_ae_title=sender.find_ae_title or sender.ae_title,
        calling_ae_title=calling_ae_title,
        timeout_s=timeout_s,
        tls=sender.find_tls,
    )


def find(assoc: Any, query: Dataset) -> list[Dataset]:
    """Return all matches of one query.

    Raises:
        CountsUnavailable: it did not end in success.
    """
    if not assoc.is_established:
        raise CountsUnavailable("the C-FIND provider ended the association")
    try:
        responses = list(assoc.send_c_find(query, STUDY_ROOT_FIND))
    except (RuntimeError, ValueError) as error:
        raise CountsUnavailable("the C-FIND could not be sent") from error
    status = responses[-1][0].get("Status") if responses else None
    if status != _SUCCESS:
        text = "no answer in time" if status is None else f"status 0x{status:04X}"
        raise CountsUnavailable(f"the C-FIND ended without success: {text}")
    return [match for status, match in responses if match and status.Status in _PENDING]


def _no_association(tls: TlsRequest, watch: RejectionWatch, assoc: Any) -> str:
    if tls.fault:
        return f"no TLS with the C-FIND provider: {tls.fault}"
    if watch.rejection is not None:
        return "the C-FIND provider rejected the association"
    lack = "does not serve Study Root queries" if assoc.rejected_contexts else "is not reachable"
    return f"the C-FIND provider {lack}"
