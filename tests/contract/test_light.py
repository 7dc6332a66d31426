"""Image labels in one request, without the SDK."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from aifo_tasks.engine import light
from aifo_tasks.engine.api import ImportSpec
from aifo_tasks.errors import EngineError
from tests.contract.conftest import Scratch


def test_it_says_what_the_engine_says(real: Scratch, root_archive: Path) -> None:
    engine = real.engine
    one, other = real.name, f"{real.name}-other:1"
    engine.import_image(ImportSpec(archive=root_archive, tag=one, labels=(("a", "b"),)))
    engine.import_image(ImportSpec(archive=root_archive, tag=other))
    try:
        found = light.image_labels(real.endpoint, (one, other, f"{one}:none"))
        for reference in (one, other):
            full = engine.image(reference)
            assert full is not None
            light_one = found[reference]
            assert light_one is not None
            # the list names only digests that a registry knows
            assert light_one == dataclasses.replace(full, platform="", digests=light_one.digests)
        assert found[f"{one}:none"] is None
    finally:
        engine.remove_image(one)


def test_an_image_is_found_by_digest(real: Scratch) -> None:
    state = real.engine.image(real.image)
    assert state is not None
    for digest in state.digests:
        found = light.image_labels(real.endpoint, (digest, real.image))
        assert found[digest] == found[real.image]
        assert found[digest] is not None


def test_nothing_asked_nothing_answered() -> None:
    assert light.image_labels("unix:///no/such/engine", ()) == {}


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    endpoint = f"unix://{tmp_path}/none.sock"
    with pytest.raises(EngineError) as caught:
        light.image_labels(endpoint, ("a:b",))
    assert str(caught.value) == (
        f"container engine: cannot be reached at {endpoint}: no such file or directory "
        "(hint: doit engine)"
    )


def test_the_sdk_stays_out(real: Scratch) -> None:
    program = (
        "import sys; from aifo_tasks.engine.light import image_labels;"
        "found = image_labels(sys.argv[1], sys.argv[2:]);"
        "assert all(found.values());"
        "assert not {'docker', 'requests', 'asyncio'} & set(sys.modules)"
    )
    argv = [sys.executable, "-c", program, real.endpoint, real.image]
    subprocess.run(argv, check=True)
