"""A job makes what any of its destinations wants, and what could stand in for a segmentation."""

from __future__ import annotations

from typing import Any

import pytest

from config.settings import Settings
from node.extra_objects import extra_objects
from storage.records import ObjectKind

PACS = {"type": "dicom", "name": "pacs", "host": "pacs", "port": 104, "ae_title": "PACS"}
WEB = {"type": "stow", "name": "web", "url": "https://pacs.example/dicom-web"}
RIS = {"type": "hl7", "name": "ris", "host": "ris", "port": 2575}
EHR = {"type": "fhir", "name": "ehr", "base_url": "https://ehr.example/fhir"}
PDF, SC, KOS, PR = ObjectKind.PDF, ObjectKind.SC, ObjectKind.KOS, ObjectKind.PR
PM = ObjectKind.PM


@pytest.mark.parametrize(
    ("destinations", "made"),
    [
        ([EHR, RIS], set()),
        ([PACS], {PDF, SC}),
        ([{**PACS, "fallback": []}], set()),
        ([{**PACS, "fallback": ["sc"]}], {SC}),
        ([{**PACS, "fallback": [], "objects": ["seg", "pdf"]}], {PDF}),
        ([{**PACS, "fallback": []}, {**WEB, "fallback": [], "objects": ["sc"]}], {SC}),
        ([{**PACS, "fallback": ["pr"], "objects": ["seg", "kos"]}], {KOS, PR}),
        ([{**PACS, "fallback": [], "objects": ["sr", "pm"]}], {PM}),
        ([{**RIS, "include_pdf": True}], {PDF}),
    ],
    ids=["none", "default", "off", "only_sc", "pdf", "union", "key images", "values", "ris"],
)
def test_the_union_of_what_they_want_is_made(
    destinations: list[dict[str, Any]], made: set[ObjectKind]
) -> None:
    settings = Settings.model_validate({"destinations": destinations})
    assert extra_objects(settings) == made


def test_only_the_destinations_of_the_job_count() -> None:
    settings = Settings.model_validate({"destinations": [PACS, EHR]})
    assert extra_objects(settings, ("ehr",)) == set()
    assert extra_objects(settings, ("ehr", "pacs")) == {PDF, SC}


def test_what_the_site_always_wants_is_always_made() -> None:
    values = {"destinations": [EHR], "worker": {"extra_objects": ["PDF"]}}
    assert extra_objects(Settings.model_validate(values), ("ehr",)) == {PDF}
