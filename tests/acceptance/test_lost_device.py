"""A broken CUDA context ends the worker process, not the node: the next one does the job."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipelines.registry import SHIPPED_BUNDLES
from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import accept_model, assert_one_whole_result, site, wait_for_report
from tests.acceptance.small_study import write_small_study


def bundle_that_loses_its_device_once(folder: Path) -> Path:
    """A copy of the shipped bundle whose preprocessing raises what torch raises then."""
    bundles, marker = folder / "bundles", folder / "lost"
    shutil.copytree(SHIPPED_BUNDLES, bundles)
    path = bundles / "hippocampus_mr" / "configs" / "inference.json"
    config = json.loads(path.read_text())
    marked = f"__import__('pathlib').Path({str(marker)!r})"
    lost = "__import__('torch').AcceleratorError('CUDA error: unspecified launch failure')"
    once = (
        f"$lambda image: image if {marked}.exists() else "
        f"({marked}.touch(), (_ for _ in ()).throw({lost}))"
    )
    config["preprocessing"]["transforms"].append(
        {"_target_": "Lambdad", "keys": "image", "func": once}
    )
    path.write_text(json.dumps(config))
    accept_model(folder / "data", bundles / "hippocampus_mr")
    return bundles


def test_a_lost_device_costs_an_attempt_and_a_process_but_no_study(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    bundles = bundle_that_loses_its_device_once(tmp_path)
    worker = site(tmp_path, pacs)["worker"] | {"retry_delay_s": 1}
    settings = site(tmp_path, pacs, pipelines={"bundles_dir": str(bundles)}, worker=worker)

    with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
        with association_to_node(node.port) as association:
            send(association, study.paths)
        wait_for_report(node, tmp_path)

        assert_one_whole_result(node, pacs, study)
        (job,) = node.studies()[0]["jobs"]
        assert (job["state"], job["attempts"]) == ("succeeded", 2)
        assert [event["reason_code"] for event in node.events("worker_unfit")] == ["device_lost"]
        assert len(node.events("worker_started")) == 2
