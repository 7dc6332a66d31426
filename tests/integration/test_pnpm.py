"""A real pnpm on real projects: the frozen install and the host's tasks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks.errors import InstallError, ProcessError
from aifo_tasks.install import frozen, host, pnpm, pnpm_lock
from aifo_tasks.install.api import Store
from tests.unit.install.conftest import Host, make_plan

EXAMPLES = Path(__file__).parents[2] / "examples"
PNPM = "pnpm@9.15.9"
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with pnpm in it."""
    top = tmp_path_factory.mktemp("pnpm")
    subprocess.run(["npm", "install", "--prefix", top, PNPM], check=True, capture_output=True)
    return top / "node_modules/.bin"


class Bench:
    """A copy of an example, its install on this host, and the store of a whole test run."""

    def __init__(self, example: str, tmp: Path, programs: Path) -> None:
        self.project = tmp / example
        shutil.copytree(
            EXAMPLES / example,
            self.project,
            ignore=shutil.ignore_patterns("node_modules", ".pnpm-store"),
        )
        (self.project / ".npmrc").unlink()  # its directories are not those of the sidecar
        self.run = Host(self.project, f"{programs}:{os.environ['PATH']}")
        self.lock_path = tmp / "lock"
        store = self.project / ".pnpm-store"
        store.mkdir()
        members = pnpm.members(self.project)
        targets = [str(self.project / name / "node_modules") for name in (".", *members)]
        for target in targets:
            Path(target).mkdir()
        self.plan = make_plan(
            self.project, pnpm, store=Store(host=store, target=str(store)), targets=targets
        )

    def ensure(self) -> bool:
        return frozen.ensure(self.run, self.plan, self.lock_path)

    def test(self) -> str:
        output = bytearray()
        status = self.run(["pnpm", "test"], on_output=output.extend)
        text = output.decode()
        assert status == 0, text
        return text

    def empty(self) -> None:
        for target in self.plan.targets:
            shutil.rmtree(target)
            Path(target).mkdir()

    @property
    def stamped(self) -> bool:
        return Path(self.plan.targets[0], ".aifo-pnpm-lock.hash").exists()

    def tree(self) -> dict[str, str]:
        """Digests of the project's files, without what a volume or the store holds."""
        return {
            str(path.relative_to(self.project)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.project.rglob("*"))
            if path.is_file() and not {"node_modules", ".pnpm-store"} & set(path.parts)
        }


@pytest.fixture
def app(tmp_path: Path, programs: Path) -> Bench:
    return Bench("pnpm-app", tmp_path, programs)


@pytest.fixture
def workspace(tmp_path: Path, programs: Path) -> Bench:
    return Bench("pnpm-workspace", tmp_path, programs)


@pytest.fixture
def silent_registry() -> Iterator[tuple[str, threading.Event]]:
    """A registry that takes every request and never answers; the event says one came."""
    asked = threading.Event()
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    asked.set()
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in kept:
        connection.close()


def test_install_test_and_again_without_a_network(app: Bench) -> None:
    before = app.tree()
    assert app.ensure() is True
    assert app.ensure() is False
    assert "# fail 0" in app.test()
    assert app.tree() == before

    app.empty()
    app.run.environment = {"npm_config_registry": NOWHERE}
    assert app.ensure() is True
    assert "# pass 7" in app.test()


def test_a_workspace_is_installed_with_its_members(workspace: Bench) -> None:
    before = workspace.tree()
    assert workspace.ensure() is True
    assert [Path(target).parent.name for target in workspace.plan.targets[1:]] == ["cli", "text"]
    for target in workspace.plan.targets:
        assert Path(target, ".aifo-node-overlay").exists()
    assert workspace.test().count("# fail 0") == 2
    assert workspace.tree() == before


def test_a_wrong_hash_fails_and_is_not_recorded(app: Bench) -> None:
    lock = app.project / "pnpm-lock.yaml"
    good = lock.read_text()
    start = good.index("integrity: sha512-", good.index("  mri@1.2.0:")) + len("integrity: sha512-")
    lock.write_text(good[:start] + "A" * 86 + "==" + good[start + 88 :])
    app.run.environment = {"npm_config_fetch_retries": "0"}
    with pytest.raises(InstallError, match=r"ERR_PNPM_TARBALL_INTEGRITY"):
        app.ensure()
    assert not app.stamped
    lock.write_text(good)
    assert app.ensure() is True


