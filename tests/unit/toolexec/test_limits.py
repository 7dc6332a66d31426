"""The descriptors a proxy needs, and that nobody else gets them."""

from __future__ import annotations

import os
import resource

from aifo_tasks import process
from aifo_tasks.toolexec import limits
from aifo_tasks.toolexec.limits import Limits


def test_a_child_has_the_limit_that_was_there_before() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(300, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        with limits.carried(Limits(connections=100)):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > low
            script = f'test "$(ulimit -Sn)" = {low} && test "$1" = "a b"'
            argv = ["/bin/sh", "-c", script, "sh", "a b"]
            assert process.run_apart(argv, environment=dict(os.environ), timeout=30) == 0
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == low
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
