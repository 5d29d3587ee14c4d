"""Statuses, and waiting for the end of an association."""

from __future__ import annotations

from storage.studies import open_studies
from tests.integration.node_receive.running_listener import (
    Running,
)
from tests.peers.ports import wait_until

SUCCESS = 0x0000

OUT_OF_RESOURCES = 0xA700


def wait_for_end(running: Running, end: str) -> None:
    def ended() -> bool:
        (progress,) = open_studies(running.db)
        return progress.last_association_end == end

    wait_until(ended, what=f"an association that is {end}")
    wait_for_nothing_incoming(running)


def wait_for_nothing_incoming(running: Running) -> None:
    """A peer is answered, and released, a moment before the file for its next instance goes."""
    incoming = running.files.incoming_dir
    wait_until(lambda: not list(incoming.iterdir()), what="an empty incoming folder")