def test_an_outdated_lockfile_says_how_to_mend_it(app: Bench) -> None:
    manifest = json.loads((app.project / "package.json").read_text())
    manifest["dependencies"]["kleur"] = "4.1.4"
    (app.project / "package.json").write_text(json.dumps(manifest))
    with pytest.raises(InstallError, match="ERR_PNPM_OUTDATED_LOCKFILE") as caught:
        app.ensure()
    assert not app.stamped
    prefix, command = caught.value.hint.split(" -- ")
    assert prefix == "doit run toolchain:node"
    assert pnpm.changes_modules(command.split())
    assert app.run(command.split(), on_output=bytearray().extend) == 0
    assert app.ensure() is True


def test_a_registry_that_is_cut_off_fails_and_the_next_run_repairs(app: Bench) -> None:
    app.run.environment = {"npm_config_registry": NOWHERE, "npm_config_fetch_retries": "0"}
    with pytest.raises(InstallError, match="ECONNREFUSED"):
        app.ensure()
    assert not app.stamped
    app.run.environment = {}
    assert app.ensure() is True


def test_a_killed_install_is_not_recorded_and_the_next_run_repairs(
    app: Bench, silent_registry: tuple[str, threading.Event]
) -> None:
    url, asked = silent_registry
    app.run.environment = {"npm_config_registry": url}
    app.run.prefix = ("sh", "-c", 'echo $$ >>"$0"; exec "$@"', str(app.lock_path) + ".pid")

    def kill() -> None:
        assert asked.wait(60)
        pids = Path(str(app.lock_path) + ".pid").read_text().split()
        os.kill(int(pids[-1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(InstallError, match="exit status 137"):
        app.ensure()
    killer.join()
    assert not app.stamped
    app.run.environment, app.run.prefix = {}, ()
    assert app.ensure() is True
    assert "# fail 0" in app.test()


def test_fetching_fills_the_store_and_nothing_else(app: Bench) -> None:
    app.run.environment = {"npm_config_store_dir": app.plan.store.target}
    output = bytearray()
    (argv,) = pnpm.fetch(app.plan)
    assert app.run(argv, on_output=output.extend) == 0, output.decode()
    assert os.listdir(app.project / "node_modules") == []
    assert os.listdir(app.project / ".pnpm-store") == ["v3"]
    app.run.environment = {"npm_config_registry": NOWHERE}
    assert app.ensure() is True


def test_members_are_read_as_pnpm_writes_them(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", "a b/ü'x", "@scope/größe", "パッケージ", 'quo"ted', "x: y", "#hash", "true", "1"]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "package.json").write_text(json.dumps({"name": f"p{len(name)}"}))
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "pnpm-workspace.yaml").write_text("packages: ['**']\n")
    subprocess.run(
        [programs / "pnpm", "install", "--lockfile-only"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    lock = (tmp_path / "pnpm-lock.yaml").read_bytes()
    assert sorted(pnpm_lock.importers(lock)) == sorted(names)


@pytest.fixture
def on_path(app: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", app.run.path)


def test_node_install(app: Bench, on_path: None, capsys: pytest.CaptureFixture[str]) -> None:
    (app.project / ".pnpm-store").rmdir()
    (app.project / "yarn.lock").touch()
    host.node_install(app.project)
    assert (app.project / "node_modules/esbuild").exists()
    assert sorted(os.listdir(app.project / ".pnpm-store")) == ["v3"]
    assert "warning: node_install: yarn.lock stands in a pnpm project" in capsys.readouterr().err
    (app.project / "package.json").write_text('{"dependencies": {"kleur": "1.0.0"}}')
    with pytest.raises(ProcessError, match="ERR_PNPM_OUTDATED_LOCKFILE"):
        host.node_install(app.project)


def test_node_migrate(app: Bench, on_path: None, capsys: pytest.CaptureFixture[str]) -> None:
    (app.project / "pnpm-lock.yaml").unlink()
    subprocess.run(
        ["npm", "install", "--package-lock-only"], cwd=app.project, check=True, capture_output=True
    )
    host.node_migrate(app.project)
    assert b"kleur@4.1.5" in (app.project / "pnpm-lock.yaml").read_bytes()
    assert (app.project / "package-lock.json").exists()
    assert "remove the other: rm package-lock.json\n" in capsys.readouterr().err
    (app.project / "package-lock.json").unlink()
    assert app.ensure() is True
