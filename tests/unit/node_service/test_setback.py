from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import RetrySettings
from fhir.errors import (
    PatientNotResolved,
    PatientProblem,
    PermanentFhirError,
    TransientFhirError,
)
from node.errors import PermanentDelivery, TransientDelivery
from node.setback import Setback, next_wait, retry_delay, setback_of
from storage.errors import DatabaseUnavailable


@pytest.mark.parametrize(
    ("error", "setback"),
    [
        (TransientDelivery("no_connection", "refused"), Setback("no_connection", "refused", True)),
        (PermanentDelivery("no_context", "SEG"), Setback("no_context", "SEG", False)),
        (TransientFhirError("http_503", "busy", 120.0), Setback("http_503", "busy", True, 120.0)),
        (TransientFhirError("timeout", "no answer"), Setback("timeout", "no answer", True)),
        (PermanentFhirError("http_422", "invalid"), Setback("http_422", "invalid", False)),
        (
            PatientNotResolved(PatientProblem.PATIENT_NOT_FOUND, "no match"),
            Setback("patient_not_found", "no match", True),
        ),
        (DatabaseUnavailable("locked"), Setback("storage_error", "locked", True)),
        (
            PermissionError(13, "Permission denied"),
            Setback("file_error", "Permission denied", True),
        ),
    ],
)
def test_an_error_becomes_a_code_a_text_and_whether_it_may_pass(
    error: Exception, setback: Setback
) -> None:
    assert setback_of(error) == setback


def test_an_unforeseen_error_waits_visibly_and_keeps_its_text_to_itself() -> None:
    setback = setback_of(ValueError("Doe^Jane"))

    assert (setback.code, setback.may_pass) == ("internal_error", True)
    assert "Doe" not in setback.text


def test_the_delay_doubles_from_the_first_to_the_longest() -> None:
    retry = RetrySettings(first_s=30, longest_s=600)

    delays = [retry_delay(retry, attempts).total_seconds() for attempts in range(1, 8)]

    assert delays == [30, 60, 120, 240, 480, 600, 600]


@given(
    first_s=st.floats(0.1, 1e4),
    factor=st.floats(1, 1e4),
    attempts=st.integers(1, 1_000_000),
)
def test_the_delay_never_shrinks_and_stays_between_first_and_longest(
    first_s: float, factor: float, attempts: int
) -> None:
    retry = RetrySettings(first_s=first_s, longest_s=first_s * factor)

    delay_s = retry_delay(retry, attempts).total_seconds()

    assert delay_s <= retry_delay(retry, attempts + 1).total_seconds()
    assert first_s - 1e-6 <= delay_s <= retry.longest_s + 1e-6


@given(
    longest_s=st.floats(30, 1e5),
    attempts=st.integers(1, 100),
    wish_s=st.floats(0, allow_infinity=True, allow_nan=False),
)
def test_a_receivers_wish_is_granted_up_to_an_hour_or_the_longest_delay(
    longest_s: float, attempts: int, wish_s: float
) -> None:
    retry = RetrySettings(first_s=30, longest_s=longest_s)

    wait_s = next_wait(retry, attempts, Setback("c", "t", True, wish_s)).total_seconds()

    own_s = retry_delay(retry, attempts).total_seconds()
    expected_s = max(own_s, min(wish_s, max(longest_s, 3600.0)))
    assert wait_s == pytest.approx(expected_s, abs=1e-5)
