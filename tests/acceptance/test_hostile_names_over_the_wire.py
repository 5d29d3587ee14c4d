"""UIDs, AE titles, character sets and texts that would do harm where they are written raw."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.radnode_process import RadnodeProcess, environment
from tests.peers.ports import free_port, is_listening, wait_until
from tests.peers.raw_elements import data_set
from tests.peers.raw_scu import Ended, Proposal, RawAssociation

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
UID = "1.2.826.0.1.3680043.10.1561.75"
HOSTILE = (
    b"../../../../tmp/pwned",
    b"1.2.3/../../x",
    b'1.2\n{"event": "forged"}',
    b"1.2\r\nforged",
    b"1.2\x1b[2J\x1b[31m",
    b"1.2\x00.3",
    b"\x1b]0;owned\x07",
    b"1.2%0a%00",
    b"<script>x</script>",
    b"1.2 ; rm -rf",
    b"'; DROP TABLE study; --",
    b"\xff\xfe\x80",
    b".",
    b"..",
    b"-",
    b"9" * 65,
)
NAMES = re.compile(r"[A-Za-z0-9._-]+")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
Elements = dict[int, tuple[bytes, bytes]]
SOP_INSTANCE, STUDY, SERIES = 0x00080018, 0x0020000D, 0x0020000E


def _settings(folder: Path, log_format: str) -> dict[str, Any]:
    return {
        "node": {"data_dir": str(folder / "data")},
        "storage": {"disk_low_mib": 16},
        "receive": {"port": 0, "allow_any_sender": True, "require_called_ae_title": False},
        "completeness": {"quiet_time_s": 1, "quiet_time_after_abort_s": 1},
        "worker": {"enabled": False},
        "log": {"format": log_format, "level": "debug"},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[RadnodeProcess]:
    with RadnodeProcess(folder, _settings(folder, "json")) as running:
        yield running


def _elements(number: int = 1) -> Elements:
    """A whole instance of a study, series and instance that no other number has."""
    return {
        0x00080005: (b"CS", b"ISO_IR 192"),
        0x00080016: (b"UI", SECONDARY_CAPTURE.encode()),
        SOP_INSTANCE: (b"UI", f"{UID}.{number}.1.1".encode()),
        0x00080060: (b"CS", b"OT"),
        0x0008103E: (b"LO", b"series"),
        0x00100010: (b"PN", b"Name"),
        0x00100020: (b"LO", b"ID"),
        STUDY: (b"UI", f"{UID}.{number}".encode()),
        SERIES: (b"UI", f"{UID}.{number}.1".encode()),
        0x7FE00010: (b"OB", b"\0\0"),
    }


def _send(
    port: int, given: Iterable[Elements], calling: bytes = b"PACS", called: bytes = b"X"
) -> list[int]:
    """Send instances over one association and return the statuses."""
    context = [Proposal(SECONDARY_CAPTURE)]
    with RawAssociation(port, context, calling=calling, called=called) as association:
        return [
            association.store(0, SECONDARY_CAPTURE, one[SOP_INSTANCE][1], data_set(one)).status
            for one in given
        ]


def _assert_nothing_raw(node: RadnodeProcess, folder: Path) -> None:
    for path in (folder / "data").rglob("*"):
        assert NAMES.fullmatch(path.name), ascii(path.name)
    # Every line is an object of ours: a forged one would be an object, too, or no JSON.
    whole_lines = node.output().rpartition("\n")[0].splitlines()
    events = [json.loads(line)["event"] for line in whole_lines]
    assert "forged" not in events
    assert CONTROL.search(node.output()) is None
    assert [event for event in node.events() if event["level"] == "error"] == []


def test_a_hostile_uid_in_a_data_set_is_refused_and_written_nowhere(
    node: RadnodeProcess, folder: Path
) -> None:
    for tag in (STUDY, SERIES):
        statuses = _send(node.port, ({**_elements(), tag: (b"UI", one)} for one in HOSTILE))
        assert statuses == [0xC000] * len(HOSTILE)

    _assert_nothing_raw(node, folder)


def test_a_hostile_sop_instance_uid_is_refused_and_written_nowhere(
    node: RadnodeProcess, folder: Path
) -> None:
    # The command holds it, too, and the association goes on.
    statuses = _send(node.port, ({**_elements(), SOP_INSTANCE: (b"UI", one)} for one in HOSTILE))

    assert {status & 0xF000 for status in statuses} <= {0xA000, 0xC000}
    _assert_nothing_raw(node, folder)


@pytest.mark.parametrize("side", ["calling", "called"])
def test_a_hostile_ae_title_is_turned_away_or_told_harmlessly(
    node: RadnodeProcess, folder: Path, side: str
) -> None:
    for number, hostile in enumerate(HOSTILE):
        # Nothing but ASCII may be in a title (PS3.5 6.2): to end it is as right.
        with suppress(Ended):
            assert _send(node.port, [_elements(number + 1)], **{side: hostile}) == [0x0000]

    assert _send(node.port, [_elements(99)]) == [0x0000]
    _assert_nothing_raw(node, folder)


def test_hostile_texts_and_character_sets_are_stored_as_they_are_and_shown_harmlessly(
    node: RadnodeProcess, folder: Path
) -> None:
    texts = {
        0x00080005: b"CS",
        0x00080060: b"CS",
        0x0008103E: b"LO",
        0x00100010: b"PN",
        0x00100020: b"LO",
    }
    pairs = [(tag, vr, hostile) for tag, vr in texts.items() for hostile in HOSTILE]
    instances = (
        {**_elements(1000 + number), tag: (vr, hostile)}
        for number, (tag, vr, hostile) in enumerate(pairs)
    )

    statuses = _send(node.port, instances)

    assert set(statuses) <= {0x0000, 0xC000}
    assert statuses.count(0x0000) > len(statuses) / 2
    node.wait_until(
        lambda: all(study["state"] == "routed" for study in node.studies()), what="routing"
    )
    for command in (("status",), ("status", "--json")):
        done = node.run(*command)
        assert done.returncode == 0, done.stderr
        assert CONTROL.search(done.stdout) is None, ascii(done.stdout)
        assert done.stderr == ""
    _assert_nothing_raw(node, folder)


def test_the_log_for_a_person_is_free_of_it_too(tmp_path: Path) -> None:
    with _console_node(tmp_path) as (port, log):
        for hostile in HOSTILE:
            _send(port, [{**_elements(), STUDY: (b"UI", hostile)}])
            with suppress(Ended):
                _send(port, [_elements()], calling=hostile)
        output = log.read_text()

    assert "instance_refused" in output
    assert CONTROL.search(output) is None, ascii(CONTROL.search(output))
    assert not any(line.startswith(("forged", "{")) for line in output.splitlines())


@contextmanager
def _console_node(folder: Path) -> Iterator[tuple[int, Path]]:
    """A node whose log is for a person: nothing to wait for but its port."""
    port, log, config = free_port(), folder / "log", folder / "node.yaml"
    settings = _settings(folder, "console")
    config.write_text(
        yaml.safe_dump({**settings, "receive": {**settings["receive"], "port": port}})
    )
    command = [sys.executable, "-m", "node", "serve", "--config", str(config)]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=folder, env=environment(), stderr=file) as child,
    ):
        try:
            wait_until(lambda: is_listening(port), what="the node")
            yield port, log
        finally:
            child.terminate()
