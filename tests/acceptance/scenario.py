"""What the acceptance tests share: settings of a small site, and what one whole result is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.acceptance import AcceptedModel, record_acceptance
from pipelines.model_source import model_files
from pipelines.registry import SHIPPED_BUNDLES, digest_of
from tests.acceptance.pacs_stand_in import AE_TITLE, PacsStandIn
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.small_study import SmallStudy

SLOW_S = 3.0
"""How long the slow bundle thinks, beside its work."""


def site(folder: Path, pacs: PacsStandIn, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a node between one PACS and a folder for reports, in a hurry."""
    retry = {"first_s": 0.5, "longest_s": 1}
    pacs_address = {"host": "127.0.0.1", "port": pacs.port, "ae_title": AE_TITLE}
    return {
        "node": {"data_dir": str(folder / "data")},
        "storage": {"disk_low_mib": 16},
        "receive": {"port": 0, "senders": [{"ae_title": AE_TITLE}]},
        "completeness": {"quiet_time_s": 1, "quiet_time_after_abort_s": 2},
        "worker": {"poll_interval_s": 0.2, "cpu_threads": 2, "device": "cpu"},
        "destinations": [
            {"type": "dicom", "name": "pacs", **pacs_address, "retry": retry},
            {"type": "folder", "name": "ehr", "folder": str(folder / "ehr"), "retry": retry},
        ],
        **sections,
    }


def slow_bundle(folder: Path) -> tuple[Path, Path]:
    """A copy of the shipped bundle that rests before its work, and the file that tells when.

    The program knows nothing of it: the rest is a step of the bundle's own preprocessing.
    """
    bundles, marker = folder / "bundles", folder / "in_inference"
    shutil.copytree(SHIPPED_BUNDLES, bundles)
    path = bundles / "hippocampus_mr" / "configs" / "inference.json"
    config = json.loads(path.read_text())
    rest = (
        f"$lambda image: (__import__('pathlib').Path({str(marker)!r}).touch(), "
        f"__import__('time').sleep({SLOW_S}), image)[-1]"
    )
    config["preprocessing"]["transforms"].append(
        {"_target_": "Lambdad", "keys": "image", "func": rest}
    )
    path.write_text(json.dumps(config))
    accept_model(folder / "data", bundles / "hippocampus_mr")
    return bundles, marker


def accept_model(data_dir: Path, model: Path) -> None:
    """Put on record what `radnode model accept` would, without trying the model."""
    files = model_files(model)
    accepted = AcceptedModel(model.name, digest_of(files), files, "2026-01-01", "test", "not run")
    record_acceptance(data_dir, accepted)


def wait_for_report(node: RadnodeProcess, folder: Path) -> dict[str, Any]:
    """Wait until the report, which is delivered last, is there; return it."""
    node.wait_until(lambda: list((folder / "ehr").glob("report-*.json")), what="the report")
    node.wait_until(
        lambda: any(event.get("destination") == "ehr" for event in node.events("delivery_sent")),
        what="the last delivery",
    )
    (path,) = (folder / "ehr").glob("report-*.json")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def assert_one_whole_result(node: RadnodeProcess, pacs: PacsStandIn, study: SmallStudy) -> None:
    """One SEG on every slice, one SR on that SEG, one job, every delivery settled."""
    (seg,) = pacs.of_modality("SEG")
    (report,) = pacs.of_modality("SR")
    assert len(pacs.datasets) == 2
    assert {seg.StudyInstanceUID, report.StudyInstanceUID} == {study.study_instance_uid}
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == study.series_instance_uid
    sources = {str(one.ReferencedSOPInstanceUID) for one in series.ReferencedInstanceSequence}
    assert sources == set(study.sop_instance_uids)
    assert str(seg.SOPInstanceUID) in str(report)
    (kept,) = node.studies()
    assert kept["study_instance_uid"] == study.study_instance_uid
    assert kept["instance_count"] == len(study.sop_instance_uids)
    (job,) = kept["jobs"]
    assert job["state"] == "succeeded"
    states = {one["destination"]: one["state"] for one in job["deliveries"]}
    assert states == {"pacs": "sent", "ehr": "confirmed"}
