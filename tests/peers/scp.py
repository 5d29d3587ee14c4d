"""pynetdicom as a server that ends at once when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from pynetdicom import AE
from pynetdicom.transport import ThreadedAssociationServer

_LOOK_S = 0.02


class _PromptServer(ThreadedAssociationServer):  # type: ignore[misc]
    def service_actions(self) -> None:
        """Do nothing: pynetdicom collects garbage in every 60th look for new callers."""


def start_scp(ae: AE, address: tuple[str, int], handlers: Sequence[Any] = ()) -> Any:
    """Start `ae` as a server, as its own `start_server` does, whose end takes half a second."""
    server = ae.make_server(address, evt_handlers=list(handlers), server_class=_PromptServer)
    ae._servers.append(server)
    threading.Thread(target=server.serve_forever, args=(_LOOK_S,), daemon=True).start()
    return server
