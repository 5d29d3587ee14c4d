"""The page that compares our Bundle with one that others expect tells what this code writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.fhir.ehr import patient
from tests.integration.fhir.reference_comparison import ours, page, theirs
from tests.peers.fhir_server import FhirServer

PAGE = Path(__file__).parents[3] / "docs" / "reference_comparison.md"

pytestmark = pytest.mark.peer("real_images")


def test_the_page_is_what_both_bundles_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "write it anew: python -m tests.integration.fhir.reference_comparison > "
        "docs/reference_comparison.md, and judge every line that changed"
    )


@pytest.mark.peer("fhir_server")
def test_ours_is_r4_and_the_reference_is_not(server: FhirServer) -> None:
    server.reset([patient(), {**patient(), "resourceType": "Patient", "id": "1"}])
    errors = {
        name: [
            error
            for entry in bundle["entry"]
            for error in server.errors_of(entry["resource"])
            if not error["diagnostics"].startswith("Invalid reference")
        ]
        for name, bundle in {"ours": ours(), "theirs": theirs()}.items()
    }
    assert errors["ours"] == []
    assert errors["theirs"] != []
