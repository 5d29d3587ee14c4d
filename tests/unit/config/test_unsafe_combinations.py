"""Settings that are valid one by one and unsafe together are refused, with what to write."""

from __future__ import annotations

from typing import Any

import certifi
import pytest

from config.checks import CHECKS, unsafe_combinations
from config.network_names import is_loopback
from config.settings import Settings

PACS = {"ae_title": "PACS", "addresses": ["10.1.2.3/32"]}
FHIR = {"type": "fhir", "name": "ehr", "base_url": "http://127.0.0.1/fhir"}
HL7 = {"type": "hl7", "name": "ris", "host": "127.0.0.1", "port": 2575}
STOW = {"type": "stow", "name": "web", "url": "http://127.0.0.1/dicom-web"}
KEYLESS = certifi.where()
DICOM = {"type": "dicom", "name": "pacs", "host": "10.1.2.3", "port": 104, "ae_title": "PACS"}
SAFE: dict[str, Any] = {"receive": {"host": "0.0.0.0", "senders": [PACS]}}

UNSAFE: dict[str, dict[str, Any]] = {
    "anyone could send": {"receive": {"host": "0.0.0.0", "allow_any_sender": True}},
    "nobody may send": {"receive": {"senders": []}},
    "loopback address only": {
        "receive": {"host": "::", "senders": [PACS], "require_called_ae_title": False}
    },
    "an AE title proves nothing": {"receive": {"host": "0.0.0.0", "senders": [{"ae_title": "A"}]}},
    "find_host and find_port together": {
        "receive": {"senders": [{"ae_title": "A", "find_host": "pacs"}]}
    },
    "listed more than once": {"receive": {"senders": [{"ae_title": "A"}, {"ae_title": "A"}]}},
    "given to another": {**SAFE, "worker": {"lease_s": 20, "heartbeat_s": 15}},
    "enable a pipeline": {**SAFE, "pipelines": {"enabled": []}},
    "two destinations have this name": {**SAFE, "destinations": [DICOM, DICOM]},
    "come back for ever": {
        **SAFE,
        "destinations": [{**DICOM, "host": "127.0.0.1", "port": 11112, "ae_title": "RADNODE"}],
    },
    "clear text: use https": {**SAFE, "destinations": [{**STOW, "url": "http://pacs.example"}]},
    "could stand in for the peer": {
        **SAFE,
        "destinations": [{**STOW, "url": "https://pacs.example", "verify_host_name": False}],
    },
    "give user and password together": {**SAFE, "destinations": [{**STOW, "user": "radnode"}]},
    "one login at a time": {
        **SAFE,
        "destinations": [{**STOW, "user": "u", "password": "p", "bearer_token": "t"}],
    },
    "no colon": {**SAFE, "destinations": [{**STOW, "user": "a:b", "password": "p"}]},
    "use https": {**SAFE, "destinations": [{**FHIR, "base_url": "http://ehr.example/fhir"}]},
    "cannot be read: no such file": {
        **SAFE,
        "destinations": [{**FHIR, "ca_file": "/nonexistent/ca.pem"}],
    },
    "holds no certificate": {**SAFE, "destinations": [{**FHIR, "ca_file": __file__}]},
    "this is every address there is": {
        "receive": {"host": "0.0.0.0", "senders": [{"ae_title": "A", "addresses": ["0.0.0.0/0"]}]}
    },
    "give the sender's own": {
        "receive": {"host": "::", "senders": [{"ae_title": "A", "addresses": ["::/0"]}]}
    },
    "this is a file": {**SAFE, "node": {"data_dir": __file__}},
    f"{__file__} is a file": {
        **SAFE,
        "destinations": [{"type": "folder", "name": "out", "folder": f"{__file__}/a/b"}],
    },
    "start with sqlite:///": {**SAFE, "storage": {"database_url": "mysql://u:p@h/d"}},
    "patient data in clear text to ris.example: set true": {
        **SAFE,
        "destinations": [{**HL7, "host": "ris.example"}],
    },
    "add it to pipelines.enabled": {"receive": {"senders": [{**PACS, "pipelines": ["other"]}]}},
    "no port at all": {"receive": {"senders": [PACS], "port": None}},
    "could never send": {"receive": {"senders": [{**PACS, "certificate_names": ["pacs"]}]}},
    "certificates are named, and TLS is off": {
        **SAFE,
        "destinations": [{**DICOM, "tls": {"ca_file": certifi.where()}}],
    },
    "anybody with a public certificate": {
        **SAFE,
        "destinations": [{**DICOM, "tls": {"enabled": True, "verify_host_name": False}}],
    },
    "name the key that signs": {
        **SAFE,
        "destinations": [{**FHIR, "smart": {"client_id": "radnode"}}],
    },
    "smart.key_files[0]": {
        **SAFE,
        "destinations": [{**FHIR, "smart": {"client_id": "radnode", "key_files": [KEYLESS]}}],
    },
    "name the client": {**SAFE, "destinations": [{**FHIR, "smart": {"key_files": [KEYLESS]}}]},
    "there is no key to serve": {**SAFE, "web": {"port": 8443}},
    "at least retry.first_s": {
        **SAFE,
        "destinations": [{**DICOM, "retry": {"first_s": 60, "longest_s": 30}}],
    },
}


