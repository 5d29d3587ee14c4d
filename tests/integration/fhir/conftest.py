from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fhir.scripted_answers import answers
from tests.peers.fhir_server import FhirServer
from tests.peers.scripted_http import ScriptedHttpServer


@pytest.fixture(scope="session")
def running_fhir_server() -> Iterator[FhirServer]:
    with FhirServer() as server:
        yield server


@pytest.fixture
def server(running_fhir_server: FhirServer) -> FhirServer:
    """The strict server, empty."""
    running_fhir_server.reset()
    return running_fhir_server


@pytest.fixture
def scripted() -> Iterator[ScriptedHttpServer]:
    """A server that speaks R4 and has nothing, until a test tells it otherwise."""
    with ScriptedHttpServer(answers()) as server:
        yield server
