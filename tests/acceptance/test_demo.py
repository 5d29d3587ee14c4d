"""The demo as a person starts it: one command, one process tree, one folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread

from node.demo.studies import DATA_DIR
from pipelines.registry import SHIPPED_BUNDLES

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 280
UID = re.compile(r"(?<![\w.])[0-2](?:\.\d+){5,}(?![\w.])")


@dataclass(frozen=True)
class Ran:
    """A finished demo."""

    returncode: int
    told: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return content

    def study(self, title: str) -> dict[str, Any]:
        return next(one for one in self.summary["studies"] if one["title"].startswith(title))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("demo")
    # Settings of another node must not reach the demo's.
    environment = {**os.environ, "RADNODE_NODE__AE_TITLE": "OTHER", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "node", "demo", "--out", str(folder / "out")],
        cwd=folder,
        env={key: value for key, value in environment.items() if key != "COLUMNS"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout + done.stderr, folder / "out")


def test_the_demo_ends_well(ran: Ran) -> None:
    assert ran.returncode == 0, ran.told
    assert ran.summary["shortcomings"] == []


def test_the_right_series_of_five_was_analysed(ran: Ran) -> None:
    brain = ran.study("Brain MR")

    assert brain["series"] == "HippoCrop"
    assert brain["outcome"] == "findings"
    assert brain["series_reason"]


def test_every_held_out_case_is_close_to_what_people_drew(ran: Ran) -> None:
    cases = [one for one in ran.summary["studies"] if one["dice"]]

    assert len(cases) == 4
    for case in cases:
        assert set(case["dice"]) == {"Anterior hippocampus", "Posterior hippocampus"}
        assert min(case["dice"].values()) > 0.75, case


def test_the_dice_through_the_wire_is_the_dice_of_the_model_card(ran: Ran) -> None:
    """The SEG as the PACS got it, voxel by voxel, against what the card says of that case."""
    card = json.loads((SHIPPED_BUNDLES / "hippocampus_mr/docs/evaluation.json").read_text())
    for case in (one for one in ran.summary["studies"] if one["dice"]):
        expected = card["per_case"][f"hippocampus_{case['title'].split()[-1]}"]
        assert case["dice"] == pytest.approx(expected, abs=0.005)


def test_what_cannot_be_analysed_is_refused_with_a_reason(ran: Ran) -> None:
    chest = ran.study("Chest CT")
    gap = next(one for one in ran.summary["studies"] if "a slice missing" in one["title"])

    assert (chest["outcome"], gap["outcome"]) == ("no_pipeline_matches", "missing_slices")
    for one in (chest, gap):
        assert one["reason"]
        assert one["pacs"] == {"SEG": 0, "SR": 0}
        assert one["ehr_reports"] == 0


def test_the_first_study_again_adds_nothing(ran: Ran) -> None:
    repeat = ran.summary["repeat"]

    assert repeat["added_nothing"] is True
    assert repeat["sent"] == 62  # 60 images, and the SEG and the SR that the PACS holds by now


def test_studies_start_on_counts_and_not_on_a_timer(ran: Ran) -> None:
    assert {one["complete_evidence"] for one in ran.summary["studies"]} == {"pacs_counts"}
    assert all(one["seconds"]["complete"] < 5 for one in ran.summary["studies"])


def test_every_result_lies_where_the_demo_says(ran: Ran) -> None:
    for one in ran.summary["studies"]:
        if one["outcome"] != "findings":
            continue
        files = {kind: ran.folder / path for kind, path in one["files"].items()}
        assert dcmread(files["SEG"]).Modality == "SEG"
        assert dcmread(files["SR"]).Modality == "SR"
        assert json.loads(files["FHIR"].read_text())["resourceType"] == "Bundle"
        with Image.open(files["PNG"]) as picture:
            assert min(picture.size) > 100
        assert one["files"]["SEG"] in " ".join(ran.told.split()) or one["number"] > 1


def test_a_terminal_of_80_columns_shows_whole_tables(ran: Ran) -> None:
    table = ran.told[ran.told.index("What was done") : ran.told.index("Results of study")]

    assert max(len(line) for line in table.splitlines()) <= 80
    assert "…" not in table


def test_neither_screen_nor_log_names_a_patient(ran: Ran) -> None:
    log = (ran.folder / "node.log").read_text()
    secrets = {"Dumbledore", "PGBM-003", "A002304", "3083564386975476", "DEMO^", "DEMO-"}

    for text in (ran.told, log):
        assert [secret for secret in secrets if secret in text] == []
    assert UID.findall(log) == []


def test_the_node_left_nothing_running(ran: Ran) -> None:
    processes = [path / "cmdline" for path in Path("/proc").iterdir() if path.name.isdigit()]
    left = [
        command
        for path in processes
        if path.exists() and str(ran.folder) in (command := _read(path))
    ]

    assert left == []


def test_no_data_file_was_touched(ran: Ran) -> None:
    assert ran.returncode == 0
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=DATA_DIR, check=False
    )
    assert checked.returncode == 0


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