def test_safe_settings_have_no_problem() -> None:
    assert unsafe_combinations(Settings.model_validate(SAFE)) == ()


@pytest.mark.parametrize("message", UNSAFE)
def test_an_unsafe_combination_is_refused_with_its_remedy(message: str) -> None:
    problems = unsafe_combinations(Settings.model_validate(UNSAFE[message]))
    assert [message in str(problem) for problem in problems] == [True]


def test_every_check_is_exercised() -> None:
    seen = {
        check.__name__
        for values in UNSAFE.values()
        for check in CHECKS
        if list(check(Settings.model_validate(values)))
    }
    assert seen == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize(
    "url",
    [
        "secret",
        "postgresql:secret",
        "postgresql://u:secret@host:port/d",
        "postgresql+psycopg://u:secret@host:99999/d",
        "postgresql+psycopg://u:secret@host:0/d",
        "postgresql+psycopg://u:p@secret@host/d",
        "postgresql+psycopg://u:p@/secret@host/d",
        "postgresql+psycopg://u:p@host/secret@host/d",
        "postgresql://u:secret@[::1/d",
        "sqlite://secret",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_a_database_url_of_another_form_is_refused_and_not_shown(url: str) -> None:
    settings = Settings.model_validate({**SAFE, "storage": {"database_url": url}})
    (problem,) = unsafe_combinations(settings)
    assert problem.key == "storage.database_url"
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///radnode.sqlite",
        "sqlite:////var/lib/radnode.sqlite",
        "postgresql:///radnode?host=/run/postgresql",
        "postgresql+psycopg://u:a/b#c?d:e@host:5432/radnode",
        "postgresql+psycopg://u@[::1]:5432/radnode",
    ],
)
def test_a_database_url_that_can_be_used_is_no_problem(url: str) -> None:
    settings = Settings.model_validate({**SAFE, "storage": {"database_url": url}})
    assert unsafe_combinations(settings) == ()


def test_a_file_with_a_certificate_is_no_problem() -> None:
    shipped = certifi.where()
    values = {**SAFE, "destinations": [{**FHIR, "ca_file": shipped}]}
    assert unsafe_combinations(Settings.model_validate(values)) == ()


def test_checks_of_sections_at_fault_are_left_out() -> None:
    nobody = Settings.model_validate({"receive": {"senders": []}})
    assert len(unsafe_combinations(nobody)) == 1
    assert unsafe_combinations(nobody, {"receive"}) == ()


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("[::1]", True), ("10.0.0.1", False), ("a", False)],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
