"""The DIMSE services that this node offers beside storage and verification."""

from __future__ import annotations

from collections.abc import Callable

from config.settings import Settings
from node.receive.services import Service
from storage.database import Database


def offered_services(
    settings: Settings, db: Database, wake: Callable[[], None]
) -> tuple[Service, ...]:
    """Return the services; `wake` has completeness looked at at once.

    They are made in each receiver process, and may be called from all of its threads.
    """
    return ()
