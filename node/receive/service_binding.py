"""Binds the services beside storage to pynetdicom's events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context

from node.receive.admission import Caller
from node.receive.normalized_answers import PROCESSING_FAILURE
from node.receive.services import Service, ServiceAnswer, ServiceRequest, by_sop_class
from node.receive.transfer_syntaxes import VERIFICATION_TRANSFER_SYNTAXES

_DATASETS = {
    evt.EVT_N_ACTION: "action_information",
    evt.EVT_N_CREATE: "attribute_list",
    evt.EVT_N_EVENT_REPORT: "event_information",
    evt.EVT_N_SET: "modification_list",
}

_log = structlog.get_logger()


class ServiceBinding:
    """Handlers and presentation contexts of some services; `caller` tells who asks."""

    def __init__(self, services: Sequence[Service], caller: Callable[[Any], Caller]) -> None:
        self._services = by_sop_class(services)
        self._caller = caller

    def handlers(self) -> list[tuple[Any, Callable[..., Any]]]:
        """Return the event handlers."""
        return [(event, partial(self._handle, name=name)) for event, name in _DATASETS.items()]

    def contexts(self, proposed: Iterable[str]) -> list[PresentationContext]:
        """Return what is supported of the abstract syntaxes that a caller proposes."""
        found = []
        for uid in dict.fromkeys(proposed):
            service = self._services.get(uid)
            if service is not None:
                context = build_context(uid, list(VERIFICATION_TRANSFER_SYNTAXES))
                if service.accepts_scp_role_reversal:
                    context.scu_role = context.scp_role = True
                found.append(context)
        return found

    def _handle(self, event: Any, name: str) -> Any:
        answer = self._answer(event, name)
        if answer.after is not None:
            answer.after()
        reply = answer.dataset
        if answer.sop_instance_uid is not None:
            reply = reply or Dataset()
            reply.AffectedSOPInstanceUID = answer.sop_instance_uid
        return answer.status, reply

    def _answer(self, event: Any, name: str) -> ServiceAnswer:
        service = self._services[str(event.context.abstract_syntax)]
        try:
            dataset = getattr(event, name)
            return service.answer(ServiceRequest(self._caller(event.assoc), event.request, dataset))
        except Exception:  # noqa: BLE001 -- the edge of pynetdicom's thread: any answer beats none
            _log.error("service_failed", exc_info=True)
            return ServiceAnswer(PROCESSING_FAILURE)
