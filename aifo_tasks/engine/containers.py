"""Containers through the docker SDK."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shlex
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from docker.utils.socket import frames_iter

from aifo_tasks.engine import body, dialect, hijack, preview, states
from aifo_tasks.engine.api import ContainerSpec, ContainerState, ExecStream, Finished
from aifo_tasks.engine.sdk import Sdk, has_labels, label_filters
from aifo_tasks.errors import ConflictError, EngineError, NotFoundError

_REMOVAL_SECONDS = 10.0


class Containers(Sdk):
    """What an ``Engine`` does with containers."""

    def start(self, spec: ContainerSpec) -> ContainerState:
        spec = self._bridged(spec)
        if not self._announce(preview.run_argv(spec, self._client, detach=True)):
            return ContainerState(id="", name=spec.name, status="")
        with contextlib.ExitStack() as undo:
            identifier = self._create(spec, undo)
            with self._asking(spec.name or spec.image):
                self._api.start(identifier)
            state = self.container(identifier)
            undo.pop_all()
        # a container that ended at once and removed itself
        return state or ContainerState(id=identifier, name=spec.name, status="removed")

    def run(self, spec: ContainerSpec) -> Finished:
        spec = self._bridged(spec)
        if not self._announce(preview.run_argv(spec, self._client)):
            return Finished(status=0, output=b"")
        with contextlib.ExitStack() as undo:
            identifier = self._create(dataclasses.replace(spec, remove=False), undo)
            with self._asking(spec.name or spec.image):
                attached = self._api.attach_socket(identifier)  # before it writes
                # the SDK hands out a reader and leaves the connection to us
                undo.callback(getattr(attached, "_response", attached).close)
                self._api.start(identifier)
                frames = frames_iter(attached, tty=False)  # type: ignore[no-untyped-call]
                written = b"".join(chunk for _, chunk in frames)
                status = self._api.wait(identifier, timeout=None)["StatusCode"]
        return Finished(status=status, output=written)

    def _create(self, spec: ContainerSpec, undo: contextlib.ExitStack) -> str:
        """Create a container that ``undo`` removes; nameless ones get a name, so that they
        are found even when the engine's answer is lost."""
        if self.info().local:
            _require_sources(spec)
        name = spec.name or f"aifo-{secrets.token_hex(8)}"
        if not spec.name:
            undo.callback(self._remove, name)
        with self._asking(spec.name or spec.image):
            wanted = body.container_body(spec)
            created = self._api.create_container_from_config(wanted, name)  # type: ignore[no-untyped-call]
        identifier = str(created["Id"])
        undo.callback(self._remove, identifier)
        return identifier

    def _bridged(self, spec: ContainerSpec) -> ContainerSpec:
        return dialect.bridged(spec) if self.info().name == "podman" else spec

    def exec_stream(self, name: str, argv: Sequence[str]) -> ExecStream:
        return hijack.open_stream(self._endpoint, name, argv, self._client)

    def container(self, name: str) -> ContainerState | None:
        found = self._inspect(name)
        return None if found is None else states.container_state(found)

    def containers(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        with self._asking("containers"):
            found = self._api.containers(all=True, filters={"label": label_filters(labels)})
        containers = (states.listed_container_state(one) for one in found)
        return tuple(one for one in containers if has_labels(one.labels, labels))

    def stop(self, name: str, *, seconds: int = 5) -> None:
        if not self._announce(preview.stop_argv(name, seconds, self._client)):
            return
        found = self._inspect(name)
        if found is None:
            return
        with contextlib.suppress(NotFoundError), self._asking(name):
            self._api.stop(name, timeout=seconds)
        if (found.get("HostConfig") or {}).get("AutoRemove"):
            self._await_removal(found["Id"])

    def remove_container(self, name: str) -> None:
        if self._announce(preview.remove_container_argv(name, self._client)):
            self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            with contextlib.suppress(NotFoundError), self._asking(name):
                self._api.remove_container(name, v=True, force=True)
        except ConflictError:  # it is being removed already
            self._await_removal(name)

    def _await_removal(self, name: str) -> None:
        """Wait until the name is free: a removal goes on after the engine has answered."""
        pause = threading.Event()
        for _ in range(int(_REMOVAL_SECONDS / 0.02)):
            if self._inspect(name) is None:
                return
            pause.wait(0.02)
        raise ConflictError(
            name, f"the engine has not removed it after {_REMOVAL_SECONDS:g} s",
            hint=shlex.join(preview.remove_container_argv(name, self._client)),
        )  # fmt: skip

    def _inspect(self, name: str) -> Mapping[str, Any] | None:
        try:
            with self._asking(name):
                found: Mapping[str, Any] = self._api.inspect_container(name)
                return found
        except NotFoundError:
            return None


def _require_sources(spec: ContainerSpec) -> None:
    """Docker refuses to mount a missing directory, Podman makes one of root's."""
    for mount in spec.mounts:
        if mount.kind == "bind" and not os.path.exists(mount.source):
            raise EngineError(mount.source, "is to be mounted and does not exist")
