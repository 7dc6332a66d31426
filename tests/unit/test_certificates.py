"""Which bundle of certificate authorities builds and sidecars get."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks import certificates
from aifo_tasks.errors import AifoError


def test_the_named_file_comes_first(tmp_path: Path) -> None:
    named = tmp_path / "ours.pem"
    named.write_text("-----BEGIN CERTIFICATE-----\n")
    assert certificates.bundle({"SSL_CERT_FILE": str(named)}) == named


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "gone.pem"
    with pytest.raises(AifoError) as caught:
        certificates.bundle({"SSL_CERT_FILE": str(missing)})
    assert str(caught.value) == (
        f"SSL_CERT_FILE: names {missing}, which is not a file (hint: unset SSL_CERT_FILE)"
    )


def test_else_it_is_the_systems() -> None:
    found = certificates.bundle({})
    assert found is None or b"BEGIN CERTIFICATE" in found.read_bytes()
    if Path("/etc/debian_version").exists():
        assert found == Path("/etc/ssl/certs/ca-certificates.crt")
