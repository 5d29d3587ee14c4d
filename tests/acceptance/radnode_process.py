"""The program as a subprocess: started, watched through its log, ended or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")
Event = dict[str, Any]

STOP_TIMEOUT_S = 30.0
ASK_PAUSE_S, ASK_AGAIN_S = 0.3, 3.0


class RadnodeProcess:
    """`python -m node serve --config FILE` in a process group of its own.

    The same object can be started again after its end: same configuration, same data directory;
    the log goes on in the same file.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "node.yaml"
        self.config.write_text(yaml.safe_dump(dict(settings)))
        self._folder = folder
        self._stderr, self._stdout = folder / "stderr.log", folder / "stdout.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._seen_before = 0

    def start(self) -> RadnodeProcess:
        """Start it and wait until it is ready."""
        self._seen_before = len(self.events())
        command = [sys.executable, "-m", "node", "serve", "--config", str(self.config)]
        with self._stderr.open("ab") as stderr, self._stdout.open("ab") as stdout:
            self._child = subprocess.Popen(
                command,
                cwd=self._folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.wait_for("ready")
        return self

    def __enter__(self) -> RadnodeProcess:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.kill_group()

    @property
    def pid(self) -> int:
        """Process id of the node, which is also its process group."""
        assert self._child is not None
        return self._child.pid

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.wait_for("ready")["port"])

    def terminate(self) -> int:
        """Ask it to stop by SIGTERM and return its exit code."""
        assert self._child is not None
        self._child.terminate()
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        """Wait until it has ended and return its exit code."""
        assert self._child is not None
        return self._child.wait(STOP_TIMEOUT_S)

    def kill_group(self) -> None:
        """SIGKILL to the node and its worker at the same moment."""
        if self._child is None:
            return
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def output(self) -> str:
        """All that it ever wrote, both streams."""
        return "".join(path.read_text() for path in (self._stderr, self._stdout) if path.exists())

    def events(self, name: str | None = None) -> list[Event]:
        """Events of the log since the last start, all or those of one name."""
        lines = self._stderr.read_text().splitlines() if self._stderr.exists() else []
        # A line that is just being written, or was cut by a kill, is none yet.
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        since = found[self._seen_before :]
        return [event for event in since if name is None or event["event"] == name]

    def wait_for(self, name: str, timeout_s: float = 120) -> Event:
        """Return the first event of that name since the last start."""
        return self.wait_until(
            lambda: next(iter(self.events(name)), None), what=name, timeout_s=timeout_s
        )

    def wait_until(
        self, condition: Callable[[], T | None], *, what: str, timeout_s: float = 120
    ) -> T:
        """Return the first value of `condition` that counts as true; fail when the node ends."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if value := condition():
                return value
            if self._child is not None and self._child.poll() is not None:
                raise AssertionError(f"ended before {what}:\n{self.output()}")
            time.sleep(0.05)
        raise AssertionError(f"waited {timeout_s} s in vain for {what}:\n{self.output()}")

    def wait_until_shown(
        self, condition: Callable[[], T | None], *, what: str, timeout_s: float = 120
    ) -> T:
        """Wait as `wait_until` does, for a condition that runs a command of the program.

        To start one takes the node's own processors: so it is asked again when the log has grown,
        and now and then.
        """
        told, asked = -1, -ASK_AGAIN_S

        def ask() -> T | None:
            nonlocal told, asked
            lines, passed_s = len(self.events()), time.monotonic() - asked
            if passed_s < ASK_AGAIN_S and (lines == told or passed_s < ASK_PAUSE_S):
                return None
            value, told, asked = condition(), lines, time.monotonic()
            return value

        return self.wait_until(ask, what=what, timeout_s=timeout_s)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the program with the same configuration."""
        return run_radnode(*arguments, "--config", str(self.config), cwd=self._folder)

    def studies(self) -> list[dict[str, Any]]:
        """What `radnode status --json` says."""
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stderr
        studies: list[dict[str, Any]] = json.loads(done.stdout)["studies"]
        return studies


def run_radnode(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "node", *arguments],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def environment() -> dict[str, str]:
    """Ours without settings for other nodes; the program is found where the tests found it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RADNODE_")}
    source = str(Path(__file__).parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (source, kept.get("PYTHONPATH"))))
    return kept
