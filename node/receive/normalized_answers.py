"""Statuses of DIMSE-N responses (PS3.7 C), and what errors of a request become."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from node.receive.instance_references import InvalidReference
from node.receive.services import ServiceAnswer
from storage.errors import StorageError

INVALID_ATTRIBUTE_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_EVENT_TYPE = 0x0113
MISSING_ATTRIBUTE = 0x0120
NO_SUCH_ACTION = 0x0123
UNRECOGNIZED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213

_log = structlog.get_logger()


def answered(service: str, act: Callable[[], ServiceAnswer]) -> ServiceAnswer:
    """Return what `act` answers, or the status of the error that it met."""
    try:
        return act()
    except InvalidReference as error:
        _log.warning("message_refused", service=service, reason=str(error))
        return ServiceAnswer(INVALID_ATTRIBUTE_VALUE)
    except StorageError as error:
        _log.error("message_not_kept", service=service, reason=type(error).__name__)
        return ServiceAnswer(RESOURCE_LIMITATION)
