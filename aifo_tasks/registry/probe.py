"""Which of the hosts that a file names is a registry that answers; asked once in a while."""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from aifo_tasks import certificates, files, log
from aifo_tasks.value import dataclass

CONNECT_SECONDS = 1.0
TOTAL_SECONDS = 2.0
LIFETIME = 600.0
"""Seconds for which an answer is believed."""

_REGISTRY = (200, 401)
"""What a registry says to HEAD /v2/: come in, or who are you (OCI distribution, 4.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether a host is a registry that answers, and in words what it said."""

    host: str
    answers: bool
    why: str


def first(hosts: Sequence[str], *, refresh: bool = False) -> Answer | None:
    """The first host in order that answers as a registry; None when none does.

    All are asked at the same time. What they said is kept in the user's run directory for
    ``LIFETIME`` seconds, or until ``refresh``.
    """
    return next((answer for answer in answers(hosts, refresh=refresh) if answer.answers), None)


def answers(hosts: Sequence[str], *, refresh: bool = False) -> list[Answer]:
    """What each host says, in order; nobody is asked whose answer is known."""
    known = {} if refresh else _recall()
    asked = {host: _Question(host) for host in hosts if host not in known}
    for question in asked.values():
        question.start()
    for host, question in asked.items():
        known[host] = question.answer()
    if asked:
        _remember(known)
    return [known[host] for host in hosts]


class _Question(threading.Thread):
    """Asks one host, through the environment's proxy and, if that fails, without."""

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self._host = host
        self._answer = Answer(
            host=host, answers=False, why=f"does not answer in {TOTAL_SECONDS:g} s"
        )

    def run(self) -> None:
        from requests.utils import get_environ_proxies

        scheme = "http" if _is_loopback(self._host) else "https"
        url = f"{scheme}://{self._host}/v2/"
        proxied, how = bool(get_environ_proxies(url)), ""
        said = _head(url, proxied=proxied)
        if proxied and isinstance(said, str):
            direct = _head(url, proxied=False)
            if isinstance(direct, int):
                said, how = direct, " without the proxy"
        why = f"answers {said}{how}" if isinstance(said, int) else said
        self._answer = Answer(host=self._host, answers=said in _REGISTRY, why=why)

    def answer(self) -> Answer:
        """What was found out by the end of its time; with a proxy it may ask twice."""
        self.join(2 * TOTAL_SECONDS)
        return self._answer


def _head(url: str, *, proxied: bool) -> int | str:
    """The status of HEAD, or what went wrong."""
    import requests

    bundle = certificates.bundle()
    with requests.Session() as session:
        session.trust_env = proxied
        session.verify = str(bundle) if bundle is not None else True
        left = TOTAL_SECONDS - CONNECT_SECONDS
        try:
            answer = session.head(url, timeout=(CONNECT_SECONDS, left), allow_redirects=False)
        except requests.exceptions.SSLError:
            return "has a certificate that is not trusted"
        except requests.exceptions.ProxyError:
            return "cannot be reached through the proxy"
        except requests.exceptions.Timeout:
            return f"does not answer in {TOTAL_SECONDS:g} s"
        except requests.exceptions.RequestException:
            return "cannot be reached"
        return answer.status_code


def _is_loopback(host: str) -> bool:
    """True where engines, too, speak without TLS."""
    name = host.rpartition(":")[0] or host
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _path() -> Path:
    return files.run_dir() / "registries.json"


def _recall() -> dict[str, Answer]:
    """Answers that are young enough, by host."""
    now = time.time()
    try:
        record = json.loads(_path().read_bytes())
        return {
            host: Answer(host=host, answers=bool(said["answers"]), why=str(said["why"]))
            for host, said in record.items()
            if 0 <= now - float(said["at"]) < LIFETIME
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _remember(known: dict[str, Answer]) -> None:
    if log.is_dry_run():
        return
    now = time.time()
    record = {
        host: {"answers": answer.answers, "why": answer.why, "at": now}
        for host, answer in known.items()
    }
    files.write_quietly(_path(), json.dumps(record).encode())
