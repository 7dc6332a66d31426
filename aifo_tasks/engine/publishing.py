"""Builds that leave the engine, and what registries have: ``docker buildx`` and its imagetools."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from aifo_tasks import log, process
from aifo_tasks.engine import buildx, preview
from aifo_tasks.engine.api import Progress, PublishSpec
from aifo_tasks.errors import EngineError, NotFoundError, ProcessError

_WANTS_LOGIN = re.compile(
    r"401 unauthorized|no basic auth credentials|authentication required|authorization failed"
    r"|access (?:to the resource is )?denied|denied: |insufficient_scope|403 forbidden",
    re.IGNORECASE,
)
_NOT_TRUSTED = re.compile(r"x509: |tls: |server gave HTTP response to HTTPS", re.IGNORECASE)
_NOT_THERE = re.compile(r"not found|manifest unknown|name unknown", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"connection refused|connection reset|no such host|i/o timeout|\bEOF\b|broken pipe"
    r"|use of closed network connection"
    r"|deadline exceeded|network is unreachable",
    re.IGNORECASE,
)
_FULL = re.compile(r"no space left on device", re.IGNORECASE)

_NO_PLATFORM = ("", "unknown/unknown")
"""What attestations are for."""


class Publisher:
    """buildx as one engine's client: ``client`` is how its command lines begin."""

    def __init__(self, client: preview.Argv) -> None:
        self._client = client

    def publish(self, spec: PublishSpec, progress: Progress) -> str:
        """Build for all platforms into the spec's archive; the digest, "" in a dry run.

        Raises EngineError, and then the archive may be there in part.
        """
        argv = preview.publish_argv(spec, "", self._client)
        if not log.command(preview.build_text(argv, spec.build.dockerfile)):
            return ""
        buildx.require(self._client)
        with tempfile.TemporaryDirectory(prefix="aifo-publish-") as scratch:
            metadata = Path(scratch) / "metadata.json"
            argv = preview.publish_argv(spec, str(metadata), self._client)
            try:
                buildx.run(argv, spec.build.dockerfile, progress)
            except ProcessError as error:
                problem = f"the build failed with {error.problem}"
                raise explained(
                    spec.build.tag, error.tail, otherwise=problem, hint=error.hint
                ) from None
            return str(json.loads(metadata.read_bytes())["containerimage.digest"])

    def platforms(self, builder: str) -> tuple[str, ...]:
        """What a builder can build for, natively or emulated; EngineError for one unknown."""
        buildx.require(self._client)
        argv = [*self._client, "buildx", "inspect", builder]
        try:
            answer = process.run(argv).stdout.decode("utf-8", "replace")
        except ProcessError as error:
            last = error.tail.strip().splitlines()[-1:] or [error.problem]
            raise EngineError(f"builder {builder}", last[0], hint="docker buildx ls") from None
        found: list[str] = []
        for line in answer.splitlines():
            name, _, rest = line.partition(":")
            if name.strip() == "Platforms":
                found += [word.strip().rstrip("*") for word in rest.split(",")]
        return tuple(dict.fromkeys(found))

    def manifest(self, reference: str) -> bytes | None:
        """The manifest or manifest list that a registry has, None when it has none.

        Raises EngineError when the registry does not say.
        """
        argv = [*self._client, "buildx", "imagetools", "inspect", "--raw", reference]
        try:
            return process.run(argv).stdout
        except ProcessError as error:
            refused = explained(reference, error.tail)
            if isinstance(refused, NotFoundError):
                return None
            raise refused from None

    def retag(self, source: str, *tags: str) -> None:
        """Give what a registry has under ``source`` further names in it."""
        self.merge([source], *tags)

    def merge(self, sources: Sequence[str], *tags: str) -> None:
        """Put what a registry has under several names together under each of these."""
        try:
            process.change(preview.retag_argv(sources, tags, self._client))
        except ProcessError as error:
            raise explained(sources[0], error.tail) from None

    def labels(self, reference: str) -> Mapping[str, Mapping[str, str]] | None:
        """The labels of what a registry has, by platform; None when it has nothing."""
        argv = [*self._client, "buildx", "imagetools", "inspect"]
        try:
            said = process.run([*argv, "--format", "{{json .Image}}", reference]).stdout
        except ProcessError as error:
            refused = explained(reference, error.tail)
            if isinstance(refused, NotFoundError):
                return None
            raise refused from None
        found = json.loads(said)
        images = [found] if "architecture" in found else list(found.values())
        labels = {_platform(each): (each.get("config") or {}).get("Labels") for each in images}
        return {name: each or {} for name, each in labels.items() if name not in _NO_PLATFORM}


def explained(subject: str, said: str, *, otherwise: str = "", hint: str = "") -> EngineError:
    """What a registry or a builder ``said`` about a reference, in words that say what to do.

    ``otherwise`` is the problem, and ``hint`` its remedy, when nothing of it is known.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [""]
    last = next((line for line in reversed(lines) if "ERROR" in line), lines[-1])
    cause = re.sub(r"^.*?ERROR:\s*", "", last)
    host, end = subject.partition("/")[0], _end(cause)
    if _FULL.search(said):
        return EngineError(subject, "no space is left on the device", hint="docker system df")
    if _WANTS_LOGIN.search(cause):
        return EngineError(subject, f"{host} refuses: {end}", hint=f"docker login {host}")
    if _NOT_TRUSTED.search(cause):
        return EngineError(
            subject, f"{host} is not trusted: {end}",
            hint=f"put its authority into /etc/docker/certs.d/{host}/ca.crt for the engine, and "
            "into the system's bundle, or the one SSL_CERT_FILE names, for docker buildx",
        )  # fmt: skip
    if _UNREACHABLE.search(cause):
        return EngineError(
            subject, f"{host} does not answer: {end}", hint="run it again when it does"
        )
    if _NOT_THERE.search(cause):
        return NotFoundError(subject, end)
    return EngineError(subject, otherwise or end, hint=hint)


def _platform(config: Mapping[str, str]) -> str:
    parts = (config.get("os"), config.get("architecture"), config.get("variant"))
    name = "/".join(part for part in parts if part)
    return "linux/arm64" if name == "linux/arm64/v8" else name


def _end(cause: str) -> str:
    """The last links of a long chain of causes."""
    return ": ".join(cause.split(": ")[-2:]).lower()
