"""Rounds of sending and killing; after each one the node's data is looked at."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.radnode_process import RadnodeProcess
from tests.crash.inspection import Inspection
from tests.crash.known_instances import KnownInstance
from tests.crash.sender import SUCCESS, Sender
from tests.crash.victims import Victim, children_of, choose, kill, wait_for_orphans_end
from tests.peers.kept_instances import sqlite_of
from tests.peers.ports import wait_until
from tests.peers.raw_scu import (
    IMPLICIT_LITTLE_ENDIAN,
    VERIFICATION,
    Ended,
    Proposal,
    RawAssociation,
)

_SHORTEST_LIFE_S, _LONGEST_LIFE_S = 0.1, 1.5
_AFTER_DEATH_OF_A_CHILD_S = 0.3


@dataclass
class Summary:
    """What all rounds together have shown."""

    seed: int
    rounds: int = 0
    acknowledged: int = 0
    sent_again: int = 0
    interruptions: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    other_answers: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class CrashTest:
    """One node, several senders, and whatever kills the node."""

    def __init__(
        self, folder: Path, *, seed: int, senders: int, storage: Mapping[str, Any] | None = None
    ) -> None:
        self.summary = Summary(seed)
        data_dir = folder / "data"
        given = {"disk_low_mib": 16, **(storage or {})}
        self._folder = folder
        self._chance = random.Random(seed)
        self._senders = [Sender(seed, number) for number in range(1, senders + 1)]
        self._settings = node_settings(data_dir, given)
        url = str(given.get("database_url", sqlite_of(data_dir)))
        self._inspection = Inspection(url, data_dir)
        self._victim = choose(self._chance)
        self._node = self._start()

    def close(self) -> None:
        """End the node."""
        self._node.kill_group()

    def run_round(self) -> None:
        """Send, kill, have the node come back, and look."""
        killed = self._send_until_killed()
        self.summary.rounds += 1
        self.summary.killed[killed.text] += 1
        self._victim = choose(self._chance)
        if killed in (Victim.GROUP, Victim.MAIN):
            self._restart()
        else:
            wait_until(self._answers, what="an answer to C-ECHO")
        self._look()

    def finish(self) -> Summary:
        """Start the node once more, compare everything again, and return what was seen."""
        self._node.kill_group()
        self._restart()
        self._inspection.forget()
        self._look()
        return self.summary

    def look_again(self) -> list[str]:
        """Compare everything once more, and return the problems that are there now."""
        self._inspection.forget()
        view = self._inspection.view()
        return [
            *self._inspection.lost(view, self._acknowledged()),
            *self._inspection.half_visible(view, self._known()),
            *self._inspection.left_over(view),
        ]

    def _start(self) -> RadnodeProcess:
        # A fresh log each time: it is read again and again while we wait for a line of it.
        (self._folder / "stderr.log").unlink(missing_ok=True)
        self._settings["worker"]["enabled"] = self._victim is Victim.WORKER
        return RadnodeProcess(self._folder, self._settings).start()

    def _restart(self) -> None:
        self._note_errors()
        self._node = self._start()
        self.summary.problems += self._inspection.left_over(self._inspection.view())

    def _send_until_killed(self) -> Victim:
        stop = threading.Event()
        threads = [
            threading.Thread(target=sender.work, args=(self._node.port, stop))
            for sender in self._senders
        ]
        for thread in threads:
            thread.start()
        try:
            time.sleep(self._chance.uniform(_SHORTEST_LIFE_S, _LONGEST_LIFE_S))
            return self._kill()
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _kill(self) -> Victim:
        children = children_of(self._node)
        killed = kill(self._node, self._victim, self._chance)
        if killed is Victim.MAIN:
            wait_for_orphans_end(children)
            self._node.kill_group()
        elif killed is not Victim.GROUP:
            # The others must go on meanwhile.
            time.sleep(_AFTER_DEATH_OF_A_CHILD_S)
        return killed

    def _answers(self) -> bool:
        proposals = [Proposal(VERIFICATION, (IMPLICIT_LITTLE_ENDIAN,))]
        try:
            with RawAssociation(self._node.port, proposals) as association:
                return association.echo(0).status == SUCCESS
        except Ended:
            return False

    def _look(self) -> None:
        view, acknowledged = self._inspection.view(), self._acknowledged()
        self.summary.problems += self._inspection.lost(view, acknowledged)
        self.summary.problems += self._inspection.half_visible(view, self._known())
        self.summary.acknowledged = len(acknowledged)
        self.summary.sent_again = sum(sender.sent_again for sender in self._senders)
        self.summary.interruptions = sum(sender.interruptions for sender in self._senders)
        self.summary.other_answers = sum(
            (sender.other_answers for sender in self._senders), Counter()
        )

    def _acknowledged(self) -> list[KnownInstance]:
        return [one for sender in self._senders for one in sender.acknowledged]

    def _known(self) -> list[KnownInstance]:
        return [one for sender in self._senders for one in sender.known()]

    def _note_errors(self) -> None:
        events = self._node.events()
        self.summary.errors.update(one["event"] for one in events if one.get("level") == "error")


def node_settings(data_dir: Path, storage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "node": {"data_dir": str(data_dir)},
        "storage": dict(storage),
        "receive": {"port": 0, "senders": [{"ae_title": "PACS"}]},
        # Short, so that studies become complete and are opened again while senders work.
        "completeness": {"quiet_time_s": 1, "quiet_time_after_abort_s": 1},
        "worker": {"enabled": False},
    }
