"""Where a container engine listens: what the user chose, and whether it answers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, urlsplit

from aifo_tasks.engine import unix as sockets
from aifo_tasks.errors import AifoError
from aifo_tasks.value import dataclass

if TYPE_CHECKING:  # slow to import, and local engines need none
    import ssl

Source = Literal["DOCKER_HOST", "context", "default socket", "private", "podman"]

PING_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files a TLS connection to an engine needs; ``verify`` checks the engine's name."""

    ca: Path | None
    certificate: Path | None
    key: Path | None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An engine's address as docker writes it (``unix:///…``, ``tcp://host:2376``).

    ``why`` says in words how it was chosen. ``running`` is False only in a dry run, for an
    engine that would have been started.
    """

    url: str
    source: Source
    why: str
    tls: Tls | None = None
    running: bool = True


def chosen(environment: Mapping[str, str]) -> Endpoint | None:
    """The engine the user chose by DOCKER_HOST or by docker's current context, if any.

    Raises AifoError for a context that does not exist or cannot be read.
    """
    home = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    host = environment.get("DOCKER_HOST", "")
    if host:
        tls = None
        if environment.get("DOCKER_TLS_VERIFY") or environment.get("DOCKER_TLS"):
            files = Path(environment.get("DOCKER_CERT_PATH") or home)
            tls = _tls(files, verify=bool(environment.get("DOCKER_TLS_VERIFY")))
        return Endpoint(url=host, source="DOCKER_HOST", why="DOCKER_HOST names it", tls=tls)
    name, why = environment.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT names the context"
    if not name:
        name, why = _current_context(home / "config.json"), "docker's current context is"
    if name in {"", "default"}:
        return None
    return _context(home / "contexts", name, f"{why} {name}")


def default_sockets(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where docker listens when nobody says otherwise: rootful, then rootless."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    rootless = (Path(runtime) / "docker.sock",) if runtime.startswith("/") else ()
    return (
        Path("/var/run/docker.sock"),
        *rootless,
        Path.home() / ".docker" / "run" / "docker.sock",
    )


def silence(endpoint: Endpoint) -> str:
    """Why the engine does not answer ``GET /_ping`` within 2 s; "" when it does."""
    try:
        ask(endpoint, "/_ping")
    except TimeoutError:
        return f"no answer within {PING_SECONDS:g} s"
    except OSError as error:
        reason = error.strerror or str(error)
        return reason[:1].lower() + reason[1:]
    return ""


def ask(endpoint: Endpoint, path: str) -> bytes:
    """The engine's answer to one GET request; OSError when it gives none or refuses.

    For the few questions that come before the SDK. AifoError for an address that needs a
    helper program, such as ``ssh://``.
    """
    parts = urlsplit(endpoint.url)
    if parts.scheme == "unix":
        status, content = sockets.get(parts.path, path, seconds=PING_SECONDS)
    else:
        status, content = _answer(endpoint, parts, path)
    if status != 200:
        raise OSError(f"status {status} for {path}")
    return content


def unix(path: Path) -> str:
    """The URL of a socket in the file system."""
    return f"unix://{path}"


def _answer(endpoint: Endpoint, parts: SplitResult, path: str) -> tuple[int, bytes]:
    """Status and content of an engine elsewhere."""
    import http.client

    if parts.scheme not in {"tcp", "http", "https"} or not parts.hostname:
        raise AifoError(
            endpoint.url,
            "is no address of an engine that can be reached directly",
            hint="ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST & "
            "export DOCKER_HOST=unix:///tmp/engine.sock",
        )
    host, port = parts.hostname, parts.port
    if endpoint.tls is None and parts.scheme != "https":
        connection = http.client.HTTPConnection(host, port or 2375, timeout=PING_SECONDS)
    else:
        connection = http.client.HTTPSConnection(
            host, port or 2376, timeout=PING_SECONDS, context=_ssl_context(endpoint)
        )
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException:
        raise OSError("does not speak HTTP") from None
    finally:
        connection.close()


def _ssl_context(endpoint: Endpoint) -> ssl.SSLContext:
    import ssl

    tls = endpoint.tls or Tls(ca=None, certificate=None, key=None)
    context = ssl.create_default_context(cafile=tls.ca)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def _tls(directory: Path, *, verify: bool) -> Tls:
    found = [path if path.is_file() else None for path in (
        directory / "ca.pem", directory / "cert.pem", directory / "key.pem",
    )]  # fmt: skip
    return Tls(ca=found[0], certificate=found[1], key=found[2], verify=verify)


def _current_context(config: Path) -> str:
    try:
        data = json.loads(config.read_bytes())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise AifoError(str(config), f"cannot be read: {error}") from None
    name = data.get("currentContext", "") if isinstance(data, dict) else ""
    return name if isinstance(name, str) else ""


def _context(contexts: Path, name: str, why: str) -> Endpoint:
    """Docker keeps a context below the SHA-256 of its name."""
    key = hashlib.sha256(name.encode()).hexdigest()
    try:
        data = json.loads((contexts / "meta" / key / "meta.json").read_bytes())
        docker = data["Endpoints"]["docker"]
        url, verify = str(docker["Host"]), not docker.get("SkipTLSVerify", False)
    except FileNotFoundError:
        raise AifoError(
            f"docker context {name}", "does not exist", hint="docker context ls"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise AifoError(
            f"docker context {name}", "names no engine", hint=f"docker context inspect {name}"
        ) from None
    files = contexts / "tls" / key / "docker"
    tls = _tls(files, verify=verify) if files.is_dir() else None
    return Endpoint(url=url, source="context", why=why, tls=tls)


def is_root() -> bool:
    """True for the one user who can start a rootful engine and install packages."""
    return os.geteuid() == 0
