from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Hl7Destination, PatientAuthority
from fhir.bundle import finished_at
from fhir.clean_text import clean
from fhir.errors import PatientNotResolved, PermanentFhirError
from fhir.hl7_report import OruMessage, build_oru
from fhir.hl7_text import text
from storage.dicom_records import CodedConcept, PatientIdentity
from storage.records import FinishedJob, JobState
from tests.peers.mllp import strictly_parsed
from tests.unit.fhir.finished_jobs import (
    PATIENT,
    STUDY_UID,
    classified,
    for_review,
    measurement,
    of_patient,
    of_study,
    that_no_pipeline_took,
    with_findings,
    without_findings,
    without_result,
)


def destination(**changes: Any) -> Hl7Destination:
    place = {"type": "hl7", "name": "ris", "host": "127.0.0.1", "port": 2575}
    return Hl7Destination.model_validate(place | changes)


def oru(finished: FinishedJob | None = None, **changes: Any) -> OruMessage:
    job = finished or with_findings()
    return build_oru(
        job, destination=destination(**changes), timezone="UTC", issued=finished_at(job)
    )


def parsed(finished: FinishedJob | None = None, **changes: Any) -> Any:
    return hl7.parse(oru(finished, **changes).content)


def observations(message: Any) -> list[Any]:
    return list(message.segments("OBX"))


def test_the_message_is_a_valid_oru_of_version_2_5_1() -> None:
    read = strictly_parsed(oru().content)

    assert read.name == "ORU_R01"
    assert read.msh.msh_12.value == "2.5.1"
    assert len(read.oru_r01_patient_result.oru_r01_order_observation.oru_r01_observation) == 5


def test_a_message_without_findings_is_valid_too_and_holds_no_number() -> None:
    message = oru(without_findings()).content

    strictly_parsed(message)
    assert "|NM|" not in message
    assert [str(each[5]) for each in observations(hl7.parse(message))[2:4]] == ["not detected"] * 2


def test_a_volume_stands_with_code_structure_unit_and_the_status_preliminary() -> None:
    volume = observations(parsed())[2]

    assert str(volume[2]) == "NM"
    assert str(volume[3]) == "118565006^Anterior hippocampus, Volume^SCT"
    assert str(volume[4]) == "Anterior hippocampus"
    assert float(str(volume[5])) == 1.523
    assert str(volume[6]) == "mL^milliliter^UCUM"
    assert str(volume[11]) == "P"


def test_the_reader_is_told_first_that_nobody_has_reviewed_it() -> None:
    first = observations(parsed())[0]
    assert str(first[5]) == "AI-generated, not reviewed by a physician."


def test_the_order_is_named_by_accession_number_and_is_preliminary() -> None:
    request = parsed().segment("OBR")
    assert str(request[18]) == "ACC-0815"
    assert str(request[25]) == "P"
    assert str(request[7]) == "20250304101530+0100"


def test_the_study_is_named_by_its_uid() -> None:
    last = observations(parsed())[-1]
    assert (str(last[3]), str(last[5])) == ("113014^DICOM Study^DCM", STUDY_UID)


def test_the_studys_own_procedure_code_goes_before_the_sites_default() -> None:
    coded = of_study(with_findings(), procedure_code=CodedConcept("MRHEAD", "L", "MR head"))
    assert str(parsed(coded).segment("OBR")[4]) == "MRHEAD^MR head^L"
    assert str(parsed().segment("OBR")[4]) == "18748-4^Diagnostic imaging study^LN"


def test_the_patient_is_identified_as_the_images_say() -> None:
    patient = parsed().segment("PID")
    assert str(patient[3]) == "MRN-4711^^^HOSPITAL^MR"
    assert str(patient[5]) == "MÜLLER^ANNA MARIA^^^^^^A"
    assert (str(patient[7]), str(patient[8])) == ("19610517", "F")


