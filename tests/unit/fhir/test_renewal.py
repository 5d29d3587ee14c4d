from __future__ import annotations

import pytest

from fhir.renewal import names_another


@pytest.mark.parametrize(
    "reference", ["Patient/p1", "Patient/p1/_history/3", "https://ehr/fhir/Patient/p1/_history/p9"]
)
def test_a_version_or_the_servers_base_makes_no_other_patient(reference: str) -> None:
    found = {"subject": {"reference": reference}}
    assert not names_another(found, {"subject": {"reference": "Patient/p1"}})
    assert names_another(found, {"subject": {"reference": "Patient/p2"}})
