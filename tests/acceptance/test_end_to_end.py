from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import assert_one_whole_result, site, wait_for_report
from tests.acceptance.small_study import PATIENT_TEXTS, SmallStudy, write_small_study
from tests.peers.postgres import PostgresServer

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))


@pytest.fixture(params=["sqlite", POSTGRESQL])
def storage(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """The storage section for each kind of database."""
    if request.param == "sqlite":
        yield {"disk_low_mib": 16}
        return
    with PostgresServer() as server:
        yield {"disk_low_mib": 16, "database_url": server.new_database()}


def _files_and_their_modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mode & 0o077 for path in folder.rglob("*")
    }


def _assert_log_is_clean(node: RadnodeProcess, study: SmallStudy) -> None:
    shown = node.output() + node.run("status").stdout + node.run("status", "--json").stdout
    assert [text for text in PATIENT_TEXTS if text in shown] == []
    uids = (study.study_instance_uid, study.series_instance_uid, *study.sop_instance_uids)
    assert [uid for uid in uids if uid in node.output()] == []


def test_a_routed_study_comes_back_as_overlay_and_report_and_leaves_no_trace_in_the_log(
    tmp_path: Path, storage: dict[str, object]
) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    settings = site(tmp_path, pacs, storage=storage, log={"level": "debug"})

    with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
        with association_to_node(node.port) as association:
            acknowledged = send(association, study.paths)
            # All over again, as senders do that were not sure.
            send(association, study.paths)
        report = wait_for_report(node, tmp_path)

        assert acknowledged == list(study.sop_instance_uids)
        assert_one_whole_result(node, pacs, study)
        assert set(pacs.arrivals.values()) == {1}
        assert report["resourceType"] == "Bundle"
        assert node.terminate() == 0

    _assert_log_is_clean(node, study)
    assert set(_files_and_their_modes(tmp_path / "data").values()) == {0}
    assert node.events("stopped")
    assert list((tmp_path / "data" / "incoming").iterdir()) == []
