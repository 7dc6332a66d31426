"""Volumes and networks through the docker SDK."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from aifo_tasks.engine import preview, states
from aifo_tasks.engine.api import NetworkSpec, NetworkState, VolumeSpec, VolumeState
from aifo_tasks.engine.sdk import Sdk, has_labels, label_filters
from aifo_tasks.errors import ConflictError, NotFoundError


class Volumes(Sdk):
    """What an ``Engine`` does with volumes."""

    def volume(self, name: str) -> VolumeState | None:
        try:
            with self._asking(name):
                return states.volume_state(self._api.inspect_volume(name))
        except NotFoundError:
            return None

    def volumes(self, labels: Mapping[str, str]) -> tuple[VolumeState, ...]:
        with self._asking("volumes"):
            found = self._api.volumes(filters={"label": label_filters(labels)})
        volumes = (states.volume_state(one) for one in found.get("Volumes") or ())
        return tuple(one for one in volumes if has_labels(one.labels, labels))

    def volume_sizes(self) -> Mapping[str, int]:
        with self._asking("volumes"):
            found = self._api.df().get("Volumes") or ()
        return {one["Name"]: max(0, (one.get("UsageData") or {}).get("Size", 0)) for one in found}

    def create_volume(self, spec: VolumeSpec) -> VolumeState:
        # the engine itself would return the volume that is there, whatever it is
        if self.volume(spec.name) is not None:
            raise ConflictError(spec.name, "the engine already has a volume of that name")
        if not self._announce(preview.create_volume_argv(spec, self._client)):
            return VolumeState(name=spec.name, driver="")
        with self._asking(spec.name):
            return states.volume_state(
                self._api.create_volume(
                    spec.name, "local", dict(spec.options) or None, dict(spec.labels) or None
                )
            )

    def remove_volume(self, name: str) -> None:
        if self._announce(preview.remove_volume_argv(name, self._client)):
            with contextlib.suppress(NotFoundError), self._asking(name):
                self._api.remove_volume(name)


class Networks(Sdk):
    """What an ``Engine`` does with networks."""

    def network(self, name: str) -> NetworkState | None:
        try:
            with self._asking(name):
                return states.network_state(self._api.inspect_network(name))
        except NotFoundError:
            return None

    def networks(self, labels: Mapping[str, str]) -> tuple[NetworkState, ...]:
        with self._asking("networks"):
            found = self._api.networks(filters={"label": label_filters(labels)})
        networks = (states.network_state(one) for one in found)
        return tuple(one for one in networks if has_labels(one.labels, labels))

    def create_network(self, spec: NetworkSpec) -> None:
        if self._announce(preview.create_network_argv(spec, self._client)):
            with self._asking(spec.name):
                self._api.create_network(
                    spec.name, driver="bridge", internal=spec.internal,
                    labels=dict(spec.labels) or None, check_duplicate=True,
                )  # fmt: skip

    def remove_network(self, name: str) -> None:
        if self._announce(preview.remove_network_argv(name, self._client)):
            with contextlib.suppress(NotFoundError), self._asking(name):
                self._api.remove_network(name)
