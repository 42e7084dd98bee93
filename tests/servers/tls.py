"""Certificates for servers: an authority, and a server named `localhost` that it vouches for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.servers import give_away


class Certificates:
    """An authority in a folder, and the settings of a server that has a certificate of it."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.crt"
        key, request = folder / "authority.key", folder / "server.csr"
        certificate, self._server_key = folder / "server.crt", folder / "server.key"
        new: list[str | Path] = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        _openssl(*new, "-x509", "-subj", "/CN=authority", "-keyout", key, "-out", self.authority)
        _openssl(*new, "-subj", "/CN=localhost", "-keyout", self._server_key, "-out", request)
        signed: list[str | Path] = [
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            self.authority,
            "-CAkey",
            key,
            "-CAcreateserial",
        ]
        _openssl(*signed, "-out", certificate)
        self._server_key.chmod(0o600)
        give_away(folder)
        self.settings = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(self._server_key)}


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
