"""MLLP (HL7 Minimal Lower Layer Protocol, release 1): one message, one answer, over TCP or TLS.

The only place that knows the socket, and the border for its errors. A connection serves one
message: radnode sends few, and a receiver that was restarted meanwhile is not met half open.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final

from config.tls_failure import EXPLANATIONS, failure_of
from fhir.errors import TransientFhirError

START: Final = b"\x0b"
END: Final = b"\x1c\r"
MOST_BYTES: Final = 1 << 20
"""Largest answer that is read: an acknowledgement is a few hundred bytes."""
LONGEST_EXCHANGE: Final = 4
"""The whole exchange may last this many times `timeout_s`, which limits each single wait."""


def exchange(
    address: tuple[str, int],
    message: bytes,
    *,
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
    host_name: str | None = None,
) -> bytes:
    """Send a message and return the answer, both without their framing.

    `host_name` is what the certificate has to name, where that is not the host.

    Raises:
        TransientFhirError: no connection, no trust, no answer in time, or one that is no MLLP.
    """
    deadline = time.monotonic() + LONGEST_EXCHANGE * timeout_s
    try:
        with socket.create_connection(address, timeout_s) as plain:
            line = tls.wrap_socket(plain, server_hostname=host_name or address[0]) if tls else plain
            with line:
                line.sendall(START + message + END)
                return _answer(line, deadline)
    except ssl.SSLError as error:
        # Its own text can quote names of the certificate.
        failure = failure_of(error)
        raise TransientFhirError("tls", f"TLS failed: {EXPLANATIONS[failure]}") from None
    except TimeoutError:
        raise TransientFhirError("timeout", "the receiver did not answer in time") from None
    except OSError as error:
        text = f"the receiver cannot be reached: {error.strerror or type(error).__name__}"
        raise TransientFhirError("no_connection", text) from None


def _answer(line: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while END not in received:
        if time.monotonic() > deadline:
            raise TimeoutError
        piece = line.recv(65536)
        if not piece:
            text = "the receiver hung up without an acknowledgement"
            raise TransientFhirError("no_answer", text)
        received += piece
        if len(received) > MOST_BYTES:
            raise TransientFhirError("bad_response", "the answer is too long for any")
    start = received.find(START)
    if start < 0:
        raise TransientFhirError("bad_response", "the answer is not framed as MLLP asks")
    return bytes(received[start + 1 : received.find(END, start)])
