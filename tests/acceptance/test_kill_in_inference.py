from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import (
    assert_one_whole_result,
    site,
    slow_bundle,
    wait_for_report,
)
from tests.acceptance.small_study import write_small_study


def _send_until_inference(node: RadnodeProcess, paths: tuple[Path, ...], marker: Path) -> None:
    with association_to_node(node.port) as association:
        send(association, paths)
    node.wait_until(marker.exists, what="inference")


def test_a_node_killed_in_inference_gives_one_result_after_it(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    bundles, marker = slow_bundle(tmp_path)
    settings = site(tmp_path, pacs, pipelines={"bundles_dir": str(bundles)})

    with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
        _send_until_inference(node, study.paths, marker)
        node.kill_group()
        assert pacs.datasets == {}
        node.start()
        wait_for_report(node, tmp_path)

        assert_one_whole_result(node, pacs, study)
        assert node.studies()[0]["jobs"][0]["attempts"] == 2


def test_a_worker_killed_in_inference_is_replaced_and_its_job_done_again(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    bundles, marker = slow_bundle(tmp_path)
    settings = site(tmp_path, pacs, pipelines={"bundles_dir": str(bundles)})

    with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
        _send_until_inference(node, study.paths, marker)
        os.kill(node.wait_for("worker_started")["worker_pid"], signal.SIGKILL)
        wait_for_report(node, tmp_path)

        assert len(node.events("worker_started")) == 2
        assert len(node.events("job_returned")) == 1
        assert_one_whole_result(node, pacs, study)


def test_a_node_asked_to_stop_in_inference_ends_soon_and_keeps_the_job(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    bundles, marker = slow_bundle(tmp_path)
    settings = site(tmp_path, pacs, pipelines={"bundles_dir": str(bundles)})

    with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
        _send_until_inference(node, study.paths, marker)
        worker_pid = node.wait_for("worker_started")["worker_pid"]
        returncode = node.terminate()

        assert returncode == 0
        assert not Path(f"/proc/{worker_pid}").exists()
        assert node.studies()[0]["jobs"][0]["state"] in ("queued", "succeeded")
        node.start()
        wait_for_report(node, tmp_path)
        assert_one_whole_result(node, pacs, study)
        assert node.studies()[0]["jobs"][0]["attempts"] == 1
