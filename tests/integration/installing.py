"""Projects with one package manager each, and cache volumes that nobody else has."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.config import load
from aifo_tasks.install import managers
from tests.integration.project import Project, docker

NOTHING = "holds no finished install"

TOOLCHAINS = load.load(files.resource("toolchains.yaml").parent).toolchains

_NUMBERS = itertools.count()


def own_prefix() -> str:
    """What the names of a test's own volumes begin with."""
    return f"aifo-test-{os.getpid()}-{next(_NUMBERS)}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What differs between package managers.

    ``works`` runs the project's own tests, which print ``shows``; ``there`` ends well when
    everything is installed. ``spoilt`` is the lockfile with wrong hashes, of which the manager
    says ``wrong``. ``settings`` is a file that keeps the manager from trying again and again,
    and its text; of a registry that it does not reach it says ``unreachable``. ``drifted`` is
    a manifest and a change in it with which the lockfile does not agree; ``mends`` is the
    command that the error names. ``rival`` is another manager's lockfile. ``more`` are lines of
    toolchains.yaml.
    """

    name: str
    example: str
    kind: str = "node"
    works: tuple[str, ...]
    shows: str
    there: tuple[str, ...]
    lockfile: str
    spoilt: Callable[[str], str]
    wrong: str
    settings: tuple[str, str] | None = None
    unreachable: str
    drifted: tuple[str, str, str] | None = None
    mends: str = ""
    rival: str = ""
    more: tuple[str, ...] = ()


def other_hashes(before: str, instead: str = "0000") -> Callable[[str], str]:
    """Change the first characters of all hashes that follow ``before``."""
    pattern = re.compile(f"({re.escape(before)}).{{{len(instead)}}}")
    return lambda lock: pattern.sub(rf"\g<1>{instead}", lock)


CASES = [
    Case(
        name="npm",
        example="npm-app",
        works=("npm", "test"),
        shows="# pass 3",
        there=("npm", "ls", "mri", "semver"),
        lockfile="package-lock.json",
        spoilt=other_hashes('mri-1.2.0.tgz",\n      "integrity": "sha512-'),
        wrong="EINTEGRITY",
        settings=(".npmrc", "fetch-retries=0\n"),
        unreachable="EAI_AGAIN",
        drifted=("packages/cli/package.json", '"mri": "1.2.0"', '"mri": "1.1.6"'),
        mends="npm install --package-lock-only",
        rival="yarn.lock",
    ),
    Case(
        name="yarn",
        example="yarn-app",
        works=("yarn", "test"),
        shows="# pass 6",
        there=("node", "-e", "import('mri').then(() => import('smol-toml'))"),
        lockfile="yarn.lock",
        spoilt=other_hashes("  integrity sha512-"),
        wrong="ntegrity",
        unreachable="EAI_AGAIN",
        drifted=("package.json", '"mri": "1.2.0"', '"mri": "1.1.6"'),
        mends="yarn install",
        rival="package-lock.json",
    ),
    Case(
        name="uv",
        example="uv-app",
        kind="python",
        works=("pytest",),
        shows="7 passed",
        there=("python", "-c", "import median.command, pytest"),
        lockfile="uv.lock",
        spoilt=other_hashes("sha256:"),
        wrong="Hash mismatch",
        unreachable="dns error",
        drifted=("pyproject.toml", "sortedcontainers==2.4.0", "sortedcontainers==2.3.0"),
        mends="uv lock",
        rival="requirements.txt",
    ),
    Case(
        name="pip",
        example="pip-app",
        kind="python",
        works=("python", "-m", "unittest", "discover", "tests"),
        shows="Ran 3 tests",
        there=("python", "-c", "import tabulate, wcwidth"),
        lockfile="requirements.txt",
        spoilt=other_hashes("sha256:"),
        wrong="DO NOT MATCH THE HASHES",
        settings=("pip.conf", "[global]\nretries = 1\n"),
        unreachable="Failed to establish a new connection",
        rival="uv.lock",
    ),
    Case(
        name="cargo",
        example="rust-app",
        kind="rust",
        works=("cargo", "test"),
        shows="3 passed",
        there=("cargo", "metadata", "--locked", "--offline", "--format-version", "1"),
        lockfile="Cargo.lock",
        spoilt=other_hashes('checksum = "'),
        wrong="changed between lock files",
        settings=(".cargo/config.toml", "[net]\nretry = 0\n"),
        unreachable="Could not resolve host",
        drifted=("Cargo.toml", 'fnv = "1.0.7"', 'fnv = "=1.0.6"'),
        mends="cargo update --workspace",
        more=("overlays: [{directory: target, volume: aifo-cargo-target}]",),
    ),
    Case(
        name="go",
        example="go-app",
        kind="go",
        works=("go", "test", "./..."),
        shows="ok",
        there=("go", "list", "-deps", "./..."),
        lockfile="go.sum",
        spoilt=other_hashes("0.4.7 h1:"),
        wrong="checksum mismatch",
        unreachable="lookup proxy.golang.org",
        drifted=("go.mod", "uniseg v0.4.7", "uniseg v0.4.6"),
        mends="go mod tidy",
    ),
]

CPP = Case(
    name="c-cpp",
    example="cpp-app",
    kind="cpp",
    works=("cmake", "--workflow", "--preset", "test"),
    shows="100% tests passed",
    there=("true",),
    lockfile="",
    spoilt=str,
    wrong="",
    unreachable="",
)
"""No package manager is C++'s own."""


