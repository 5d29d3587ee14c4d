"""A node whose only way in is mutual TLS, from its first certificate to the count of strangers."""

from __future__ import annotations

import json
from pathlib import Path

from node.data_directory import PORT_FILE, TLS_PORT_FILE
from tests.acceptance.pacs_stand_in import PacsStandIn
from tests.acceptance.radnode_process import RadnodeProcess, run_radnode
from tests.acceptance.scenario import site
from tests.acceptance.small_study import write_small_study

FILES = ("--ca-file", "ca.pem", "--certificate-file", "pacs.pem", "--key-file", "pacs.key")


def _send(node: RadnodeProcess, folder: Path, *options: str) -> tuple[int, str]:
    done = node.run("send", str(folder), *options)
    return done.returncode, done.stdout + done.stderr


def test_certificates_by_the_command_let_a_friend_in_and_nobody_else(tmp_path: Path) -> None:
    made = run_radnode(
        "make-certificates", "certificates", "--name", "127.0.0.1", "--peer", "pacs", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    settings = site(tmp_path, PacsStandIn(), worker={"enabled": False})
    tls = {
        "enabled": True,
        "port": 0,
        "certificate_file": "certificates/node.pem",
        "key_file": "certificates/node.key",
        "client_ca_file": "certificates/ca.pem",
    }
    receive = dict(settings["receive"]) | {"port": None, "tls": tls}
    study = tmp_path / "study"
    write_small_study(study)
    files = [f"certificates/{name}" if "." in name else name for name in FILES]

    with RadnodeProcess(tmp_path, {**settings, "receive": receive}) as node:
        data = tmp_path / "data"
        assert (data / TLS_PORT_FILE).is_file()
        assert not (data / PORT_FILE).exists()
        code, told = _send(node, study, *files)
        assert code == 0, told

        code, told = _send(node, study, *files[:2])
        assert code == 1
        assert "does not trust our certificate" in told
        code, told = _send(node, study, *files, "--calling", "STRANGER")
        assert code == 1
        assert "rejected the association" in told

        node.wait_until_shown(lambda: len(_rejections(node)) == 2 or None, what="both counts")
        assert _rejections(node) == {
            ("tls_certificate_missing", ""): 1,
            ("calling_ae_title_not_recognised", "STRANGER"): 1,
        }
        assert node.terminate() == 0


def _rejections(node: RadnodeProcess) -> dict[tuple[str, str], int]:
    told = json.loads(node.run("status", "--json").stdout)
    return {(row["reason"], row["calling_ae_title"]): row["count"] for row in told["rejections"]}


def test_a_key_that_others_can_read_keeps_the_node_from_starting(tmp_path: Path) -> None:
    made = run_radnode("make-certificates", "c", "--name", "h", "--key-type", "ec", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    (tmp_path / "c" / "node.key").chmod(0o644)
    settings = site(tmp_path, PacsStandIn())
    tls = {
        "enabled": True,
        "certificate_file": "c/node.pem",
        "key_file": "c/node.key",
        "client_ca_file": "c/ca.pem",
    }
    node = RadnodeProcess(tmp_path, {**settings, "receive": {**settings["receive"], "tls": tls}})
    for command in ("check-config", "serve"):
        done = node.run(command)
        assert done.returncode == 2
        assert "receive.tls.key_file" in done.stderr
        assert "chmod 600" in done.stderr