def test_prefix_and_suffix_change_places_and_each_writing_of_the_name_is_marked() -> None:
    name = "Yamada^Tarou^M^Dr^Jr=山田^太郎=やまだ^たろう"
    patient = parsed(of_patient(replace(PATIENT, patient_name=name))).segment("PID")
    assert str(patient[5]) == ("Yamada^Tarou^M^Jr^Dr^^^A~山田^太郎^^^^^^I~やまだ^たろう^^^^^^P")


@pytest.mark.parametrize("name", ["", "^^^^", "=="])
def test_a_patient_without_a_name_has_one_that_says_so(name: str) -> None:
    message = oru(of_patient(replace(PATIENT, patient_name=name))).content

    strictly_parsed(message)
    assert str(hl7.parse(message).segment("PID")[5]) == "~^^^^^^U"


def test_a_birth_date_that_is_no_day_is_left_out() -> None:
    patient = parsed(of_patient(replace(PATIENT, birth_date="19431399"))).segment("PID")
    assert str(patient[7]) == ""


def test_years_have_four_digits_whatever_stands_for_no_date() -> None:
    request = parsed(of_study(with_findings(), study_date="00010101")).segment("OBR")
    assert str(request[7]) == "00010101101530+0100"


def test_the_issuer_becomes_the_assigning_authority_of_the_settings() -> None:
    listed = [PatientAuthority(issuer="HOSPITAL", namespace="UKX", oid="1.2.276.0.76")]
    patient = parsed(patient_authorities=listed).segment("PID")
    assert str(patient[3]) == "MRN-4711^^^UKX&1.2.276.0.76&ISO^MR"


def test_a_number_of_an_unlisted_issuer_is_sent_to_nobody() -> None:
    listed = [PatientAuthority(issuer="", namespace="UKX")]
    with pytest.raises(PatientNotResolved) as caught:
        oru(patient_authorities=listed)
    assert caught.value.code == "no_identifier_system"


@pytest.mark.parametrize("number", ["", "   ", "\x00"], ids=["empty", "blank", "control"])
def test_a_study_without_patient_id_is_sent_to_nobody(number: str) -> None:
    with pytest.raises(PatientNotResolved) as caught:
        oru(of_patient(PatientIdentity(patient_id=number)))
    assert caught.value.code == "patient_id_missing"


def test_the_same_job_is_the_same_message_and_another_input_another() -> None:
    job = with_findings()
    other = replace(job, job=replace(job.job, input_digest="ef" * 32))

    assert oru(job) == oru(job)
    assert oru(job).control_id != oru(other).control_id
    assert len(oru(job).control_id) == 20


def test_a_later_result_of_the_same_analysis_keeps_our_order_number() -> None:
    job = with_findings()
    later = replace(job, job=replace(job.job, input_digest="ef" * 32))
    assert str(parsed(job).segment("OBR")[3]) == str(parsed(later).segment("OBR")[3])


def test_structures_whose_names_are_cut_alike_are_numbered() -> None:
    names = ("Left superior frontal gyrus part one", "Left superior frontal gyrus part two")
    found = tuple(measurement(name, number) for number, name in enumerate(names, start=1))
    message = parsed(replace(with_findings(), measurements=found))
    assert [str(each[4]) for each in observations(message)[2:4]] == ["1", "2"]


def test_a_value_that_is_no_number_cannot_be_told() -> None:
    broken = replace(with_findings(), measurements=(measurement(value=float("nan")),))
    with pytest.raises(PermanentFhirError):
        oru(broken)


def test_a_hostile_header_adds_neither_field_nor_segment() -> None:
    hostile = replace(PATIENT, patient_name="X|Y\rOBX|9|NM|evil~Z&\\F\\^A|B\x1c\r")
    message = oru(of_patient(hostile)).content

    strictly_parsed(message)
    assert [line[:3] for line in message.split("\r")] == [
        "MSH", "PID", "ORC", "OBR", "OBX", "OBX", "OBX", "OBX", "OBX", "",
    ]  # fmt: skip
    assert "\x1c" not in message
    assert str(hl7.parse(message).segment("PID")[7]) == "19610517"


