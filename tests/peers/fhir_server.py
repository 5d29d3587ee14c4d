"""A strict FHIR R4 server of others' make (Medplum's router), for tests that deliver to one.

It validates all that is written against HL7's definitions, checks references, takes transactions
as a whole or not at all, and keeps a log of every exchange. It lives in memory, on a free port of
127.0.0.1, and ends with the test run.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

FOLDER = Path(__file__).parent / "fhir_r4_server"
INSTALL_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 10.0

Json = dict[str, Any]


def install() -> None:
    """Install the server's packages beside it, once, at the versions of its lock file."""
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (FOLDER / "node_modules" / ".package-lock.json").exists():
            return
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--silent"],
            cwd=FOLDER,
            check=True,
            timeout=INSTALL_TIMEOUT_S,
        )


class FhirServer:
    """The server as a context manager; `reset` empties and seeds it for the next test."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._origin = ""
        self._http = httpx.Client(timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        install()
        # It ends by itself when its standard input closes, should this process be killed.
        self._process = subprocess.Popen(
            ["node", "server.mjs"],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.__exit__(None, None, None)
            raise RuntimeError("the FHIR server did not start")
        self._origin = f"http://127.0.0.1:{json.loads(line)['port']}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        if self._process is None:
            return
        self._process.terminate()
        self._process.communicate(timeout=STOP_TIMEOUT_S)

    @property
    def port(self) -> int:
        """Where it listens, in clear."""
        return int(self._origin.rpartition(":")[2])

    @property
    def base_url(self) -> str:
        """The FHIR base."""
        return f"{self._origin}/fhir"

    def reset(self, resources: Sequence[Mapping[str, Any]] = (), **options: Any) -> None:
        """Forget everything, then keep these resources (with their ids).

        Options: `bearer` (the token to ask for), `mostConditional` (the most entries that a
        transaction with a conditional create may have).
        """
        body = {"resources": list(resources), **options}
        self._http.post(f"{self._origin}/control/reset", json=body).raise_for_status()

    @property
    def log(self) -> list[Json]:
        """Every FHIR exchange since the reset: method, url, headers, body, status."""
        exchanges: list[Json] = self._http.get(f"{self._origin}/control/log").json()
        return exchanges

    def all(self, resource_type: str) -> list[Json]:
        """Every resource of a type."""
        found = self._get(f"{resource_type}?_count=1000")
        return [entry["resource"] for entry in found.get("entry", [])]

    def read(self, reference: str) -> Json:
        """One resource by `Type/id`."""
        return self._get(reference)

    def versions(self, reference: str) -> int:
        """How many versions of a resource there are."""
        return len(self._get(f"{reference}/_history").get("entry", []))

    def errors_of(self, resource: Mapping[str, Any]) -> list[Json]:
        """What is wrong with a resource by R4; empty when it is valid."""
        url = f"{self.base_url}/$validate"
        headers = {"Content-Type": "application/fhir+json"}
        answer = self._http.post(url, content=json.dumps(resource), headers=headers)
        issues: list[Json] = answer.raise_for_status().json()["issue"]
        return issues

    def post(self, bundle: Mapping[str, Any]) -> Json:
        """Post a transaction and return the answer's Bundle."""
        headers = {"Content-Type": "application/fhir+json"}
        answer = self._http.post(self.base_url, content=json.dumps(bundle), headers=headers)
        made: Json = answer.raise_for_status().json()
        return made

    def _get(self, path: str) -> Json:
        answer: Json = self._http.get(f"{self.base_url}/{path}").raise_for_status().json()
        return answer
