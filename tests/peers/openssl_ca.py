"""Revocation lists made by OpenSSL's own CA program, as a hospital's PKI makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SETTINGS = "[ca]\ndefault_ca = it\n[it]\ndatabase = {index}\ndefault_md = sha256\n"


class OpensslCa:
    """The CA whose `ca.pem` and `ca.key` lie in a folder; its records lie beside them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = folder / "index.txt"
        index.touch()
        (folder / "ca.cnf").write_text(_SETTINGS.format(index=index))

    def withdraw(self, certificate_file: Path) -> None:
        """Put a certificate on the lists from now on."""
        self._ca("-revoke", str(certificate_file))

    def write_list(self, path: Path, *times: str, form: str = "PEM") -> Path:
        """Write the list of now, good for a day, unless `times` are other options for that."""
        pem = path.with_suffix(".new")
        self._ca("-gencrl", "-out", str(pem), *(times or ("-crldays", "1")))
        convert = ["openssl", "crl", "-in", str(pem), "-outform", form, "-out", str(path)]
        subprocess.run(convert, check=True, capture_output=True)
        return path

    def _ca(self, *options: str) -> None:
        own = [f"-{name}={self._folder / file}" for name, file in _FILES]
        words = [word for each in own for word in each.split("=", 1)]
        subprocess.run(["openssl", "ca", *words, *options], check=True, capture_output=True)


_FILES = (("config", "ca.cnf"), ("cert", "ca.pem"), ("keyfile", "ca.key"))
