"""Views that one network gets as its channels, and how sure and how checked an answer is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.results
from pipelines.bundle_metadata import read_metadata
from pipelines.definition_proposal import proposed_definition
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle, ProofFailed, RefusalCode
from pipelines.model_check import checked_model
from pipelines.objects.write import write_object
from pipelines.pages import Wanted
from pipelines.registry import RegisteredPipeline, register
from storage.quantities import CERTAINTY, CERTAINTY_HIGHEST
from storage.records import ObjectKind
from tests.integration.pipelines.mammogram_runs import (
    SPOT,
    centre,
    certainties,
    groups,
    heats,
    hot,
    images_of,
    items,
    per_view,
    refused,
    run,
    uid,
)
from tests.peers.dicom_checkers import dciodvfy, tid1500reader
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.mammograms import (
    GRID,
    VIEWS,
    breast,
    classes,
    inputs,
    write_four_views,
    write_mammography,
)

PAGES = Wanted(frozenset({ObjectKind.PDF, ObjectKind.SC}))

ORDER = ("lmlo", "rcc", "rmlo", "lcc")

WEIGHTS = (0.05, 0.2, 0.1, 0.4)


def stacked(tmp_path: Path, *roles: str, **changes: Any) -> RegisteredPipeline:
    if not (tmp_path / "tiny").exists():
        write_four_views(tmp_path / "tiny", ORDER, WEIGHTS)
    told = {**classes(0.6, 0.99), "inputs": inputs(*roles), **changes}
    return register(definition(several_projections="stacked", **told), tmp_path)


def test_stacked_views_stand_in_the_order_of_the_models_channels(tmp_path: Path) -> None:
    """Each view has another weight, so that an exchange of two would show."""
    for number, role in enumerate(VIEWS):
        write_mammography(tmp_path / role / "in", {role: (slice(0, 20), slice(0, 15))})
        registered = stacked(tmp_path, *sorted(VIEWS, key=lambda r: (r != role, r)))
        found = certainties(run(registered, tmp_path / role))
        share = _share_of_bright(role)
        logit = WEIGHTS[ORDER.index(role)] * share * (1500 - 300)
        expected = 100 * np.exp(logit) / (np.exp(logit) + 2)
        assert list(found) == [""]
        assert found[""] == pytest.approx(expected, rel=1e-4), (number, role)


def _share_of_bright(role: str) -> float:
    pixels = breast(role, (slice(0, 20), slice(0, 15))) > 200
    rows = np.floor(np.arange(GRID[1]) * pixels.shape[0] / GRID[1]).astype(int)
    columns = np.floor(np.arange(GRID[0]) * pixels.shape[1] / GRID[0]).astype(int)
    return float(pixels[np.ix_(rows, columns)].mean())


def test_each_stacked_view_gets_a_heat_map_of_what_it_alone_says(tmp_path: Path) -> None:
    spots = {"rcc": SPOT, "lmlo": (slice(25, 32), slice(2, 8))}
    write_mammography(tmp_path / "in", spots)
    result = run(stacked(tmp_path, explanation={}), tmp_path)
    found = heats(result, tmp_path / "out")
    assert set(found) == set(VIEWS)
    for role, spot in spots.items():
        assert np.abs(centre(hot(found[role])) - centre(breast(role, spot) > 200)).max() < 3
    assert not hot(found["rmlo"]).any()
    told = groups(dcmread(tmp_path / "out" / "sr.dcm"))
    assert images_of(told["cyst"], "121112") == [uid(role) for role in ORDER]
    assert len(images_of(told["cyst"], "130401")) == 4


def test_a_missing_view_of_a_stack_is_refused(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    (tmp_path / "in" / "rcc.dcm").unlink()
    assert refused(stacked(tmp_path), tmp_path).code is RefusalCode.MISSING_VIEW


def test_pictures_of_different_size_cannot_be_stacked_without_a_resize(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in")
    bundle = write_four_views(tmp_path / "tiny", ORDER, WEIGHTS)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["preprocessing"]["transforms"][2]
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InvalidBundle, match=r"cannot be stacked \(lmlo 30 x 38, rcc 30 x 40"):
        run(stacked(tmp_path), tmp_path)


def test_a_bundle_that_loads_a_key_for_each_view_puts_them_together_itself(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rcc": SPOT})
    plain = certainties(run(stacked(tmp_path), tmp_path))
    bundle = write_four_views(tmp_path / "keys" / "tiny", ORDER, WEIGHTS)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for step in config["preprocessing"]["transforms"]:
        step["keys"] = list(reversed(ORDER))  # a key gets the view of its name all the same
    concat = {"_target_": "ConcatItemsd", "keys": list(ORDER), "name": "image", "dim": 0}
    config["preprocessing"]["transforms"].append(concat)
    path.write_text(json.dumps(config), encoding="utf-8")
    meta = bundle / "configs" / "metadata.json"
    told = json.loads(meta.read_text(encoding="utf-8"))
    told["network_data_format"]["inputs"] = {role: {"num_channels": 1} for role in ORDER}
    meta.write_text(json.dumps(told), encoding="utf-8")
    registered = stacked(tmp_path / "keys", explanation={})
    result = run(registered, tmp_path, "keys_out")
    assert certainties(result) == plain
    found = heats(result, tmp_path / "keys_out")
    assert np.abs(centre(hot(found["rcc"])) - centre(breast("rcc", SPOT) > 200)).max() < 3


def test_flips_tell_how_sure_each_view_and_each_breast_is(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    how = {"method": "flips", "axes": ["down"]}
    result = run(per_view(tmp_path, uncertainty=how), tmp_path)
    highest = [m.value for m in result.measurements if m.quantity == CERTAINTY_HIGHEST]
    assert len(highest) == 14
    assert highest[:7] == pytest.approx(list(certainties(result).values()))


def test_a_report_that_names_another_view_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchanged(dataset: Dataset, path: Path) -> tuple[int, str]:
        for item in items(dataset):
            if item.ConceptNameCodeSequence[0].CodeValue == "121112":
                item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = uid("lcc")
        return write_object(dataset, path)

    write_mammography(tmp_path / "in")
    monkeypatch.setattr(pipelines.results, "write_object", exchanged)
    with pytest.raises(ProofFailed, match="other images for a class"):
        run(per_view(tmp_path), tmp_path)


def test_the_same_job_writes_the_same_bytes(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    registered = per_view(tmp_path, explanation={})
    one, other = (run(registered, tmp_path, out, PAGES) for out in ("one", "two"))
    assert [made.sha256 for made in one.objects] == [made.sha256 for made in other.objects]


def test_a_check_runs_all_views_and_tells_of_the_map(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    checked = checked_model(per_view(tmp_path), tmp_path / "in", "cpu")
    assert (checked.failure, checked.network_shape) == ("", (1, *GRID))
    checked = checked_model(stacked(tmp_path / "all"), tmp_path / "in", "cpu")
    assert (checked.failure, checked.network_shape) == ("", (4, *GRID))
    assert "Occlusion sensitivity" in checked.explanation


def test_a_proposal_for_four_views_tells_them_apart_and_runs(tmp_path: Path) -> None:
    bundle = write_four_views(tmp_path / "tiny", ORDER, WEIGHTS)
    told = read_metadata(bundle / "configs" / "metadata.json")
    values = proposed_definition("mine", "tiny", told)
    assert {role: one["laterality"] for role, one in values["inputs"].items()} == {
        role: VIEWS[role][0] for role in ORDER
    }
    write_mammography(tmp_path / "in", {"rcc": SPOT})
    proposal = PipelineDefinition.model_validate(values)
    result = run(register(proposal, tmp_path), tmp_path)
    assert len([m for m in result.measurements if m.quantity == CERTAINTY]) == 3


@pytest.mark.peer("dicom3tools")
def test_dciodvfy_has_nothing_to_say_about_report_pictures_and_pages(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    result = run(per_view(tmp_path, explanation={}), tmp_path, wanted=PAGES)
    assert {made.kind for made in result.objects} == {
        ObjectKind.SR,
        ObjectKind.PDF,
        ObjectKind.SC,
        ObjectKind.HEAT,
    }
    for made in result.objects:
        told = dciodvfy(tmp_path / "out" / made.path)
        assert [one for one in told if "<99RADNODE>" not in one] == [], made.path.name


@pytest.mark.peer("dcmqi")
def test_another_program_reads_every_group_with_its_side(tmp_path: Path) -> None:
    write_mammography(tmp_path / "in", {"rmlo": SPOT})
    run(per_view(tmp_path), tmp_path)
    read = tid1500reader(tmp_path / "out" / "sr.dcm", tmp_path)["Measurements"]
    sides = {
        one["TrackingIdentifier"]: one.get("Laterality", {}).get("CodeMeaning") for one in read
    }
    assert len(sides) == 14
    assert (sides["cyst"], sides["cyst right"], sides["mass LMLO"]) == (None, "Right", "Left")
