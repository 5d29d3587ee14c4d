"""A listener of the node as the tests start it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from config.settings import ReceiveSettings, SenderSettings, Settings, StorageSettings
from node.receive.listener import Listener
from storage.database import Database
from storage.instance_files import InstanceFiles

CALLING = "PACS"
CALLED = "RADNODE"


@dataclass
class Running:
    """A listener on a free port, with the database and the files behind it."""

    listener: Listener
    port: int
    db: Database
    files: InstanceFiles
    settings: Settings
    changes: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


StartListener = Callable[..., Running]


def receive_settings(**changes: object) -> Settings:
    """Settings of a node that takes studies from `CALLING` on a free loopback port."""
    receive = ReceiveSettings(port=0, senders=(SenderSettings(ae_title=CALLING),))
    return Settings(
        receive=receive.model_copy(update=changes), storage=StorageSettings(disk_low_mib=0)
    )
