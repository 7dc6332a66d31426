"""Installs of the examples beside their package managers alone: cold, offline, nothing to do."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from aifo_tasks import certificates
from aifo_tasks.config import load
from aifo_tasks.model import WORKSPACE, Toolchain
from aifo_tasks.session import ready, workplace
from aifo_tasks.value import dataclass
from benchmarks.measure import Ratio, Report, Subject, interleaved
from benchmarks.project import ROOT, command

ALONE = {
    "pnpm-app": ("node", "pnpm install --frozen-lockfile"),
    "npm-app": ("node", "npm ci"),
    "yarn-app": ("node", "yarn install --frozen-lockfile"),
    "uv-app": ("python", "uv sync --frozen"),
    "pip-app": (
        "python",
        "python -m venv .venv && .venv/bin/pip install --require-hashes -r requirements.txt",
    ),
    "rust-app": ("rust", "cargo fetch --locked"),
    "go-app": ("go", "go mod download && go mod verify"),
}
"""What one types who has the toolchain's image and nothing of this project's."""

GROUPS = tuple(ALONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A copy of an example with cache volumes of its own."""

    project: Path
    toolchain: Toolchain
    image: str

    @property
    def caches(self) -> list[str]:
        """Its cache volumes."""
        return [f"aifo-benchmark-{os.getpid()}-{cache.volume}" for cache in self.toolchain.caches]

    def declare(self, network: str) -> None:
        """Write toolchains.yaml: caches of our own, and this network."""
        pairs = zip(self.caches, self.toolchain.caches, strict=True)
        caches = [f"{{volume: {name}, target: {cache.target}}}" for name, cache in pairs]
        (self.project / "toolchains.yaml").write_text(
            f"extends: builtin\ntoolchains:\n  {self.toolchain.kind}:\n"
            f"    network: {network}\n    caches: [{', '.join(caches)}]\n"
        )

    def forget(self, network: str, *, caches: bool) -> None:
        """End the sidecar and remove what is installed, and with ``caches`` what was fetched."""
        command("aifo", "run", "sidecar_stop", cwd=self.project)()
        self.declare(network)
        config = load.load(self.project)
        work = workplace.workplace(config, self.toolchain)
        volumes = [covered.volume for covered in work.covered]
        if caches:
            volumes += self.caches
            shutil.rmtree(self.project / ".pnpm-store", ignore_errors=True)
        if volumes:
            command("docker", "volume", "rm", "--force", *volumes)()

    def alone(self, line: str) -> list[str]:
        """``docker run`` of a package manager that has an empty cache and a copy of the files."""
        words = ["--rm", "--volume", f"{self.project}:/source:ro", "--workdir", WORKSPACE]
        if (bundle := certificates.bundle()) is not None:
            words += ["--volume", f"{bundle}:{bundle}:ro"]
            words += [f"--env={name}={bundle}" for name in certificates.VARIABLES]
        words += [f"--env={name}={value}" for name, value in self.toolchain.environment]
        path = ":".join(path for path in self.toolchain.path if not path.startswith(WORKSPACE))
        line = f"export PATH={shlex.quote(path)}:$PATH && cp -R /source/. . && {line}"
        return ["run", *words, self.image, "sh", "-ec", line]


def measure(directory: Path, arguments: argparse.Namespace) -> Report:
    """Work in copies of the examples below a directory; a tenth of the rounds."""
    report = Report()
    for example in arguments.only:
        kind, line = ALONE[example]
        project = directory / example
        ignored = shutil.ignore_patterns("node_modules", ".pnpm-store", ".aifo", "target", ".venv")
        shutil.copytree(ROOT / "examples" / example, project, ignore=ignored)
        config = load.load(project)
        toolchain = config.toolchain(kind)
        assert toolchain is not None
        image = workplace.workplace(config, toolchain).image
        bench = Bench(project=project, toolchain=toolchain, image=image)
        try:
            _measure(bench, line, report, max(1, arguments.rounds // 10))
        finally:
            bench.forget("bridge", caches=True)
    return report


def _measure(bench: Bench, line: str, report: Report, rounds: int) -> None:
    project = bench.project
    engine = ready.connect(consent=os.environ.get("AIFO_YES") == "1")
    os.environ["DOCKER_HOST"] = engine.info().endpoint
    command("aifo", "run", f"build_image:{bench.toolchain.short}", cwd=project)()
    install = command("aifo", "run", f"install:{bench.toolchain.short}", cwd=project)
    name = project.name
    alone = Subject(
        name=f"{name}: the package manager alone, docker run",
        run=command("docker", *bench.alone(line)),
        before=lambda: bench.forget("bridge", caches=True),
    )
    first = Subject(
        name=f"{name}: first install, from the network",
        run=install, before=lambda: bench.forget("bridge", caches=True),
    )  # fmt: skip
    offline = Subject(
        name=f"{name}: from the warm cache, without a network",
        run=install, before=lambda: bench.forget("none", caches=False),
    )  # fmt: skip
    nothing = Subject(name=f"{name}: nothing to do", run=install)
    interleaved([alone, first, offline, nothing], rounds, warming=False)
    report.subjects += [alone, first, offline, nothing]
    report.ratios += list(_ratios(alone, (first, offline, nothing)))


def _ratios(alone: Subject, subjects: tuple[Subject, ...]) -> Iterator[Ratio]:
    for subject in subjects:
        yield Ratio(
            name=f"{subject.name} / alone",
            subject=subject.median, anchor=alone.median, sense="at most",
        )  # fmt: skip
