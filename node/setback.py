"""Why a delivery did not succeed, and when to try again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from config.settings import RetrySettings
from fhir.errors import PatientNotResolved, PermanentFhirError, TransientFhirError
from node.errors import DeliveryError, TransientDelivery
from node.log_setup import describe_error
from storage.errors import StorageError

_MOST_DOUBLINGS = 32
_LONGEST_WISH_S = 3600.0
"""A receiver that asks for a longer pause is asked again after this, or after `longest_s`."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Setback:
    """A failed try; `code` and `text` are fit for tables and logs."""

    code: str
    text: str
    may_pass: bool
    retry_after_s: float = 0.0


def setback_of(error: Exception) -> Setback:
    """Return what an error means for the delivery that met it."""
    match error:
        case TransientDelivery():
            return Setback(error.code, error.text, True, error.retry_after_s or 0.0)
        case DeliveryError():
            return Setback(error.code, error.text, False)
        case TransientFhirError():
            return Setback(error.code, error.text, True, error.retry_after_s or 0.0)
        case PermanentFhirError():
            return Setback(error.code, error.text, False)
        case PatientNotResolved():
            # The EHR may learn of the patient later: the delivery waits, visibly.
            return Setback(error.code, error.text, True)
        case StorageError():
            return Setback("storage_error", str(error), True)
        case OSError():
            return Setback("file_error", error.strerror or type(error).__name__, True)
        case _:
            log.error("delivery_broke", exc_info=error)
            return Setback("internal_error", describe_error(error), True)


def retry_delay(retry: RetrySettings, attempts: int) -> timedelta:
    """Return how long to wait after `attempts` (at least 1) tries: doubling, bounded."""
    doubled = retry.first_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS)
    return timedelta(seconds=min(doubled, retry.longest_s))


def next_wait(retry: RetrySettings, attempts: int, setback: Setback) -> timedelta:
    """Return the wait before the next try: the own delay, or the receiver's wish, bounded."""
    longest_s = max(retry.longest_s, _LONGEST_WISH_S)
    wish = timedelta(seconds=min(setback.retry_after_s, longest_s))
    return max(retry_delay(retry, attempts), wish)
