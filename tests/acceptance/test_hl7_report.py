from __future__ import annotations

from pathlib import Path
from typing import Any

import hl7

from tests.acceptance.pacs_stand_in import PacsStandIn, association_to_node, send
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import site
from tests.acceptance.small_study import write_small_study
from tests.peers.mllp import Hl7Receiver


def _delivery(node: RadnodeProcess) -> dict[str, Any]:
    jobs = [job for study in node.studies() for job in study["jobs"]]
    found = [one for job in jobs for one in job["deliveries"] if one["destination"] == "ris"]
    return found[0] if found else {"state": "not planned"}


def test_a_refused_message_is_a_dead_letter_until_a_person_sends_it_again(tmp_path: Path) -> None:
    study, pacs = write_small_study(tmp_path / "study"), PacsStandIn()
    with Hl7Receiver("AE") as receiver:
        settings = site(tmp_path, pacs)
        ris = {"type": "hl7", "name": "ris", "host": "127.0.0.1", "port": receiver.port}
        settings["destinations"].append(ris)

        with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
            with association_to_node(node.port) as association:
                send(association, study.paths)
            node.wait_until_shown(
                lambda: _delivery(node)["state"] == "dead", what="the dead letter"
            )
            refused = _delivery(node)
            receiver.code = "AA"
            node.run("retry-delivery", str(refused["delivery_id"]))
            node.wait_until_shown(
                lambda: _delivery(node)["state"] == "confirmed", what="the repeat"
            )

    assert refused["reason_code"] == "ack_ae"
    first, second = receiver.taken
    assert first == second
    assert str(hl7.parse(first).segment("OBX")[11]) == "P"
