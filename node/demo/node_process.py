"""The node of the demo: a real `radnode serve` in a process of its own, with embedded defaults."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

import node
from node.data_directory import PORT_FILE
from node.demo.errors import NodeDidNotStart

AE_TITLE = "RADNODE"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.1
_PACKAGES_DIR = Path(node.__file__).resolve().parents[1]


def configuration(folder: Path, pacs_ae_title: str, pacs_port: int) -> Mapping[str, Any]:
    """Return what differs from the defaults: who may send, and where results go."""
    pacs = {"host": "127.0.0.1", "port": pacs_port, "ae_title": pacs_ae_title}
    sender = {f"find_{key}": value for key, value in pacs.items()}
    return {
        "node": {
            "ae_title": AE_TITLE,
            "data_dir": str(folder / "node"),
            "institution_name": "Demo hospital",
        },
        "storage": {"disk_low_mib": 64},
        "receive": {"port": 0, "senders": [{"ae_title": pacs_ae_title, **sender}]},
        "destinations": [
            {"type": "dicom", "name": "pacs", **pacs},
            {"type": "folder", "name": "ehr", "folder": str(folder / "ehr")},
        ],
    }


class NodeProcess:
    """A child process; a context manager that has ended it when the block is left."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], log: Path) -> None:
        self._config = folder / "node.yaml"
        self._config.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        self._port_file = Path(settings["node"]["data_dir"]) / PORT_FILE
        self._folder = folder
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NodeProcess:
        command = [sys.executable, "-m", "node", "serve", "--config", str(self._config)]
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                command,
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @property
    def returncode(self) -> int | None:
        """Exit code of the child; None while it runs."""
        return self._child.poll() if self._child else None

    def wait_until_it_answers(self, echo: Callable[[int, str], bool]) -> int:
        """Return the node's port once C-ECHO succeeds there. Raises `NodeDidNotStart`."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.returncode is not None:
                raise NodeDidNotStart(f"the node ended with code {self.returncode}: {self.log}")
            port = self._port()
            if port and echo(port, AE_TITLE):
                return port
            time.sleep(POLL_S)
        raise NodeDidNotStart(f"no answer after {START_TIMEOUT_S:.0f} s: {self.log}")

    def _port(self) -> int | None:
        with suppress(OSError, ValueError):
            return int(self._port_file.read_text())
        return None


def _environment() -> dict[str, str]:
    """Ours, without settings meant for another node, and with the path to our own packages."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RADNODE_")}
    # Run from a source tree, the child would not find us: it works in another folder.
    paths = [str(_PACKAGES_DIR), kept.get("PYTHONPATH", "")]
    if str(_PACKAGES_DIR) not in {str(Path(entry).resolve()) for entry in _installed_paths()}:
        kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return kept


def _installed_paths() -> set[str]:
    return {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
