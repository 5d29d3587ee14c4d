"""What is killed: the whole node, or one of its processes."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from enum import Enum
from pathlib import Path

from tests.acceptance.radnode_process import RadnodeProcess
from tests.benchmarks.process_tree import tree
from tests.peers.ports import wait_until


class Victim(Enum):
    """Who gets SIGKILL, and how often that is chosen."""

    GROUP = ("all processes of the node", 5)
    MAIN = ("the main process alone", 3)
    RECEIVER = ("one receiver process", 3)
    WORKER = ("the worker", 1)

    def __init__(self, text: str, weight: int) -> None:
        self.text = text
        self.weight = weight


def choose(chance: random.Random) -> Victim:
    """Draw a victim by weight."""
    victims = list(Victim)
    return chance.choices(victims, [victim.weight for victim in victims])[0]


def kill(node: RadnodeProcess, victim: Victim, chance: random.Random) -> Victim:
    """Kill it at once; where the node has no such process, all of it. Return who was killed."""
    pids = _pids(node, victim)
    if victim is Victim.MAIN:
        os.kill(node.pid, signal.SIGKILL)
    elif pids:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)
    else:
        node.kill_group()
        return Victim.GROUP
    return victim


def wait_for_orphans_end(children: tuple[int, ...]) -> None:
    """Wait until the children of a killed node have ended by themselves."""
    wait_until(lambda: not any(map(_is_running, children)), what="the end of the children")


def children_of(node: RadnodeProcess) -> tuple[int, ...]:
    """Return the process ids of everything that the node has started."""
    return tuple(pid for pid in tree((node.pid,)) if pid != node.pid)


def _pids(node: RadnodeProcess, victim: Victim) -> list[int]:
    if victim in (Victim.GROUP, Victim.MAIN):
        return []
    is_wanted = victim is Victim.WORKER
    return [pid for pid in children_of(node) if ("worker" in _command_line(pid)) is is_wanted]


def _command_line(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def _is_running(pid: int) -> bool:
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in ("Z", "X")
    return False
