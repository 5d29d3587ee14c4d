from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.peers.ports import wait_until

CHILD = """
import os, pathlib, sys, time
from node.parent_watch import die_with_parent
die_with_parent(int(sys.argv[1]))
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}, str(os.getpid()), sys.argv[1]])
"""


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(pid_file)])
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text(), what="child"))
    assert _is_running(pid)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    wait_until(lambda: not _is_running(pid), what="the child's end")


def test_a_child_whose_parent_is_already_gone_ends_at_once(tmp_path: Path) -> None:
    never_ours = 2**22 + 1

    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(never_ours), str(tmp_path / "pid")],
        timeout=20,
        check=False,
        capture_output=True,
    )

    assert child.returncode == 1
