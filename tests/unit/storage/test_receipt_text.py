from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from storage.dicom_records import CodedConcept
from storage.receipt_text import ReceiptWriter, read_receipts
from tests.unit.storage.samples import (
    PATIENT,
    incoming,
)


@given(
    text=st.text(max_size=20),
    number=st.none() | st.integers(-(2**31), 2**31),
    code=st.none() | st.builds(CodedConcept, st.text(max_size=5), st.text(), st.text(max_size=9)),
    path=st.text("0123456789./", min_size=1, max_size=30),
)
def test_a_receipt_says_all_that_a_row_needs(
    text: str, number: int | None, code: CodedConcept | None, path: str
) -> None:
    plain = incoming()
    study = replace(
        plain.study,
        study_description=text,
        procedure_code=code,
        patient=replace(PATIENT, patient_name=text),
    )
    series = replace(plain.series, series_number=number, series_description=text)
    odd = plain._replace(study=study, series=series, instance_number=number, path=path)
    writer = ReceiptWriter()
    lines = [writer.line(one) for one in (odd, plain, odd)]
    assert list(read_receipts(b"".join(lines))) == [odd, plain, odd]


def test_many_series_in_turn_keep_their_own_headers() -> None:
    writer = ReceiptWriter()
    sent = [incoming(number, series=f"1.2.{number % 100}") for number in range(300)]
    assert list(read_receipts(b"".join(map(writer.line, sent)))) == sent


@given(cut=st.integers(2, 400), number=st.integers(1, 3))
def test_a_line_that_is_not_whole_is_passed_over(cut: int, number: int) -> None:
    whole = [ReceiptWriter().line(incoming(each)) for each in range(1, number + 1)]
    torn = b"".join(whole) + whole[0][:-cut]
    assert len(list(read_receipts(torn))) == number


def test_a_changed_byte_makes_a_line_worthless() -> None:
    line = ReceiptWriter().line(incoming(1))
    assert not list(read_receipts(line.replace(b"PID-1", b"PID-2")))
