"""SEG and SR of every kind of source before PixelMed's validators, all in one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.pipelines_objects.charset_samples import in_charset_of
from tests.integration.pipelines_objects.further_reports import SOUND, faulty
from tests.integration.pipelines_objects.result_cases import CASES, WITH_SEG, made_result
from tests.peers.pixelmed_checker import pixelmed
from tests.peers.real_images import are_there
from tests.unit.pipelines_objects.key_image_requests import made_key_images
from tests.unit.pipelines_objects.result_requests import label_map

pytestmark = pytest.mark.peer("pixelmed")

SAMPLES = ("chrH32", "chrHbrw", "chrSQEncoding1")
"""One of several bytes a sign, one from right to left, one with sequences in another set."""
KEY_IMAGES = ("two segments", "enhanced", "Japanese name")
Told = Mapping[str, tuple[str, ...]]
NAMES = [
    *(f"{name}: SR" for name in CASES),
    *(f"{name}: SEG" for name in WITH_SEG),
    *(f"{name}: KOS" for name in KEY_IMAGES),
    *SOUND,
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What PixelMed says about each file."""
    paths: dict[str, Path] = {}
    for name, case in CASES.items():
        made = made_result(*case, tmp_path_factory.mktemp("case"))
        paths[f"{name}: SR"] = made.report
        if name in WITH_SEG:
            paths[f"{name}: SEG"] = made.seg
    for name in KEY_IMAGES:
        folder = tmp_path_factory.mktemp("key")
        paths[f"{name}: KOS"], _ = made_key_images(folder, *CASES[name]).written(folder)
    for name in SAMPLES if are_there() else ():
        folder = tmp_path_factory.mktemp("charset")
        source = in_charset_of(name, folder)
        paths[name] = made_result(source, label_map(), folder).report
    for name, make in {**SOUND, "faulty": faulty}.items():
        paths[name] = make(tmp_path_factory.mktemp("further"))
    messages = pixelmed(list(paths.values()))
    return {name: messages[path] for name, path in paths.items()}


@pytest.mark.parametrize("name", NAMES)
def test_pixelmed_has_nothing_to_say(told: Told, name: str) -> None:
    assert told[name] == ()


@pytest.mark.peer("real_images")
@pytest.mark.parametrize("name", SAMPLES)
def test_pixelmed_has_nothing_to_say_in_other_character_sets(told: Told, name: str) -> None:
    assert told[name] == ()


def test_pixelmed_does_find_faults(told: Told) -> None:
    assert any("Content Item not in template" in message for message in told["faulty"])
