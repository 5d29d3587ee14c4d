"""A model that hangs is stopped at its time limit, and holds no other study."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipelines.registry import SHIPPED_BUNDLES, SHIPPED_DEFINITIONS
from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import accept_model, site, wait_for_report
from tests.acceptance.small_study import write_small_study

HANGS = "$lambda image: __import__('time').sleep(100000)"
LIMIT_S = 4


def a_hanging_and_a_sound_pipeline(folder: Path) -> dict[str, object]:
    """Two pipelines for the same study; the hanging one is the more urgent."""
    bundles, definitions = folder / "bundles", folder / "definitions"
    shutil.copytree(SHIPPED_BUNDLES, bundles)
    shutil.copytree(bundles / "hippocampus_mr", bundles / "hanging")
    path = bundles / "hanging" / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["preprocessing"]["transforms"].append(
        {"_target_": "Lambdad", "keys": "image", "func": HANGS}
    )
    path.write_text(json.dumps(config))
    accept_model(folder / "data", bundles / "hanging")
    definitions.mkdir()
    text = (SHIPPED_DEFINITIONS / "hippocampus_mr.yaml").read_text()
    (definitions / "hippocampus_mr.yaml").write_text(text)
    for old, new in (
        ("name: hippocampus_mr", "name: hanging"),
        ("bundle: hippocampus_mr", "bundle: hanging"),
        ("priority: 100", "priority: 1"),
        ("time_limit_s: null", f"time_limit_s: {LIMIT_S}"),
    ):
        assert old in text
        text = text.replace(old, new)
    (definitions / "hanging.yaml").write_text(text)
    return {
        "enabled": ["hanging", "hippocampus_mr"],
        "bundles_dir": str(bundles),
        "definitions_dir": str(definitions),
    }


def test_a_hung_model_is_stopped_at_its_time_limit_and_other_jobs_go_on(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    settings = site(tmp_path, pacs, pipelines=a_hanging_and_a_sound_pipeline(tmp_path))

    with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
        with association_to_node(node.port) as association:
            send(association, study.paths)
        wait_for_report(node, tmp_path)

        jobs = {job["pipeline_name"]: job for job in node.studies()[0]["jobs"]}
        assert jobs["hanging"]["state"] == "failed"
        assert jobs["hanging"]["reason_code"] == "time_limit"
        assert jobs["hanging"]["attempts"] == 1
        assert jobs["hippocampus_mr"]["state"] == "succeeded"
        assert len(node.events("worker_started")) == 2
