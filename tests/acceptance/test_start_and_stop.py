from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import jwt
import yaml

from node.data_directory import PORT_FILE, WEB_PORT_FILE
from tests.acceptance.pacs_stand_in import PacsStandIn
from tests.acceptance.radnode_process import RadnodeProcess, run_radnode
from tests.acceptance.scenario import site
from tests.acceptance.small_study import write_small_study
from tests.peers.ports import wait_until
from tests.peers.smart_keys import EC_KEY, write_key


def _site_without_worker(folder: Path) -> dict[str, object]:
    return site(folder, PacsStandIn(), worker={"enabled": False})


def _config(folder: Path, **sections: object) -> Path:
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump({**_site_without_worker(folder), **sections}))
    return path


def test_chosen_ports_are_told_and_open_while_the_node_runs(tmp_path: Path) -> None:
    port_file, web_file = tmp_path / "data" / PORT_FILE, tmp_path / "data" / WEB_PORT_FILE
    smart = {"client_id": "c", "key_files": [str(write_key(tmp_path / "key.pem", EC_KEY))]}
    ehr = {"type": "fhir", "name": "ehr", "base_url": "http://127.0.0.1:9/r4", "smart": smart}
    settings = {**_site_without_worker(tmp_path), "destinations": [ehr], "web": {"port": 0}}

    with RadnodeProcess(tmp_path, settings) as node:
        assert int(port_file.read_text()) == node.port
        url = f"http://127.0.0.1:{int(web_file.read_text())}/.well-known/jwks.json"
        (key,) = jwt.PyJWKClient(url).get_signing_keys()
        assert key.algorithm_name == "ES384"
        assert node.terminate() == 0

    assert not port_file.exists()
    assert not web_file.exists()


def test_an_interrupt_from_the_terminal_ends_the_node_and_its_worker_cleanly(
    tmp_path: Path,
) -> None:
    with RadnodeProcess(tmp_path, site(tmp_path, PacsStandIn())) as node:
        worker_pid = node.wait_for("worker_started")["worker_pid"]
        node.wait_for("worker_ready")
        os.killpg(node.pid, signal.SIGINT)

        assert node.wait_for_end() == 0
        assert node.events("worker_died") == []
        assert not Path(f"/proc/{worker_pid}").exists()


def test_a_worker_does_not_outlive_a_killed_node(tmp_path: Path) -> None:
    with RadnodeProcess(tmp_path, site(tmp_path, PacsStandIn())) as node:
        worker_pid = node.wait_for("worker_started")["worker_pid"]
        node.wait_for("worker_ready")

        os.kill(node.pid, signal.SIGKILL)

        wait_until(lambda: not Path(f"/proc/{worker_pid}").exists(), what="the worker's end")


def test_a_second_node_on_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    with RadnodeProcess(tmp_path, _site_without_worker(tmp_path)) as node:
        second = node.run("serve")

    assert second.returncode == 1
    assert "another radnode serve uses it" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        receive = {"port": port, "senders": [{"ae_title": "PACS"}]}
        config = _config(tmp_path, receive=receive)

        done = run_radnode("serve", "--config", str(config), cwd=tmp_path)

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: another program has this port" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_wrong_setting_is_told_in_a_line_of_its_own(tmp_path: Path) -> None:
    config = _config(tmp_path, node={"timezone": "Mars/Olympus", "ae_titel": "X"})

    done = run_radnode("check-config", "--config", str(config), cwd=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all("node.yaml" in line for line in lines)
    assert any("node.timezone = 'Mars/Olympus'" in line for line in lines)
    assert any("node.ae_titel" in line for line in lines)


def test_a_folder_is_sent_to_the_running_node_by_its_own_configuration(tmp_path: Path) -> None:
    study = write_small_study(tmp_path / "study")
    (tmp_path / "study" / "notes.txt").write_text("not DICOM")

    with RadnodeProcess(tmp_path, _site_without_worker(tmp_path)) as node:
        done = node.run("send", str(tmp_path / "study"))
        (kept,) = node.studies()

    assert (done.returncode, done.stdout) == (0, "36 stored, 0 failed, 1 skipped (not DICOM)\n")
    assert kept["study_instance_uid"] == study.study_instance_uid
    assert kept["instance_count"] == 36


def test_a_file_in_place_of_a_folder_keeps_the_node_from_starting(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    out = {"type": "folder", "name": "out", "folder": "taken/out"}
    config = _config(tmp_path, node={"data_dir": "taken"}, destinations=[out])

    for command in ("serve", "check-config"):
        done = run_radnode(command, "--config", str(config), cwd=tmp_path)

        assert (done.returncode, done.stdout) == (2, "")
        told = done.stderr.splitlines()
        assert len(told) == 2
        assert "node.data_dir = " in told[0]
        assert "destinations[0].folder = " in told[1]
        assert f"{tmp_path / 'taken'} is a file" in told[1]
