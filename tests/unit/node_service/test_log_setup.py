from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from config.settings import LogSettings
from node.log_setup import configure_logging, describe_error, safe_text, safe_value
from storage.instance_files import uid_tag

UID = "1.2.826.0.1.3680043.10.1561.1"


class Log:
    def __init__(self) -> None:
        self._stream = io.StringIO()
        configure_logging(LogSettings(level="debug"), process="test", stream=self._stream)

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def only_line(self) -> dict[str, Any]:
        (line,) = self.text.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


@pytest.fixture
def log() -> Log:
    return Log()


def _raise_with_patient_data() -> None:
    raise ValueError("cannot read Doe^Jane")


def test_a_line_is_one_json_object_with_aware_utc_time_level_event_process_and_pid(
    log: Log,
) -> None:
    structlog.get_logger().info("job_started", job_id=7)

    line = log.only_line()
    assert list(line) == ["time", "level", "event", "process", "pid", "job_id"]
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    assert (line["level"], line["event"], line["process"]) == ("info", "job_started", "test")


def test_keys_that_name_a_patient_are_dropped(log: Log) -> None:
    structlog.get_logger().info(
        "x", patient_name="Doe^Jane", PatientID="P1", birth_date="19700101", accession="A1", n=1
    )

    assert log.only_line()["n"] == 1
    assert all(text not in log.text for text in ("Doe", "P1", "1970", "A1"))


def test_the_same_keys_are_dropped_deep_inside_values(log: Log) -> None:
    structlog.get_logger().info("x", detail={"study": [{"patient_id": "P1", "n": 1}]})

    assert log.only_line()["detail"] == {"study": [{"n": 1}]}


def test_uids_become_their_tag_wherever_they_stand(log: Log) -> None:
    structlog.get_logger().info("x", path=Path("instances") / UID / "a.dcm", uid=UID)

    assert log.only_line()["uid"] == f"uid:{uid_tag(UID)}"
    assert UID not in log.text


def test_addresses_versions_and_numbers_are_no_uids(log: Log) -> None:
    structlog.get_logger().info("x", address="127.0.0.1", version="1.2.3", share=0.25)

    line = log.only_line()
    assert (line["address"], line["version"], line["share"]) == ("127.0.0.1", "1.2.3", 0.25)


def test_an_unknown_object_leaves_its_class_only(log: Log) -> None:
    dataset = Dataset()
    dataset.PatientName = "Doe^Jane"
    structlog.get_logger().info("x", header=dataset, name=dataset.PatientName, raw=b"Doe")

    line = log.only_line()
    assert (line["header"], line["name"], line["raw"]) == ("Dataset", "PersonName", "bytes")


def test_an_event_that_is_free_text_is_withheld(log: Log) -> None:
    structlog.get_logger().info("Cannot read study of Doe^Jane")

    assert log.only_line()["event"] == "free_text_withheld"
    assert "Doe" not in log.text


def test_an_exception_leaves_class_and_frames_but_not_its_text(log: Log) -> None:
    try:
        _raise_with_patient_data()
    except ValueError:
        structlog.get_logger().error("broke", exc_info=True)

    line = log.only_line()
    assert line["error"] == "ValueError"
    assert all(frame.split(":")[0].endswith("test_log_setup") for frame in line["frames"])
    assert "Doe" not in log.text


def test_messages_of_libraries_leave_their_place_but_not_their_text(log: Log) -> None:
    logging.getLogger("pydicom").warning("Invalid value %s", "Doe^Jane")

    line = log.only_line()
    assert (line["event"], line["logger"], line["level"]) == (
        "library_message",
        "pydicom",
        "warning",
    )
    assert "Doe" not in log.text


def test_chatter_of_libraries_is_not_logged_at_all(log: Log) -> None:
    logging.getLogger("httpx").info("GET http://ehr/Patient?identifier=P1")

    assert log.text == ""


def test_python_warnings_leave_their_category_but_not_their_text(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging(LogSettings(level="debug"), process="test", stream=log._stream)
        warnings.warn("value Doe^Jane is too long", UserWarning, stacklevel=1)

    assert log.only_line()["category"] == "UserWarning"
    assert "Doe" not in log.text


def test_an_error_that_ends_a_thread_is_logged_without_its_text(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    thread = threading.Thread(target=_raise_with_patient_data)
    thread.start()
    thread.join()

    assert log.only_line()["event"] == "uncaught_error"
    assert "Doe" not in log.text + capsys.readouterr().err


def test_the_level_of_the_settings_counts() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="warning"), process="test", stream=stream)

    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_the_console_format_is_as_free_of_patient_data() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(format="console"), process="test", stream=stream)

    structlog.get_logger().info("x", patient_id="P1", uid=UID, n=1)

    assert "n=1" in stream.getvalue()
    assert "P1" not in stream.getvalue()
    assert UID not in stream.getvalue()


def test_an_error_is_described_by_class_and_place() -> None:
    with pytest.raises(ValueError, match="Doe") as caught:
        _raise_with_patient_data()

    assert describe_error(caught.value).startswith("ValueError at ")
    assert "Doe" not in describe_error(caught.value)


@given(st.text())
def test_safe_text_is_printable_ascii_of_bounded_length(text: str) -> None:
    safe = safe_text(text)

    assert len(safe) <= 500
    assert safe.isascii()
    assert not safe or safe.isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.binary() | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_every_safe_value_can_be_written_as_json(value: object) -> None:
    json.dumps(safe_value(value))


def test_a_full_disk_under_the_log_costs_the_line_and_nothing_else() -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 -- its closing fails, too
    configure_logging(LogSettings(), process="test", stream=full)
    structlog.get_logger().info("told_in_vain")
    with pytest.raises(OSError, match="No space left"):
        full.close()
