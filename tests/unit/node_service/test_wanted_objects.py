"""What of a result goes to a destination."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from node.wanted_objects import Offer, wanted_objects
from storage.records import ObjectKind, ResultObject
from tests.unit.fhir.finished_jobs import classified


def made(kind: ObjectKind) -> ResultObject:
    path = PurePosixPath(f"results/1/{kind.name.lower()}.dcm")
    return ResultObject(
        kind, "1.2.840.10008.5.1.4.1.1.7", f"2.25.{len(kind)}", "2.25.9", 1, "AI", path, 2, "ab"
    )


@pytest.mark.parametrize(
    ("kinds", "sent"),
    [
        (["seg", "sr"], [ObjectKind.HEAT, ObjectKind.SR]),
        (["sc"], [ObjectKind.SC]),
        (["sr", "sc"], [ObjectKind.HEAT, ObjectKind.SR, ObjectKind.SC]),
    ],
    ids=["report", "picture", "both"],
)
def test_heat_maps_go_where_the_report_goes_that_names_them(
    kinds: list[str], sent: list[ObjectKind]
) -> None:
    objects = tuple(map(made, (ObjectKind.HEAT, ObjectKind.SR, ObjectKind.SC)))
    finished = replace(classified(), objects=objects)
    assert [one.kind for one in wanted_objects(finished, Offer(tuple(kinds)))] == sent


def test_a_report_that_explains_nothing_goes_without_its_heat_maps() -> None:
    objects = tuple(map(made, (ObjectKind.HEAT, ObjectKind.SR)))
    finished = replace(classified(), objects=objects)
    offer = Offer(("sr",), explains=False)
    assert [one.kind for one in wanted_objects(finished, offer)] == [ObjectKind.SR]


def test_key_images_and_outlines_go_only_where_they_are_named() -> None:
    objects = tuple(map(made, (ObjectKind.SEG, ObjectKind.SR, ObjectKind.KOS, ObjectKind.PR)))
    finished = replace(classified(), objects=objects)
    told = [one.kind for one in wanted_objects(finished, Offer(("seg", "sr", "pr")))]
    assert told == [ObjectKind.SEG, ObjectKind.SR, ObjectKind.PR]
