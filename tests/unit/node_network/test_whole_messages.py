from __future__ import annotations

import threading
import time
from types import SimpleNamespace

from node.whole_messages import send_whole_messages


class Provider:
    """Sends each message in two fragments, with time for others in between."""

    def __init__(self) -> None:
        self.fragments: list[str] = []

    def send_msg(self, primitive: str, context_id: int) -> None:
        for part in ("command", "data set"):
            self.fragments.append(f"{part} of {primitive}")
            time.sleep(0.05)


def test_the_fragments_of_two_messages_do_not_mix() -> None:
    provider = Provider()
    send_whole_messages(SimpleNamespace(assoc=SimpleNamespace(dimse=provider)))
    names = ("a request", "an answer")
    threads = [threading.Thread(target=provider.send_msg, args=(name, 1)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first, second = names if provider.fragments[0].endswith(names[0]) else names[::-1]
    parts = ("command", "data set")
    assert provider.fragments == [f"{part} of {name}" for name in (first, second) for part in parts]
