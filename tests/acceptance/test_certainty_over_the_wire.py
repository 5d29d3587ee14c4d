"""How certain a model is, and what it looked at, as PACS and EHR get it.

A classifier of X-rays with seeded random weights, and a segmentation whose answer hangs on the
side from which it looks, so that flips disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydicom.dataset import Dataset
from pypdf import PdfReader

from pipelines.objects.encapsulated_pdf import pdf_of
from tests.acceptance.pacs_stand_in import PacsStandIn
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import accept_model, site
from tests.peers.fhir_server import FhirServer
from tests.unit.pipelines.definitions import values
from tests.unit.pipelines.projections import (
    chest,
    flat_classes,
    saved,
    write_flat_classifier,
    x_ray,
)
from tests.unit.pipelines.threshold_bundle import write_bundle
from tests.unit.pipelines.volume_files import write_series

SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": SYSTEM, "value": "PID-1"}],
    "name": [{"family": "Doe"}],
    "birthDate": "1970-01-01",
}
DX_STUDY, MR_STUDY = "2.25.3000", "2.25.2000"

pytestmark = pytest.mark.peer("fhir_server")


@pytest.fixture
def ehr() -> Iterator[FhirServer]:
    with FhirServer() as server:
        server.reset([PATIENT])
        yield server


def write_pipelines(folder: Path) -> dict[str, Any]:
    """Two models with a definition each, accepted; gives the settings' section."""
    classifier = write_flat_classifier(folder / "models" / "tiny")
    levels = write_bundle(folder / "models" / "two_levels", neighbour=(1, 2, 1))
    for model in (classifier, levels):
        accept_model(folder / "data", model)
    definitions = folder / "definitions"
    definitions.mkdir()
    seen = flat_classes(0.01, 0.99, views=["frontal"], values="displayed")
    written = {
        "chest": values(name="chest", **seen, explanation={"method": "gradcam"}),
        "levels": values(name="levels", uncertainty=FLIPS),
    }
    for name, content in written.items():
        (definitions / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return {
        "enabled": list(written),
        "definitions_dir": str(definitions),
        "bundles_dir": str(folder / "models"),
    }


FLIPS = {
    "method": "flips",
    "axes": ["front_back"],
    "review_above": {"entropy": 0.01, "volume_spread": 5.0},
}


def write_studies(folder: Path) -> tuple[Path, Path]:
    """An X-ray study of two views in one series, and an MR study; of one patient."""
    lateral = x_ray(chest(seed=8), 1, ViewPosition="LL", PatientOrientation=["A", "F"])
    saved(lateral, folder / "dx" / "1.dcm")
    saved(x_ray(chest(), 2), folder / "dx" / "2.dcm")
    voxels = np.full((6, 12, 16), 50, np.uint16)
    voxels[1:5, 2:6, 3:8], voxels[2:4, 7:10, 9:13] = 150, 250

    def of_the_patient(image: Dataset, index: int) -> None:
        image.PatientBirthDate, image.PatientSex = "19700101", "F"
        image.AccessionNumber = "A-2"

    write_series(folder / "mr", voxels, edit=of_the_patient)
    return folder / "dx", folder / "mr"


def settings(folder: Path, pacs: PacsStandIn, ehr: FhirServer) -> dict[str, Any]:
    told = site(folder, pacs, pipelines=write_pipelines(folder))
    told["destinations"][0]["objects"] = ["seg", "sr", "pdf", "sc"]
    systems = [{"issuer": "", "system": SYSTEM}]
    told["destinations"][1] = {
        "type": "fhir",
        "name": "ehr",
        "base_url": ehr.base_url,
        "patient_systems": systems,
        "retry": {"first_s": 0.5, "longest_s": 1},
    }
    return told


def items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def numbers(report: Dataset) -> dict[str, list[float]]:
    """Values of an SR's measurements by their code."""
    found: dict[str, list[float]] = {}
    for item in items(report):
        if item.ValueType == "NUM":
            code = str(item.ConceptNameCodeSequence[0].CodeValue)
            value = float(item.MeasuredValueSequence[0].NumericValue)
            found.setdefault(code, []).append(value)
    return found


def text_of(document: Dataset) -> str:
    pages = PdfReader(BytesIO(pdf_of(document))).pages
    return " ".join(page.extract_text() for page in pages)


def of_study(pacs: PacsStandIn, modality: str, study: str) -> list[Dataset]:
    return [one for one in pacs.of_modality(modality) if study == one.StudyInstanceUID]


def observed(ehr: FhirServer, code: str) -> list[dict[str, Any]]:
    return [
        one
        for one in ehr.all("Observation")
        if any(each.get("code") == code for each in one["code"].get("coding", []))
    ]


def delivered(node: RadnodeProcess) -> bool:
    settled = [one["destination"] for one in node.events("delivery_sent")]
    return settled.count("pacs") == 2 and settled.count("ehr") == 2


def test_certainty_uncertainty_and_what_was_looked_at_reach_pacs_and_ehr(
    tmp_path: Path, ehr: FhirServer
) -> None:
    pacs = PacsStandIn()
    told = settings(tmp_path, pacs, ehr)
    with pacs.up(), RadnodeProcess(tmp_path, told) as node:
        for folder in write_studies(tmp_path / "studies"):
            sent = node.run("send", str(folder))
            assert sent.returncode == 0, sent.stderr
        node.wait_until(lambda: delivered(node), what="both results at both peers", timeout_s=120)
        jobs = {job["pipeline_name"]: job for one in node.studies() for job in one["jobs"]}
    _assert_classified(pacs, ehr)
    _assert_uncertain(pacs, ehr, jobs["levels"])


def _assert_classified(pacs: PacsStandIn, ehr: FhirServer) -> None:
    assert of_study(pacs, "SEG", DX_STUDY) == []
    (report,) = of_study(pacs, "SR", DX_STUDY)
    certain = numbers(report)["111012"]
    by_code = {str(item.ConceptNameCodeSequence[0].CodeValue): item for item in items(report)}
    explained = by_code["130401"].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    captures = {str(one.SOPInstanceUID): one for one in of_study(pacs, "OT", DX_STUDY)}
    heat = captures.pop(str(explained))
    assert heat.SourceImageSequence[0].ReferencedSOPInstanceUID == "2.25.3100.2"
    assert (heat.Rows, heat.Columns) == chest().shape
    assert len(captures) == 1
    (document,) = of_study(pacs, "DOC", DX_STUDY)
    assert "Grad-CAM" in text_of(document)
    certainties = observed(ehr, "111012")
    assert sorted(one["valueQuantity"]["value"] for one in certainties) == pytest.approx(
        sorted(certain), rel=1e-3
    )
    found = [one["interpretation"][0]["coding"][0]["code"] for one in certainties]
    assert sorted(found) == ["NEG", "POS"]


def _assert_uncertain(pacs: PacsStandIn, ehr: FhirServer, job: dict[str, Any]) -> None:
    (seg,) = of_study(pacs, "SEG", MR_STUDY)
    (report,) = of_study(pacs, "SR", MR_STUDY)
    assert str(seg.SOPInstanceUID) in str(report)
    told = numbers(report)
    assert min(told["ENTROPY"]) > 0.01
    assert all(
        low <= high for low, high in zip(told["VOLUME-MIN"], told["VOLUME-MAX"], strict=True)
    )
    marks = [
        str(item.ConceptCodeSequence[0].CodeMeaning)
        for item in items(report)
        if item.ConceptNameCodeSequence[0].CodeValue == "REVIEW"
    ]
    assert marks == ["Yes"]
    (document,) = of_study(pacs, "DOC", MR_STUDY)
    assert "entropy" in text_of(document).lower()
    volumes = observed(ehr, "118565006")
    names = [part["code"]["text"] for one in volumes for part in one["component"]]
    assert names.count("Mean entropy of the model's answer") == len(told["ENTROPY"])
    conclusions = " ".join(one["conclusion"] for one in ehr.all("DiagnosticReport"))
    assert "mean entropy" in conclusions
    assert job["reason_code"] == "for_review"
