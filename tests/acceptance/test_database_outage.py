from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import assert_one_whole_result, site, wait_for_report
from tests.acceptance.small_study import write_small_study
from tests.peers.postgres import PostgresServer


@pytest.mark.peer("postgresql")
def test_while_the_database_is_away_nothing_is_acknowledged_and_afterwards_all_goes_on(
    tmp_path: Path,
) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()

    with PostgresServer() as server:
        storage = {"disk_low_mib": 16, "database_url": server.new_database()}
        settings = site(tmp_path, pacs, storage=storage)
        with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
            with association_to_node(node.port) as association:
                assert len(send(association, study.paths[:10])) == 10
                server.stop()
                assert send(association, study.paths[10:12]) == []
                node.wait_for("act_postponed")
                server.restart()
                node.wait_for("act_resumed")
                assert len(send(association, study.paths)) == len(study.paths)
            wait_for_report(node, tmp_path)

            assert_one_whole_result(node, pacs, study)
