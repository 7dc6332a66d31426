"""The end of all sidecars that a user has."""

from __future__ import annotations

import signal

from tests.integration.project import Project


def test_all_of_them_stop_but_those_that_a_process_uses(fresh: Project) -> None:
    assert fresh.call("true").returncode == 0
    (plain,) = fresh.sidecars()
    session = ("run", "shell", "TOOLCHAINS=node", "--", "sh", "-c", "echo on; exec sleep 1234")
    with fresh.start(*session) as living:
        try:
            assert living.stdout is not None
            assert living.stdout.readline() == b"on\n"
            used = {*fresh.sidecars()} - {plain}
            stopped = fresh.doit("run", "sidecar_stop", "ALL=1")
            assert stopped.returncode == 0, stopped.stderr
            assert f"stays: process {living.pid} uses it" in stopped.stderr
            assert {*fresh.sidecars()} == used != set()
        finally:
            living.send_signal(signal.SIGTERM)
        assert living.wait(timeout=60) == 143
    assert fresh.sidecars() == []
