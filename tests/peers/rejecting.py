"""A DICOM peer that rejects every association and hangs up at once."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

from tests.peers.raw_dicom import A_ASSOCIATE_RJ, pdu

PERMANENT, SERVICE_USER, CALLING_AE_TITLE_NOT_RECOGNIZED = 1, 1, 3


class RejectingPeer:
    """Listens on a free port of 127.0.0.1 while its `with` block runs (PS3.8 9.3.4)."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> RejectingPeer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        answer = bytes([0, PERMANENT, SERVICE_USER, CALLING_AE_TITLE_NOT_RECOGNIZED])
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(pdu(A_ASSOCIATE_RJ, answer))
