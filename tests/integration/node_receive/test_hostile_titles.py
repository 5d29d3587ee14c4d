"""AE titles are 16 bytes of anybody's choice: no log line, row or page carries them raw."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog
from rich.console import Console

from config.settings import LogSettings
from node.log_setup import configure_logging
from node.status_gate import rejections_table
from node.status_table import status_json
from storage.audit import list_audit
from storage.overview import study_rows
from storage.rejections import list_rejections
from tests.integration.node_receive.mr_study import ROOT, mr_instance
from tests.integration.node_receive.running_listener import StartListener, receive_settings
from tests.integration.node_receive.sender import encoded
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import A_ABORT, A_ASSOCIATE_RJ, RawPeer, associate_request

HOSTILE = {
    "terminal": b"\x1b[2J\x1b[31mPACS",
    "new line": b'A\n{"level":"x"}',
    "carriage return": b"PACS\rOK",
    "null": b"PACS\0\0\0\0\0\0\0\0\0\0\0\0",
    "controls of latin-1": b"\x9b2JPACS\x85x",
    "not ascii": "Größe".encode(),
    "markup": b"[red]<b>&\"'`$(x)",
    "path": b"../../etc/passwd",
    "backslashes": b"\\x1b\\n\\\\",
    "a uid": b"1.2.3.4.5.6.7.8",
}


@pytest.fixture(params=["json", "console"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    settings = LogSettings(level="debug", format=request.param)
    configure_logging(settings, process="test", stream=stream)
    yield stream
    structlog.reset_defaults()  # the stream of now would be closed in later tests


def _is_harmless(text: str) -> bool:
    return all(" " <= sign <= "~" for sign in text)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("place", ["calling", "called"])
def test_a_rejected_title_is_told_in_printable_signs_only(
    start_listener: StartListener, log: io.StringIO, name: str, place: str
) -> None:
    running = start_listener(receive_settings(require_called_ae_title=False))
    calling = HOSTILE[name] if place == "calling" else b"STRANGER"
    called = HOSTILE[name] if place == "called" else b"RADNODE"
    with RawPeer(running.port) as peer:
        peer.send(associate_request(calling=calling, called=called))
        answer = peer.receive()
    assert answer is not None
    assert answer[0] == A_ASSOCIATE_RJ

    (entry,) = wait_until(lambda: list_audit(running.db, 10), what="an audit line")
    (row,) = list_rejections(running.db, 10)
    told = [entry.actor, *entry.detail.values(), row.calling_ae_title, row.address]
    assert all(map(_is_harmless, told))
    assert HOSTILE[name] not in log.getvalue().encode("latin-1") or _is_harmless(
        HOSTILE[name].decode("latin-1")
    )
    assert all(map(_is_harmless, log.getvalue().splitlines()))
    assert sum("association_rejected" in line for line in log.getvalue().split("\n")) == 1
    console = Console(width=200, force_terminal=False)
    with console.capture() as page:
        console.print(rejections_table([row]))
    assert "\x1b" not in page.get()


@pytest.mark.parametrize("name", HOSTILE)
def test_where_anyone_may_send_a_title_is_kept_in_printable_signs_or_the_caller_aborted(
    start_listener: StartListener, name: str
) -> None:
    running = start_listener(receive_settings(senders=(), allow_any_sender=True))
    with RawPeer(running.port) as peer:
        peer.send(associate_request(calling=HOSTILE[name]))
        answer = peer.receive()
        assert answer is not None
        if answer[0] == A_ABORT:
            assert not _is_ae_title(HOSTILE[name])
            return
        assert peer.store(3, f"{ROOT}.1.1.1", encoded(mr_instance())) == 0x0000
        peer.release()

    (study,) = study_rows(running.db, 10)
    assert _is_harmless(study.calling_ae_title)
    assert _is_harmless(json.dumps(status_json((study,))))


def _is_ae_title(raw: bytes) -> bool:
    return all(0x20 <= byte <= 0x7E and byte != 0x5C for byte in raw)


def test_padding_and_case_do_not_make_a_stranger_a_friend(start_listener: StartListener) -> None:
    running = start_listener()
    for calling in (b"pacs", b"PACS\0", b"PACS\x1b", b"P ACS", b"PACS.", b"\\x50ACS", b""):
        with RawPeer(running.port) as peer:
            peer.send(associate_request(calling=calling))
            answer = peer.receive()
        assert answer is not None
        assert (calling, answer[0]) == (calling, A_ASSOCIATE_RJ)
    for calling in (b"PACS", b"  PACS", b"PACS      "):
        with RawPeer(running.port) as peer:
            peer.associate(associate_request(calling=calling))
            peer.release()
