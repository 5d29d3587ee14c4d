"""DCMTK's command line tools as senders and as a receiver on 127.0.0.1."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.peers.ports import free_port, is_listening, wait_until

# Without it DCMTK's small writes wait 40 ms for delayed acknowledgements.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}

IMPLICIT_ONLY = ("+xi",)


def echoscu(
    port: int, *, calling: str, called: str, options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Send a C-ECHO; the exit status is 0 when it was answered."""
    arguments = ["-v", *_titles(calling, called), *options, "127.0.0.1", str(port)]
    return _run("echoscu", arguments)


def tls_options(certificate_file: Path, key_file: Path, ca_file: Path) -> tuple[str, ...]:
    """Options of every DCMTK tool, client or server, for mutual TLS."""
    return ("+tls", str(key_file), str(certificate_file), "+cf", str(ca_file))


def storescu(
    port: int,
    paths: Sequence[Path],
    *,
    calling: str,
    called: str,
    options: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Send files by C-STORE over one association; options go to storescu as they are."""
    arguments = ["-v", *_titles(calling, called), *options, "127.0.0.1", str(port)]
    return _run("storescu", arguments + [str(path) for path in paths])


def findscu(
    port: int, keys: Sequence[str], *, calling: str, called: str
) -> subprocess.CompletedProcess[str]:
    """Ask a C-FIND of the Study Root model with keys like `0020,000D=1.2.3`."""
    arguments = ["-v", "-S", *_titles(calling, called)]
    for key in keys:
        arguments += ["-k", key]
    return _run("findscu", [*arguments, "127.0.0.1", str(port)])


def accepting_only(path: Path, sop_classes: Sequence[str]) -> tuple[str, ...]:
    """Options of a `StoreScp` that takes these SOP Classes alone; `path` is where that stands."""
    contexts = [
        f"PresentationContext{number} = {uid}\\Uncompressed"
        for number, uid in enumerate(sop_classes, 1)
    ]
    lines = [
        "[[TransferSyntaxes]]",
        "[Uncompressed]",
        "TransferSyntax1 = LittleEndianExplicit",
        "TransferSyntax2 = LittleEndianImplicit",
        "[[PresentationContexts]]",
        "[Accepted]",
        *contexts,
        "[[Profiles]]",
        "[Restricted]",
        "PresentationContexts = Accepted",
    ]
    path.write_text("\n".join(lines) + "\n")
    return ("--config-file", str(path), "Restricted")


class StoreScp:
    """A `storescp` that writes what it takes to `folder`, bit by bit as it came.

    Options restrict what it accepts, for instance `IMPLICIT_ONLY`.
    """

    def __init__(self, folder: Path, *, ae_title: str = "STORESCP", options: Sequence[str] = ()):
        self.folder = folder
        self.ae_title = ae_title
        self.port = free_port()
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> StoreScp:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = ["storescp", "-aet", self.ae_title, "-od", str(self.folder), "+B"]
        self._process = subprocess.Popen(
            [*command, *self._options, str(self.port)],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: is_listening(self.port), what="storescp")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def files(self) -> list[Path]:
        """Return the files taken so far, in the order of their names."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


def _titles(calling: str, called: str) -> list[str]:
    return ["-aet", calling, "-aec", called]


def _run(program: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
