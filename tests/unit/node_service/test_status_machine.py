"""Whoever is woken learns first whether the node runs, and whether it has room."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path
from typing import Any

from config.load import load_settings
from node.data_directory import LOCK_FILE, kept_data, sole_user
from node.status_machine import Machine, machine_warnings
from storage.migrate import migrate
from tests.unit.node_service.cli_runs import Run, run, write_config

__all__ = ["run"]

MORE_THAN_ANY_DISK_MIB = 1 << 40


def _idle_node(tmp_path: Path, **storage: Any) -> Path:
    config = write_config(tmp_path, storage=storage)
    with kept_data(load_settings(config)) as db:
        migrate(db)
    return config


def test_a_node_that_does_not_run_is_told(run: Run, tmp_path: Path) -> None:
    config = _idle_node(tmp_path)

    idle = run("status", "--config", str(config))
    with sole_user(tmp_path / "data"):
        running = run("status", "--config", str(config))

    assert idle.code == running.code == 0
    assert f"no radnode serve runs on this machine with node.data_dir {tmp_path}" in idle.err
    assert "no radnode serve" not in running.err


def test_a_disk_that_is_low_is_told_before_anybody_was_turned_away(
    run: Run, tmp_path: Path
) -> None:
    config = _idle_node(tmp_path, disk_low_mib=MORE_THAN_ANY_DISK_MIB)

    told = run("status", "--config", str(config)).err
    as_json = json.loads(run("status", "--json", "--config", str(config)).out)["machine"]

    assert f"less than storage.disk_low_mib ({MORE_THAN_ANY_DISK_MIB})" in told
    assert (as_json["disk_is_low"], as_json["is_running"]) == (True, False)
    assert as_json["free_mib"] > 0


def test_settings_that_keep_a_node_from_starting_do_not_keep_anybody_from_looking(
    run: Run, tmp_path: Path
) -> None:
    config = _idle_node(tmp_path)
    gone = {"enabled": True, "ca_file": "gone.pem"}
    pacs = {"type": "dicom", "name": "p", "host": "h", "port": 104, "ae_title": "P", "tls": gone}
    write_config(tmp_path, destinations=[pacs])

    told = run("status", "--config", str(config))
    as_json = json.loads(run("status", "--json", "--config", str(config)).out)

    assert told.code == 0
    assert "settings have 1 problems, named by radnode check-config" in told.err
    assert "gone.pem" in as_json["settings_problems"][0]
    assert "there is no job 7" in run("retry", "7", "--config", str(config)).err
    assert run("quarantine", "list", "--config", str(config)).code == 0


def test_where_the_data_may_be_others_than_meant_nothing_is_shown(run: Run, tmp_path: Path) -> None:
    config = _idle_node(tmp_path)
    config.write_text(config.read_text() + "storrage: {database_url: 'sqlite:////elsewhere.db'}\n")

    told = run("status", "--config", str(config))

    assert told.code == 2
    assert "storrage" in told.err


def test_a_disk_that_cannot_be_asked_is_not_called_low() -> None:
    assert machine_warnings(Machine(Path("none"), True, None, 1024)) == ()


def test_who_looks_at_a_starting_node_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        leaving = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        leaving.start()
        with sole_user(tmp_path):
            leaving.join()
