"""The host's bundle of certificate authorities, which builds and sidecars trust as well."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from aifo_tasks.errors import AifoError

VARIABLES = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
)
"""What the tools of a sidecar read; each is set to the bundle's place in the container."""

_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS
)


def bundle(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file ``SSL_CERT_FILE`` names, else the system's own bundle; None when there is none.

    Raises AifoError when ``SSL_CERT_FILE`` names a file that is not there.
    """
    named = environ.get("SSL_CERT_FILE", "").strip()
    if named:
        path = Path(named).absolute()
        if not path.is_file():
            raise AifoError(
                "SSL_CERT_FILE", f"names {named}, which is not a file", hint="unset SSL_CERT_FILE"
            )
        return path
    return next((place for place in map(Path, _PLACES) if place.is_file()), None)
