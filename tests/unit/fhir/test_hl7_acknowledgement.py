from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.errors import FhirError, PermanentFhirError, TransientFhirError
from fhir.hl7_acknowledgement import check_acknowledgement

MSH = "MSH|^~\\&|RIS|HOSP|RADNODE||20250304||ACK^R01^ACK|1|P|2.5.1\r"


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_an_acceptance_of_the_message_is_returned(code: str) -> None:
    assert check_acknowledgement(f"{MSH}MSA|{code}|ID1\r", "ID1") == code


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
def test_a_refusal_is_for_good_and_tells_the_error_code_alone(code: str) -> None:
    answer = f"{MSH}MSA|{code}|ID1|MUELLER is unknown\rERR||PID^1^5|103^Table value|E\r"
    with pytest.raises(PermanentFhirError) as caught:
        check_acknowledgement(answer, "ID1")
    assert caught.value.code == f"ack_{code.lower()}"
    assert caught.value.text == f"the receiver answered {code}, error code 103"


@pytest.mark.parametrize("error", ["206^Application record locked", "207"])
def test_a_receiver_that_cannot_now_is_asked_again(error: str) -> None:
    with pytest.raises(TransientFhirError) as caught:
        check_acknowledgement(f"{MSH}MSA|AE|ID1\rERR|||{error}|E\r", "ID1")
    assert caught.value.code == "ack_ae"


def test_an_error_code_that_is_a_sentence_is_not_repeated() -> None:
    answer = f"{MSH}MSA|AE|ID1\rERR|||MUELLER ANNA is unknown|E\r"
    with pytest.raises(PermanentFhirError) as caught:
        check_acknowledgement(answer, "ID1")
    assert caught.value.text == "the receiver answered AE"


def test_other_separators_and_line_feeds_are_read_as_well() -> None:
    assert check_acknowledgement("MSH#*~\\&#RIS\r\nMSA#AA#ID1\r\n", "ID1") == "AA"


def test_an_answer_to_another_message_counts_for_nothing() -> None:
    with pytest.raises(TransientFhirError, match="another message"):
        check_acknowledgement(f"{MSH}MSA|AA|ID2\r", "ID1")


@pytest.mark.parametrize("answer", ["", "HTTP/1.1 400 Bad Request", MSH, f"{MSH}MSA|XX|ID1\r"])
def test_what_is_no_acknowledgement_waits(answer: str) -> None:
    with pytest.raises(TransientFhirError, match="no HL7 acknowledgement"):
        check_acknowledgement(answer, "ID1")


@given(st.text(max_size=80))
def test_a_refusal_repeats_nothing_that_could_name_a_person(told: str) -> None:
    answer = f"{MSH}MSA|AE|ID1|{told}\rERR|{told}|{told}|{told}|E|{told}\r"
    with pytest.raises(FhirError) as caught:
        check_acknowledgement(answer, "ID1")
    assert re.fullmatch(
        r"the receiver answered AE(, error code [0-9A-Za-z]{1,10})?|.*another message.*",
        caught.value.text,
    )
