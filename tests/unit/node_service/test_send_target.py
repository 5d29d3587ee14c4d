from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import NodeSettings, ReceiveSettings, SenderSettings, Settings
from config.tls_settings import ClientTls
from node.data_directory import PORT_FILE, TLS_PORT_FILE
from node.errors import CannotStart
from node.send_target import SendTarget

NOTHING = SendTarget(None, None, None, None)


def _settings(data_dir: Path, **receive: object) -> Settings:
    senders = (SenderSettings(ae_title="PACS"), SenderSettings(ae_title="CT1"))
    return Settings(
        node=NodeSettings(data_dir=data_dir),
        receive=ReceiveSettings.model_validate({"senders": senders, **receive}),
    )


def test_by_default_it_is_this_node_as_its_first_sender(tmp_path: Path) -> None:
    completed = NOTHING.completed(_settings(tmp_path, port=104))

    assert completed.address() == ("127.0.0.1", 104, "RADNODE", "PACS")


def test_what_was_given_stays(tmp_path: Path) -> None:
    given = SendTarget("pacs", 4242, None, "CT9")

    assert given.completed(_settings(tmp_path)).address() == ("pacs", 4242, "RADNODE", "CT9")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_node_on_every_interface_is_reached_on_the_loopback(tmp_path: Path, host: str) -> None:
    assert NOTHING.completed(_settings(tmp_path, host=host)).host == "127.0.0.1"


def test_a_chosen_port_is_read_from_the_running_node(tmp_path: Path) -> None:
    (tmp_path / PORT_FILE).write_text("40123\n")

    assert NOTHING.completed(_settings(tmp_path, port=0)).port == 40123


def test_a_chosen_port_of_a_node_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="--port"):
        NOTHING.completed(_settings(tmp_path, port=0))


def test_only_a_whole_target_has_an_address() -> None:
    assert SendTarget("pacs", 104, "PACS", "CT1").is_complete
    assert not NOTHING.is_complete
    assert not SendTarget("", 104, "PACS", "CT1").is_complete
    with pytest.raises(ValueError, match="not complete"):
        NOTHING.address()


def test_with_tls_it_is_the_tls_port(tmp_path: Path) -> None:
    over_tls = SendTarget(None, None, None, None, ClientTls(enabled=True))
    assert over_tls.completed(_settings(tmp_path, tls={"enabled": True, "port": 99})).port == 99
    chosen = _settings(tmp_path, tls={"enabled": True, "port": 0})
    with pytest.raises(CannotStart, match=r"receive\.tls\.port"):
        over_tls.completed(chosen)
    (tmp_path / TLS_PORT_FILE).write_text("40124\n")
    assert over_tls.completed(chosen).port == 40124


def test_a_port_that_the_node_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="no TLS port"):
        SendTarget(None, None, None, None, ClientTls(enabled=True)).completed(_settings(tmp_path))
    with pytest.raises(CannotStart, match="a TLS port only"):
        NOTHING.completed(_settings(tmp_path, port=None))
