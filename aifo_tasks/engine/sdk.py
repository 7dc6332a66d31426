"""What every request through the docker SDK shares: the connection, its errors, dry runs."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import docker
import docker.errors
import requests
import urllib3

from aifo_tasks import log
from aifo_tasks.engine import preview, states
from aifo_tasks.engine.api import EngineInfo
from aifo_tasks.engine.failure import refused, unreachable
from aifo_tasks.errors import EngineError

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"


class Sdk:
    """An engine that is connected to; may be used by several threads."""

    def __init__(self, api: docker.APIClient, endpoint: str) -> None:
        self._api = api
        self._endpoint = endpoint
        self._info: EngineInfo | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._api.close()

    def info(self) -> EngineInfo:
        if self._info is None:
            with self._asking("container engine"):
                self._info = states.engine_info(
                    self._endpoint, self._api.version(), self._api.info()
                )
        return self._info

    @property
    def _client(self) -> preview.Argv:
        ours = self._endpoint
        chosen = {"DOCKER_HOST", "DOCKER_CONTEXT"} & set(os.environ)
        implied = ours == DEFAULT_ENDPOINT and not chosen
        return preview.client_argv(self.info().name, "" if implied else ours)

    def _announce(self, argv: Sequence[str]) -> bool:
        return log.command(shlex.join(argv))

    @contextlib.contextmanager
    def _asking(self, subject: str) -> Iterator[None]:
        """Requests about ``subject``: what the SDK raises leaves as one of our errors."""
        try:
            yield
        except docker.errors.APIError as error:
            explanation = str(error.explanation or error)
            raise refused(subject, error.status_code or 500, explanation) from None
        except docker.errors.DockerException as error:
            raise EngineError(subject, str(error)) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(self._endpoint, error) from None


def label_filters(labels: Mapping[str, str]) -> list[str]:
    """How an engine is asked for what has these labels; "" stands for any value."""
    return [f"{name}={value}" if value else name for name, value in labels.items()]


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """The same of what it found: Podman takes several labels of a filter for alternatives."""
    return all(name in labels and value in ("", labels[name]) for name, value in wanted.items())
