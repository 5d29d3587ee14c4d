"""Orthanc as a PACS: stores, answers C-FIND, routes automatically, takes results.

Orthanc's DICOM port cannot be bound to one address, so it answers to known AE titles from
127.0.0.1 only; its HTTP port takes local requests only.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import httpx

from tests.peers.ports import free_port, is_listening, wait_until

AutoRoute = Literal["each_instance", "stable_study"]

# What came from the node itself is not sent back to it.
_EACH_INSTANCE = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  if origin['RemoteAet'] ~= '{aet}' then
    SendToModality(instanceId, '{name}')
  end
end
"""
DICOM_WEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

_STABLE_STUDY = """
function OnStableStudy(studyId, tags, metadata)
  local order = {{Resources = {{studyId}}, Synchronous = false}}
  RestApiPost('/modalities/{name}/store', DumpJson(order))
end
"""


@dataclass(frozen=True)
class Modality:
    """A DICOM node that this PACS knows, may be called by, and may send to."""

    name: str
    ae_title: str
    port: int
    use_tls: bool = False


@dataclass(frozen=True)
class DicomWeb:
    """The DICOMweb services of an Orthanc, for callers with a login where there is one."""

    user: str | None = None
    password: str = ""


@dataclass(frozen=True)
class OrthancTls:
    """Certificates of an Orthanc whose DICOM port speaks TLS and asks for a certificate."""

    certificate_file: Path
    key_file: Path
    ca_file: Path
    is_server: bool = True