class Installed(Project):
    """A copy of a case's example with cache volumes that only this test's copies share."""

    def __init__(self, path: Path, case: Case, prefix: str = "") -> None:
        super().__init__(path, case.example, case.kind)
        self.case = case
        self.prefix = prefix or own_prefix()
        self.declare()
        if case.settings is not None:
            name, text = case.settings
            (path / name).parent.mkdir(exist_ok=True)
            self.write(name, text)

    def declare(self, *lines: str) -> None:
        """Write toolchains.yaml: caches of our own, and for the case's toolchain these lines."""
        text = ["extends: builtin", "toolchains:"]
        for toolchain in TOOLCHAINS:
            caches = [
                f"      - {{volume: {self.prefix}-{cache.volume}, target: {cache.target}}}"
                for cache in toolchain.caches
            ]
            text += [f"  {toolchain.kind}:", "    caches:", *caches]
            if toolchain.short == self.kind:
                text += [f"    {line}" for line in (*self.case.more, *lines)]
        self.write("toolchains.yaml", "\n".join([*text, ""]))

    @contextlib.contextmanager
    def edited(self, relative: str, change: Callable[[str], str] = str) -> Iterator[None]:
        """Change a file, and back."""
        before = (self.path / relative).read_text()
        try:
            self.write(relative, change(before))
            yield
        finally:
            self.write(relative, before)

    def give(self, uid: int) -> None:
        """Make somebody the owner of every file: whom root's sidecars run as."""
        for path in (self.path, *self.path.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)

    def works(self) -> str:
        """Run the example's own tests; what doit said of it."""
        done = self.call(*self.case.works)
        assert done.returncode == 0, done.stdout + done.stderr
        assert self.case.shows in done.stdout + done.stderr
        return done.stderr

    def installs(self) -> str:
        """Have everything installed; what doit said of it."""
        done = self.call(*self.case.there)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    def fails(self) -> str:
        """A call that must not be made; what doit said instead."""
        done = self.call("echo", "ran")
        assert (done.stdout, done.returncode) == ("", 1), done.stderr
        return done.stderr

    @property
    def shared(self) -> bool:
        """True when it is installed in the cache itself."""
        return not managers.module(self.case.name, self.path).DIRECTORY

    def remove(self) -> None:
        """Leave nothing of it in the engine."""
        self.stop()
        for volume in self.caches():
            docker("volume", "rm", volume)

    def caches(self) -> list[str]:
        """The cache volumes that only this test has."""
        return docker("volume", "ls", "--quiet", "--filter", f"name={self.prefix}").split()

    def forget(self, *, caches: bool = False) -> None:
        """Stop everything and take the overlays away, and ``caches`` too."""
        assert self.doit("run", "sidecar_stop").returncode == 0
        for volume in (*self.volumes(), *(self.caches() if caches else ())):
            docker("volume", "rm", volume)

    def source(self) -> dict[str, str]:
        """The tree without what Python keeps for itself."""
        return {path: found for path, found in self.tree().items() if "__pycache__" not in path}
