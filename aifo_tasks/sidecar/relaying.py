"""The way to a sidecar that no descriptor reaches: a relay in it, run by its engine."""

from __future__ import annotations

from aifo_tasks.engine import hijack, preview
from aifo_tasks.sidecar.plan import INIT
from aifo_tasks.sidecar.record import Record
from aifo_tasks.toolexec.relay import Relay


def relay(record: Record) -> Relay:
    """A relay that is started with the first connection, through the engine on this machine."""
    argv = (INIT, "--relay", "--socket", record.door)
    client = preview.client_argv(record.engine, record.endpoint)
    return Relay(
        record.name, lambda: hijack.open_stream(record.endpoint, record.name, argv, client)
    )
