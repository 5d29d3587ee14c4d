"""Receivers of HL7 v2 over MLLP: hl7apy's own server, and one that answers as it is told."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from hl7apy.core import Message
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message
from hl7apy.validation import VALIDATION_LEVEL

START, END = b"\x0b", b"\x1c\r"


class _Accepting(AbstractHandler):  # type: ignore[misc]
    """Takes a message that hl7apy can read and finds valid, and acknowledges it."""

    def __init__(self, message: str, receiver: Hl7Receiver) -> None:
        super().__init__(message)
        self._receiver = receiver

    def reply(self) -> str:
        parsed = strictly_parsed(self.incoming_message)
        self._receiver.taken.append(self.incoming_message)
        answer = Message("ACK", version="2.5.1")
        answer.msh.msh_7 = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
        answer.msh.msh_9 = "ACK^R01^ACK"
        answer.msh.msh_10 = "answer"
        answer.msh.msh_11 = "P"
        answer.msa.msa_1 = self._receiver.code
        answer.msa.msa_2 = parsed.msh.msh_10.value
        return str(answer.to_mllp())


class Hl7Receiver:
    """hl7apy's MLLP server; `taken` are the messages that it parsed, `code` is its answer."""

    def __init__(self, code: str = "AA") -> None:
        self.taken: list[str] = []
        self.code = code
        handlers: dict[str, tuple[Any, ...]] = {"ORU^R01^ORU_R01": (_Accepting, self)}
        self._server = MLLPServer("127.0.0.1", 0, handlers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def strictly_parsed(message: str) -> Any:
    """The message as hl7apy reads and validates it against the structures of 2.5.1."""
    parsed = parse_message(message, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    parsed.validate()
    return parsed


@contextmanager
def raw_receiver(answer: bytes, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that reads one framed message and sends these very bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer_one, args=(listening, answer, tls))
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def _answer_one(listening: socket.socket, answer: bytes, tls: ssl.SSLContext | None) -> None:
    listening.settimeout(20)
    plain, _ = listening.accept()
    plain.settimeout(20)
    try:
        line = tls.wrap_socket(plain, server_side=True) if tls else plain
    except OSError:
        # The client did not like our certificate, or we not its own.
        plain.close()
        return
    with line:
        received = b""
        while not received.endswith(END):
            piece = line.recv(65536)
            if not piece:
                return
            received += piece
        line.sendall(answer)
