"""Pictures that a report refers to go with it, whatever else a destination wants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from node.wanted_objects import wanted_objects
from pipelines.results import HEAT_FILES, SC_FILE
from storage.records import FinishedJob, ObjectKind
from tests.unit.fhir.finished_jobs import with_findings


def _finished() -> FinishedJob:
    finished = with_findings()
    template = finished.objects[0]
    names = {
        "seg.dcm": ObjectKind.SEG,
        HEAT_FILES.replace("*", "01"): ObjectKind.HEAT,
        "sr.dcm": ObjectKind.SR,
        SC_FILE: ObjectKind.SC,
    }
    objects = (
        replace(template, kind=kind, path=PurePosixPath("results/7") / name)
        for name, kind in names.items()
    )
    return replace(finished, objects=tuple(objects))


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        (("seg", "sr"), ["seg.dcm", "heat-01.dcm", "sr.dcm"]),
        (("sr",), ["heat-01.dcm", "sr.dcm"]),
        (("seg",), ["seg.dcm"]),
        (("sc",), ["capture.dcm"]),
        (("heat",), ["heat-01.dcm"]),
        ((), []),
    ],
    ids=["usual", "report", "segmentation", "pictures", "maps", "nothing"],
)
def test_heat_maps_go_where_the_report_goes(kinds: tuple[str, ...], names: list[str]) -> None:
    assert [made.path.name for made in wanted_objects(_finished(), kinds)] == names