@given(st.text(max_size=60))
def test_any_text_comes_back_as_it_was_but_for_white_space(value: str) -> None:
    encoded = text(value)
    message = hl7.parse(f"MSH|^~\\&|x\rNTE|{encoded}|end\r")

    assert str(message.segment("NTE")[2]) == "end"
    assert message.unescape(encoded) == " ".join((clean(value) or "").split())


@pytest.mark.parametrize(
    "finished", [without_result(), that_no_pipeline_took()], ids=["not processed", "no pipeline"]
)
def test_a_job_without_a_result_is_an_oru_of_status_x_with_its_reason(
    finished: FinishedJob,
) -> None:
    message = oru(finished).content
    strictly_parsed(message)
    read = hl7.parse(message)

    assert str(read.segment("OBR")[25]) == "X"
    assert {str(each[11]) for each in observations(read)} == {"X"}
    assert {str(each[18]) for each in observations(read)} == {""}
    assert finished.job.reason_code in str(observations(read)[1][5])


def test_a_job_that_is_done_again_is_told_in_a_message_that_is_no_repeat() -> None:
    ids = {oru(each).control_id for each in (without_result(JobState.FAILED), with_findings())}
    fillers = {
        str(parsed(each).segment("OBR")[3])
        for each in (without_result(JobState.FAILED), with_findings())
    }
    assert (len(ids), len(fillers)) == (2, 1)


def test_a_withdrawal_marks_every_observation_of_the_same_order_as_wrong() -> None:
    done = with_findings()
    taken_back = replace(done, withdrawn_at=finished_at(done) + timedelta(hours=2))
    strictly_parsed(oru(taken_back).content)
    read = parsed(taken_back)

    assert str(read.segment("OBR")[3]) == str(parsed(done).segment("OBR")[3])
    assert str(read.segment("OBR")[25]) == "C"
    assert {str(each[11]) for each in observations(read)} == {"W"}
    assert str(observations(read)[0][5]).startswith("Withdrawn:")
    assert oru(taken_back).control_id != oru(done).control_id
    assert oru(taken_back) == oru(taken_back)


def test_a_result_for_review_says_so_and_how_sure_it_is() -> None:
    message = parsed(for_review(with_findings(), "wide"))
    texts = [str(each[5]) for each in observations(message)]
    assert any("Marked for review: wide." in each for each in texts)
    numbers = [str(each[5]) for each in observations(message) if str(each[2]) == "NM"]
    assert numbers[1:4] == ["0.4", "1.25", "1.75"]


def test_certainties_of_classes_are_numbers_whether_found_or_not() -> None:
    message = parsed(classified())
    numbers = [str(each[5]) for each in observations(message) if str(each[2]) == "NM"]
    assert numbers == ["81.25", "40", "2", "40"]


def test_long_reasons_go_in_lines_that_receivers_take_and_nothing_is_lost() -> None:
    said = "image: series 9f0: SeriesDescription 'localizer' | " * 20 + "&" * 500
    told = without_result(text=said)

    strictly_parsed(oru(told).content)
    rows = [each for each in observations(parsed(told)) if str(each[2]) == "TX"]
    assert [str(each[4]) for each in rows] == [str(n + 1) for n in range(len(rows))]
    assert all(len(str(each[5])) <= 199 for each in rows)
    joined = "".join(str(each[5]) for each in rows).replace("\\F\\", "|").replace("\\T\\", "&")
    assert joined.replace(" ", "").count("".join(said.split())) == 1


def test_the_conclusion_about_many_structures_is_read_by_a_strict_receiver() -> None:
    found = tuple(measurement(f"Structure {number}", number) for number in range(1, 20))
    strictly_parsed(oru(replace(with_findings(), measurements=found)).content)
