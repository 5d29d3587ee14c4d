from __future__ import annotations

from pathlib import Path

from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import assert_one_whole_result, site, wait_for_report
from tests.acceptance.small_study import write_small_study


def test_a_result_that_waits_for_the_pacs_survives_a_kill_and_comes_once(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()

    with RadnodeProcess(tmp_path, site(tmp_path, pacs)) as node:
        with association_to_node(node.port) as association:
            send(association, study.paths)
        node.wait_for("delivery_postponed")
        node.kill_group()
        with pacs.up():
            node.start()
            wait_for_report(node, tmp_path)

            assert_one_whole_result(node, pacs, study)
            assert set(pacs.arrivals.values()) == {1}


def test_a_kill_in_the_middle_of_a_delivery_leaves_one_result(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    node = RadnodeProcess(tmp_path, site(tmp_path, pacs))
    pacs.after_first_arrival(node.kill_group)

    with pacs.up(), node:
        with association_to_node(node.port) as association:
            send(association, study.paths)
        pacs.wait_for_first_arrival()
        node.start()
        wait_for_report(node, tmp_path)

        assert_one_whole_result(node, pacs, study)
        assert sum(pacs.arrivals.values()) == 3
