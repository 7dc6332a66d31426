"""Look, lock, look again, install, verify, stamp: and every way in which that goes wrong."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.errors import InstallError
from aifo_tasks.install import frozen, stamp
from aifo_tasks.install.key import key

from .conftest import Bench

FROZEN = "install --frozen-lockfile --store-dir {store} --reporter=append-only"


def ensure(bench: Bench) -> bool:
    return frozen.ensure(bench.run, bench.plan, bench.lock_path)


def frozen_call(bench: Bench, *more: str) -> str:
    return " ".join([FROZEN.format(store=bench.plan.store.target), *more])


def test_an_empty_overlay_is_installed_and_stamped_last(bench: Bench) -> None:
    assert ensure(bench) is True
    assert bench.calls == [frozen_call(bench)]
    assert bench.stamp.read_text() == key(bench.plan) + "\n"
    for target in bench.plan.targets:
        assert Path(target, ".aifo-node-overlay").read_bytes() == b""
    assert sorted(os.listdir(bench.plan.targets[1])) == [".aifo-node-overlay"]


def test_what_is_up_to_date_starts_no_package_manager(bench: Bench) -> None:
    ensure(bench)
    os.utime(bench.project / "pnpm-lock.yaml", (1, 1))
    bench.run.argvs.clear()
    assert ensure(bench) is False
    assert [argv[0] for argv in bench.run.argvs] == ["sh"]
    assert len(bench.calls) == 1


def test_a_changed_lockfile_is_installed_from_the_store_first(bench: Bench) -> None:
    ensure(bench)
    with (bench.project / "pnpm-lock.yaml").open("ab") as file:
        file.write(b"\n")
    assert ensure(bench) is True
    assert bench.calls[1:] == [frozen_call(bench, "--offline")]
    assert bench.stamp.read_text() == key(bench.plan) + "\n"


def test_what_the_store_lacks_comes_from_the_registry(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure(bench)
    bench.untell("stored")
    bench.stamp.unlink()
    assert ensure(bench) is True
    assert bench.calls[1:] == [frozen_call(bench, "--offline"), frozen_call(bench)]
    shown = capsys.readouterr().err
    assert "install node: the store lacks something: asking the package registry\n" in shown
    assert "NO_OFFLINE_TARBALL" not in shown


@pytest.mark.parametrize(
    ("output", "times"),
    [
        ('Get "https://proxy.golang.org/x.zip": net/http: TLS handshake timeout', 2),
        ("reading https://proxy.golang.org/x.zip: 502 Bad Gateway", 2),
        ("read tcp 172.17.0.2:1->1.2.3.4:443: read: connection reset by peer", 2),
        ("request to https://registry.npmjs.org/x failed, reason: getaddrinfo EAI_AGAIN", 2),
        ("[Errno -3] Temporary failure in name resolution", 2),
        ("lookup proxy.golang.org: no such host", 1),
        ("x@v1.502.0: 404 Not Found", 1),
    ],
)
def test_a_bad_moment_of_the_registry_is_asked_away_once(
    bench: Bench, output: str, times: int
) -> None:
    bench.tell("output", f"{output}\n")
    bench.tell("status", "1")
    with pytest.raises(InstallError):
        ensure(bench)
    assert bench.calls == [frozen_call(bench)] * times


def test_what_the_second_try_installs_is_recorded(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.tell("once", "i/o timeout\n")
    assert ensure(bench) is True
    assert bench.calls == [frozen_call(bench)] * 2
    assert bench.stamp.read_text() == key(bench.plan) + "\n"
    said = "install node: i/o timeout: asking the package registry once more\n"
    assert said in capsys.readouterr().err


def test_an_overlay_made_again_by_hand_is_installed_again(bench: Bench) -> None:
    ensure(bench)
    Path(bench.plan.targets[1], ".aifo-node-overlay").unlink()
    assert ensure(bench) is True


def test_a_failed_install_is_shown_and_never_recorded(bench: Bench) -> None:
    bench.tell("status", "9")
    with pytest.raises(InstallError) as caught:
        ensure(bench)
    argv = f"pnpm {frozen_call(bench)}"
    assert caught.value.problem == f"{argv} failed with exit status 9\ngoing wrong"
    assert not bench.stamp.exists()
    bench.untell("status")
    assert ensure(bench) is True


def test_a_failed_install_takes_the_old_stamp_away(bench: Bench) -> None:
    ensure(bench)
    (bench.project / ".npmrc").write_text("x=1")
    bench.tell("status", "9")
    with pytest.raises(InstallError, match=r"(?s)offline:\ngoing wrong\nonline:\ngoing wrong"):
        ensure(bench)
    (bench.project / ".npmrc").unlink()
    bench.untell("status")
    assert ensure(bench) is True


@pytest.mark.parametrize("missing", ["node_modules/.modules.yaml", "node_modules/.pnpm/lock.yaml"])
def test_an_install_that_left_no_record_is_not_believed(bench: Bench, missing: str) -> None:
    bench.tell("lazy", missing)
    problem = f"pnpm ended well but left no record of it in {bench.plan.targets[0]}"
    with pytest.raises(InstallError, match=problem):
        ensure(bench)
    assert not bench.stamp.exists()


def test_a_lockfile_without_packages_leaves_no_record(bench: Bench) -> None:
    (bench.project / "pnpm-lock.yaml").write_text("importers:\n\n  .: {}\n")
    bench.tell("lazy", "node_modules/.modules.yaml")
    assert ensure(bench) is True


def test_a_lockfile_that_changes_meanwhile_is_not_recorded(bench: Bench) -> None:
    bench.tell("touch", str(bench.project / "pnpm-lock.yaml"))
    with pytest.raises(InstallError, match="changed during the install"):
        ensure(bench)
    assert not bench.stamp.exists()


def test_the_second_failure_names_the_overlays_to_remove(bench: Bench) -> None:
    bench.tell("status", "1")
    hints = []
    for _ in range(3):
        with pytest.raises(InstallError) as caught:
            ensure(bench)
        hints.append(caught.value.hint)
    remedy = "doit sidecar_stop && docker volume rm aifo-node-modules-1 aifo-node-modules-1-a"
    assert hints == ["", remedy, remedy]
    with (bench.project / "pnpm-lock.yaml").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(InstallError) as caught:
        ensure(bench)
    assert caught.value.hint == ""
    bench.untell("status")
    ensure(bench)
    bench.stamp.unlink()
    bench.tell("status", "1")
    with pytest.raises(InstallError) as caught:
        ensure(bench)
    assert caught.value.hint == ""


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        (
            "EACCES: permission denied, open '{store}/v3/x'",
            "chown -R $(id -u):$(id -g) .pnpm-store",
        ),
        ("EACCES: permission denied, open '/etc/x'", ""),
        (
            "ERR_PNPM_OUTDATED_LOCKFILE  Cannot install",
            "doit run toolchain:node -- pnpm install --no-frozen-lockfile --lockfile-only",
        ),
    ],
)
def test_hints_for_what_pnpm_says(bench: Bench, output: str, hint: str) -> None:
    bench.tell("output", output.format(store=bench.plan.store.target) + "\n")
    bench.tell("status", "1")
    with pytest.raises(InstallError) as caught:
        ensure(bench)
    assert caught.value.hint == hint


def test_the_error_carries_only_the_last_lines_and_no_control_characters(bench: Bench) -> None:
    lines = [f"line {number}\x1b[2J" for number in range(100)]
    bench.tell("output", "\n".join(lines) + "\n" + "x" * 100_000)
    bench.tell("status", "1")
    with pytest.raises(InstallError) as caught:
        ensure(bench)
    text = caught.value.problem.splitlines()
    assert len(text) == 41
    assert "\x1b" not in caught.value.problem
    assert text[-1].endswith("going wrong")


def test_output_is_shown_as_it_comes(bench: Bench) -> None:
    shown: list[str] = []

    class Sink:
        def line(self, text: str, *, style: str) -> None:
            pass

        def live(self, *texts: str) -> None:
            shown.extend(texts)

    bench.tell("output", "Progress: 1\nProgress: 2\n")
    before = log._State.sink
    log.configure(sink=Sink())
    try:
        ensure(bench)
    finally:
        log.configure(sink=before)
    assert shown == ["install node: Progress: 1", "install node: Progress: 2"]


def test_the_install_gets_the_lock_as_its_input(bench: Bench) -> None:
    ensure(bench)
    stdin = (bench.control / "stdin").read_text()
    assert stdin == f"stdin: {bench.lock_path}\n"


def test_a_call_that_changes_the_overlay_drops_the_stamp(bench: Bench) -> None:
    ensure(bench)
    with frozen.forgotten(bench.run, bench.plan, bench.lock_path):
        assert not bench.stamp.exists()
        with bench.lock_path.open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not bench.stamp.exists()
    assert ensure(bench) is True


def test_a_store_that_cannot_be_written_is_an_error_with_its_remedy(bench: Bench) -> None:
    store = bench.plan.store.target
    Path(store).chmod(0o555)
    if os.getuid() == 0:  # whom only a lost capability stops
        bench.run.prefix = ("setpriv", "--bounding-set=-all")
    with pytest.raises(InstallError) as caught:
        ensure(bench)
    assert str(caught.value) == (
        f"{store}: the package store cannot be written "
        "(hint: chown -R $(id -u):$(id -g) .pnpm-store)"
    )
    assert bench.calls == []


def test_of_two_at_once_one_installs_and_the_other_finds_it_done(bench: Bench) -> None:
    results = []
    threads = [threading.Thread(target=lambda: results.append(ensure(bench))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]
    assert len(bench.calls) == 1


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_install_keeps_the_lock_until_its_last_process_is_gone(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.tell("hang")
    script = (
        "import sys; from pathlib import Path; from tests.unit.install.conftest import make_bench;"
        "from aifo_tasks.install import frozen; b = make_bench(Path(sys.argv[1]));"
        "frozen.ensure(b.run, b.plan, b.lock_path)"
    )
    root = Path(__file__).parents[3]
    doit = subprocess.Popen(
        [sys.executable, "-c", script, str(bench.control.parent)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
    )
    pid_file = bench.control / "pid"
    until(lambda: pid_file.exists() and pid_file.read_text())
    doit.kill()
    doit.wait()
    bench.untell("hang")

    with bench.lock_path.open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    results: list[bool] = []
    second = threading.Thread(target=lambda: results.append(ensure(bench)))
    second.start()
    try:
        until(lambda: f"waiting for process {doit.pid}" in capsys.readouterr().err)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    second.join()
    assert results == [True]
    assert bench.stamp.read_text() == key(bench.plan) + "\n"


def test_a_stamp_that_is_not_ours_to_read_is_no_stamp(bench: Bench) -> None:
    ensure(bench)
    bench.stamp.write_bytes(b"\xff" * 1_000_000)
    assert stamp.read(bench.run, bench.plan) != key(bench.plan)
    bench.stamp.unlink()
    bench.stamp.mkdir()
    assert stamp.read(bench.run, bench.plan) == ""


def test_values_never_become_part_of_a_script(bench: Bench) -> None:
    plan = dataclasses.replace(bench.plan, sentinel="$(touch x); \"`' y")
    assert frozen.ensure(bench.run, plan, bench.lock_path) is True
    assert (bench.project / "node_modules" / plan.sentinel).exists()
    assert not (bench.project / "x").exists()
