from __future__ import annotations

from pathlib import Path

from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import assert_one_whole_result, site, wait_for_report
from tests.acceptance.small_study import write_small_study


def test_a_study_that_was_acknowledged_before_a_kill_gives_one_result_after_it(
    tmp_path: Path,
) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()

    with pacs.up(), RadnodeProcess(tmp_path, site(tmp_path, pacs)) as node:
        with association_to_node(node.port) as association:
            acknowledged = send(association, study.paths)
            node.kill_group()
        node.start()
        wait_for_report(node, tmp_path)

        assert acknowledged == list(study.sop_instance_uids)
        assert_one_whole_result(node, pacs, study)


def test_a_study_that_a_kill_cut_in_two_gives_one_result_when_it_is_sent_again(
    tmp_path: Path,
) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()

    with pacs.up(), RadnodeProcess(tmp_path, site(tmp_path, pacs)) as node:
        with association_to_node(node.port) as association:
            first_half = send(association, study.paths[:20])
            node.kill_group()
        node.start()
        with association_to_node(node.port) as association:
            acknowledged = send(association, study.paths)
        wait_for_report(node, tmp_path)

        assert first_half == list(study.sop_instance_uids[:20])
        assert acknowledged == list(study.sop_instance_uids)
        assert_one_whole_result(node, pacs, study)