class Orthanc:
    """One Orthanc in a temporary folder, as a context manager.

    `auto_route` sends to the first of `modalities`: each instance as it is stored, or the whole
    study once nothing came for `stable_age_s`. A stable study is sent with all that it has by
    then, the node's own results included. Orthanc releases an association to a modality only
    `association_close_delay_s` after its last use; 5 is its own default.
    """

    def __init__(
        self,
        modalities: Sequence[Modality] = (),
        *,
        aet: str = "ORTHANC",
        auto_route: AutoRoute | None = None,
        stable_age_s: int = 1,
        association_close_delay_s: int = 5,
        lua: str = "",
        tls: OrthancTls | None = None,
        web: DicomWeb | None = None,
    ) -> None:
        self._tls = tls
        self._web = web
        self.aet = aet
        self.dicom_port = free_port()
        self.http_port = free_port()
        self.http_url = f"http://127.0.0.1:{self.http_port}"
        self._modalities = tuple(modalities)
        self._stable_age_s = stable_age_s
        self._association_close_delay_s = association_close_delay_s
        self._lua = lua + self._routing(auto_route)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Orthanc:
        # One for all requests: to read the system's certificates takes longer than any of them.
        self._http = httpx.Client(timeout=120, trust_env=False, verify=False)
        self._folder = tempfile.TemporaryDirectory(prefix="orthanc-")
        folder = Path(self._folder.name)
        (folder / "routing.lua").write_text(self._lua)
        (folder / "orthanc.json").write_text(json.dumps(self._configuration(folder)))
        with (folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(folder / "orthanc.json")],
                cwd=folder,
                env={**os.environ, "TCP_NODELAY": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_up, what="Orthanc", timeout_s=60)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def web_url(self) -> str:
        """Base URL of its DICOMweb services."""
        return f"{self.http_url}/dicom-web"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """Return what Orthanc has written about itself so far."""
        assert self._folder is not None
        return (Path(self._folder.name) / "orthanc.log").read_text(errors="replace")

    def upload(self, path: Path) -> str:
        """Store one file over HTTP and return Orthanc's identifier of the instance."""
        return str(self._post("/instances", content=path.read_bytes())["ID"])

    def delete(self, study_id: str) -> None:
        """Delete a study by Orthanc's identifier of it."""
        self._http.delete(f"{self.http_url}/studies/{study_id}", timeout=60).raise_for_status()

    def delete_instance(self, instance_id: str) -> None:
        """Delete an instance by Orthanc's identifier of it."""
        httpx.delete(f"{self.http_url}/instances/{instance_id}", timeout=60).raise_for_status()

    def study_id(self, study_instance_uid: str) -> str | None:
        """Return Orthanc's identifier of a study, or None while it has none of it."""
        found = self._find("Study", study_instance_uid)
        return str(found[0]) if found else None

    def instances(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return the main tags of a study's instances by keyword; `ID` is Orthanc's own."""
        found = self._find("Instance", study_instance_uid)
        return [self._tags(str(instance)) for instance in found]

    def all_instances(self) -> dict[str, int]:
        """Return the size of every instance's file by SOP Instance UID."""
        response = self._http.get(f"{self.http_url}/instances?expand", timeout=120)
        response.raise_for_status()
        return {
            str(instance["MainDicomTags"]["SOPInstanceUID"]): int(instance["FileSize"])
            for instance in response.json()
        }

    def file(self, instance_id: str) -> bytes:
        """Return the Part 10 file of an instance as Orthanc keeps it."""
        response = self._http.get(f"{self.http_url}/instances/{instance_id}/file", timeout=60)
        response.raise_for_status()
        return response.content

    def send_to_modality(self, name: str, resources: str | Sequence[str]) -> dict[str, Any]:
        """Send instances, series or studies by C-STORE and wait for the end."""
        wanted = [resources] if isinstance(resources, str) else list(resources)
        query = {"Resources": wanted, "Synchronous": True}
        return dict(self._post(f"/modalities/{name}/store", json=query))

    def try_to_send(self, name: str, resource: str) -> bool:
        """Send as `send_to_modality` does; tell whether Orthanc says that it failed."""
        query = {"Resources": [resource], "Synchronous": True}
        url = f"{self.http_url}/modalities/{name}/store"
        return not self._http.post(url, json=query, timeout=120).is_success

    def _routing(self, auto_route: AutoRoute | None) -> str:
        if auto_route is None:
            return ""
        target = self._modalities[0]
        script = _EACH_INSTANCE if auto_route == "each_instance" else _STABLE_STUDY
        return script.format(aet=target.ae_title, name=target.name)

    def _configuration(self, folder: Path) -> dict[str, Any]:
        return {
            "Name": "test PACS",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "LuaScripts": [str(folder / "routing.lua")],
            "Plugins": [str(DICOM_WEB_PLUGIN)] if self._web else [],
            **self._web_configuration(),
            "DicomAet": self.aet,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": False,
            "DicomAlwaysAllowFind": False,
            "DicomAlwaysAllowGet": False,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self._web and self._web.user),
            "StableAge": self._stable_age_s,
            **self._tls_configuration(),
            "DicomAssociationCloseDelay": self._association_close_delay_s,
            "DicomModalities": {
                modality.name: {
                    "AET": modality.ae_title,
                    "Host": "127.0.0.1",
                    "Port": modality.port,
                    "AllowEcho": True,
                    "AllowFind": True,
                    "AllowStore": True,
                    "UseDicomTls": modality.use_tls,
                    "AllowMove": False,
                    "AllowGet": False,
                }
                for modality in self._modalities
            },
        }

    def _web_configuration(self) -> dict[str, Any]:
        if self._web is None:
            return {}
        users = {self._web.user: self._web.password} if self._web.user else {}
        return {"RegisteredUsers": users}

    def _tls_configuration(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "DicomTlsEnabled": self._tls.is_server,
            "DicomTlsCertificate": str(self._tls.certificate_file),
            "DicomTlsPrivateKey": str(self._tls.key_file),
            "DicomTlsTrustedCertificates": str(self._tls.ca_file),
            "DicomTlsRemoteCertificateRequired": True,
        }

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Orthanc ended at once:\n{self.log()}")
        if self._web is not None and self._web.user:
            return is_listening(self.http_port)
        try:
            return self._http.get(f"{self.http_url}/system", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _stop(self) -> None:
        self._http.close()
        if self._process is not None:
            # What it keeps goes with it, and to shut down in order takes it seconds.
            self._process.kill()
            self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    def _find(self, level: str, study_instance_uid: str) -> list[str]:
        query = {"Level": level, "Query": {"StudyInstanceUID": study_instance_uid}}
        return [str(found) for found in self._post("/tools/find", json=query)]

    def _tags(self, instance_id: str) -> dict[str, Any]:
        response = self._http.get(
            f"{self.http_url}/instances/{instance_id}/simplified-tags", timeout=60
        )
        response.raise_for_status()
        return {"ID": instance_id, **response.json()}

    def _post(self, path: str, **content: Any) -> Any:
        response = self._http.post(f"{self.http_url}{path}", timeout=120, **content)
        response.raise_for_status()
        return response.json()
