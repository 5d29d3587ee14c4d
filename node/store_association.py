"""An association for C-STORE: opened with the contexts that are asked for, or told why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, build_context, evt

from config.settings import DicomDestination
from node.dimse_policy import apply_dimse_policy, prepare_requestor
from node.errors import FormRefused, PermanentDelivery, TransientDelivery
from node.rejection_watch import RejectionWatch
from node.tls_client import TlsRequest
from pipelines.objects.encoding import sop_class_name

_REJECTED_PERMANENT = 1
_CALLING_AE_TITLE_NOT_RECOGNISED = 3
_CALLED_AE_TITLE_NOT_RECOGNISED = 7
_SERVICE_USER = 1

Proposals = Mapping[UID, Sequence[UID]]
"""Transfer syntaxes by SOP Class, in the order of preference."""


def open_association(
    destination: DicomDestination, calling_ae_title: str, proposals: Proposals
) -> Any:
    """Propose each transfer syntax in a context of its own, so that the answer tells which pass.

    The association may have no accepted context and be over already.

    Raises:
        TransientDelivery: no connection, or no answer. PermanentDelivery: rejected for good.
    """
    apply_dimse_policy()
    ae = AE(ae_title=destination.calling_ae_title or calling_ae_title)
    ae.connection_timeout = ae.acse_timeout = destination.timeout_s
    ae.dimse_timeout = ae.network_timeout = destination.timeout_s
    tls = _tls_request(destination)
    watch = RejectionWatch()
    try:
        assoc = ae.associate(
            destination.host,
            destination.port,
            contexts=[
                build_context(sop_class, transfer_syntax)
                for sop_class, transfer_syntaxes in proposals.items()
                for transfer_syntax in transfer_syntaxes
            ],
            ae_title=destination.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor), watch.handler],
            **tls.arguments,
        )
    except OSError as error:
        raise TransientDelivery("host_unknown", f"host {destination.host} is unknown") from error
    if watch.rejection is not None:
        raise _rejection(destination, watch.rejection)
    if tls.failure is not None and not assoc.is_established:
        raise TransientDelivery(tls.failure.value, f"{place(destination)}: {tls.fault}")
    # pynetdicom aborts by itself where no context is accepted: the caller tells that.
    if not assoc.is_established and not assoc.rejected_contexts:
        text = f"no association with {place(destination)}: it is down, or does not answer"
        raise TransientDelivery("no_association", text)
    return assoc


def place(destination: DicomDestination) -> str:
    """Name the destination for a person: AE title, host and port."""
    return f"{destination.ae_title} at {destination.host}:{destination.port}"


def refused(destination: DicomDestination, sop_classes: set[UID]) -> FormRefused:
    """Tell that the destination takes none of what is proposed for these SOP Classes."""
    names = ", ".join(sorted(map(sop_class_name, sop_classes)))
    return FormRefused(
        "sop_class_refused",
        f"{place(destination)} does not take {names} with any of the "
        "transfer syntaxes that are proposed; enable it there, or change transfer_syntaxes",
        sop_classes,
    )


def _tls_request(destination: DicomDestination) -> TlsRequest:
    request = TlsRequest(destination.tls, destination.host)
    if request.unusable:
        # Whoever corrects the file need not revive each delivery.
        text = f"our TLS files for {place(destination)} cannot be used: {request.unusable}"
        raise TransientDelivery("tls_files", text)
    return request


def _rejection(destination: DicomDestination, answer: Any) -> TransientDelivery | PermanentDelivery:
    text = f"{place(destination)} rejected the association"
    if answer.result != _REJECTED_PERMANENT:
        return TransientDelivery("association_rejected", f"{text} for now")
    if answer.source == _SERVICE_USER:
        if answer.reason_diagnostic == _CALLING_AE_TITLE_NOT_RECOGNISED:
            text += ": it does not know our AE title; register this node there"
        if answer.reason_diagnostic == _CALLED_AE_TITLE_NOT_RECOGNISED:
            text += f": it is not called {destination.ae_title}; correct ae_title"
    return PermanentDelivery("association_rejected", text)
