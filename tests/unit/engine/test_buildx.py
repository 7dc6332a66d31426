"""What is shown of a build, and what is said when nothing can build."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.engine import buildx
from aifo_tasks.engine.api import BuildSpec
from aifo_tasks.errors import EngineError, ProcessError

SPEC = BuildSpec(tag="t:1", context=Path("/"), dockerfile="FROM scratch\n")
FAILS = """\
printf '#7 0.5 fetch: cannot be had\\n#7 ERROR: exit code: 1\\n------\\nDockerfile:9\\n'
echo --------------------
for i in $(seq 60); do printf '%4d | >>>     step %d\\n' $i $i; done
printf -- '--------------------\\nERROR: failed to solve\\n'
exit 1
"""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("#5 [2/3] RUN apt-get update", "2/3 RUN apt-get update"),
        ("#12 [tools 3/7] COPY a /a", "3/7 COPY a /a"),
        ("#5 0.177 Hit:1 http://deb.debian.org bookworm", "Hit:1 http://deb.debian.org bookworm"),
        ("#5 ERROR: process failed", "ERROR: process failed"),
        ("#9 exporting to image", "exporting the image"),
        ("ERROR: failed to solve: x", "ERROR: failed to solve: x"),
        ("STEP 2/3: COPY a /a", "2/3 COPY a /a"),
        ("some output of podman's step", "some output of podman's step"),
        ('#0 building with "default" instance using docker driver', ""),
        ("#1 [internal] load build definition from Dockerfile", ""),
        ("#1 transferring dockerfile: 71B done", ""),
        ("#4 DONE 0.0s", ""),
        ("#4 CACHED", ""),
        ("--> 3f2a", ""),
        ("------", ""),
        ("COMMIT t:1", ""),
        ("Successfully tagged localhost/t:1", ""),
        ("a" * 64, ""),
        ("", ""),
    ],
)
def test_what_is_worth_showing(line: str, shown: str) -> None:
    assert buildx.readable(line) == shown


def test_a_long_step_that_fails_leaves_place_for_why() -> None:
    shown: list[str] = []
    with pytest.raises(ProcessError) as caught:
        buildx.run(("sh", "-c", FAILS), "", shown.append)
    assert caught.value.tail.splitlines() == [
        "#7 0.5 fetch: cannot be had", "#7 ERROR: exit code: 1", "------", "ERROR: failed to solve",
    ]  # fmt: skip
    assert caught.value.status == 1
    assert shown[0] == "fetch: cannot be had"


@pytest.mark.parametrize(
    ("client", "packages"), [("docker", "docker-cli docker-buildx"), ("podman", "podman")]
)
def test_no_client(
    client: str, packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        buildx.build(SPEC, (client,), print)
    assert str(caught.value) == (
        f"{client}: is needed to build images and is not installed "
        f"(hint: apt-get install {packages})"
    )


def test_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker client of Debian 12: it knows no command buildx."""
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(EngineError) as caught:
        buildx.build(SPEC, ("docker",), print)
    assert str(caught.value) == (
        "docker buildx: is needed to build images and is not installed "
        "(hint: apt-get install docker-buildx || apt-get install docker-buildx-plugin)"
    )
