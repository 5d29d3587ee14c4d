"""A model on the command line: looked at, accepted, run; changed, and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.unit.pipelines.definitions import write_definition
from tests.unit.pipelines.threshold_bundle import metadata, write_bundle, write_json
from tests.unit.pipelines.volume_files import write_series


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site whose models folder holds one bundle that leaves a mark when it is loaded."""
    bundle = write_bundle(
        tmp_path / "models" / "two_levels",
        preprocessing=[
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {
                "_target_": "EnsureTyped",
                "keys": "image",
                "dtype": f"$(open({str(tmp_path / 'loaded')!r}, 'w').close(), torch.float32)[1]",
            },
        ],
    )
    write_json(bundle / "configs" / "metadata.json", metadata(c0="background", c1="liver", c2="x"))
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    write_definition(definitions)
    stored = np.full((8, 16, 20), 50, dtype=np.uint16)
    stored[1:6, 2:9, 3:8] = 150
    stored[5:7, 4:12, 10:16] = 250
    write_series(tmp_path / "study", stored)
    settings = {
        "node": {"data_dir": "data"},
        "pipelines": {
            "enabled": ["two_levels"],
            "bundles_dir": "models",
            "definitions_dir": "definitions",
        },
        "worker": {"device": "cpu"},
    }
    (tmp_path / "node.yaml").write_text(json.dumps(settings))
    return tmp_path


def radnode(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RADNODE_CONFIG": str(site / "node.yaml"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "node", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_a_model_is_looked_at_accepted_run_and_stopped_when_it_changes(site: Path) -> None:
    study = str(site / "study")

    looked = radnode(site, "model", "check", "two_levels", study)
    assert looked.returncode == 0, looked.stderr
    assert "10200004 SCT Liver" in looked.stdout
    assert "no proposal" in looked.stdout
    assert "not tried" in looked.stdout
    refused = radnode(site, "run", "two_levels", study, "--out", str(site / "out"))
    assert (refused.returncode, "not accepted yet" in refused.stderr) == (2, True)
    assert not (site / "loaded").exists()

    untested = radnode(site, "model", "accept", "two_levels")
    assert (untested.returncode, "--despite-left-right" in untested.stderr) == (2, True)
    accepted = radnode(site, "model", "accept", "two_levels", study)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert "left/right   passed" in accepted.stdout
    assert "left/right passed" in radnode(site, "model", "list").stdout

    ran = radnode(site, "run", "two_levels", study, "--out", str(site / "out"), "--json")
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert [made["kind"] for made in result["objects"]] == ["SEG", "SR"]
    assert dcmread(result["objects"][0]["path"]).Modality == "SEG"
    assert [m["value"] for m in result["measurements"]] == pytest.approx([0.175, 0.096])

    config = site / "models" / "two_levels" / "configs" / "inference.json"
    config.write_text(config.read_text() + " ")
    changed = radnode(site, "run", "two_levels", study, "--out", str(site / "again"))
    assert changed.returncode == 2
    assert "configs/inference.json changed since it was accepted" in changed.stderr


def test_a_proposed_definition_is_written_once_and_runs(site: Path) -> None:
    path = site / "proposed.yaml"
    arguments = ("model", "check", str(site / "models" / "two_levels"))
    written = radnode(site, *arguments, "--write-definition", str(path))
    assert written.returncode == 0, written.stderr
    again = radnode(site, *arguments, "--write-definition", str(path))
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    path.write_text(path.read_text().replace("equals: CT", "equals: MR"))
    settings = json.loads((site / "node.yaml").read_text())
    settings["node"]["name"] = "reading-room"
    settings["worker"]["extra_objects"] = ["PDF", "SC"]
    (site / "node.yaml").write_text(json.dumps(settings))
    ran = radnode(site, "run", str(path), str(site / "study"), "--out", str(site / "out"))
    assert ran.returncode == 0, ran.stderr
    assert "liver" in ran.stdout
    made = sorted(dcmread(path).Modality for path in (site / "out").glob("*.dcm"))
    assert made == ["DOC", "OT", "SEG", "SR"]
    assert dcmread(site / "out" / "sr.dcm").DeviceSerialNumber == "reading-room"
