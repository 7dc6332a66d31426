"""pnpm-lock.yaml read line by line: names as pnpm writes them, in every version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifo_tasks.errors import InstallError
from aifo_tasks.install import pnpm_lock

V9 = """lockfileVersion: '9.0'

settings:
  autoInstallPeers: true

importers:

  .: {}

  packages/cli:
    dependencies:
      mri:
        specifier: 1.2.0
        version: 1.2.0

  packages/text:
    dependencies: {}

packages:

  mri@1.2.0:
    resolution: {integrity: sha512-x}
"""

V6_WORKSPACE = """lockfileVersion: '6.0'

importers:

  .:
    specifiers: {}

  apps/web:
    dependencies:
      '@x/y':
        specifier: ^1
        version: link:../../libs/y

  libs/y: {}

packages:

  /mri@1.2.0:
    resolution: {integrity: sha512-x}
    engines: {node: '>=4'}
"""

V6_SINGLE = """lockfileVersion: '6.0'

dependencies:
  mri:
    specifier: 1.2.0
    version: 1.2.0

packages:

  /mri@1.2.0:
    resolution: {integrity: sha512-x}
"""

PATCHED = """patchedDependencies:
  is-odd@3.0.1:
    hash: abc
    path: patches/is-odd@3.0.1.patch
  '@x/y@1':
    hash: d
    path: 'patches/@x__y@1.patch'

importers:
"""

V5 = "lockfileVersion: 5.4\n\nimporters:\n\n  .:\n    specifiers: {}\n\n  a:\n    specifiers: {}\n"


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        (V9, ("packages/cli", "packages/text")),
        (V9.replace("\n", "\r\n"), ("packages/cli", "packages/text")),
        (V6_WORKSPACE, ("apps/web", "libs/y")),
        (V6_SINGLE, ()),
        (V5, ("a",)),
        ("", ()),
        ("importers: {}\n", ()),
        ("importers:\n  '@scope/x':\n    a: 1\n", ("@scope/x",)),
        ("importers:\n  'it''s': {}\n", ("it's",)),
        ('importers:\n  "caf\\u00e9/\\x41": {}\n', ("café/A",)),
        (
            "importers:\n  pakete/größe: {}\n  パッケージ:\n    a: 1\n",
            ("pakete/größe", "パッケージ"),
        ),
        ("importers:\n  a b/c: {}\n", ("a b/c",)),
        ("importers:\n  a:b: {}\n", ("a:b",)),
        ("importers:\n  # a note\n\n  a: {}\n# another\n  b: {}", ("a", "b")),
        ("importers:\n  a: {}\npackages:\n  b: {}\n", ("a",)),
        ("xyz:\n  importers:\n    a: {}\n", ()),
    ],
)
def test_importers(lock: str, expected: tuple[str, ...]) -> None:
    assert pnpm_lock.importers(lock.encode()) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../a", "names a workspace member outside of the project: '../a'"),
        ("/etc", "names a workspace member outside of the project: '/etc'"),
        ("a/../../b", "names a workspace member outside of the project: 'a/../../b'"),
        ("a//b", "names a workspace member outside of the project: 'a//b'"),
        ("./a", "names a workspace member outside of the project: './a'"),
        ("''", "names a workspace member outside of the project: ''"),
        ('"a\\0"', 'has a name that cannot be read: "a\\0"'),
        ('"a\\u0000"', "names a workspace member outside of the project: 'a\x00'"),
        ("? a", "has an importer that cannot be read: ? a:"),
    ],
)
def test_members_outside_are_refused(name: str, message: str) -> None:
    with pytest.raises(InstallError) as caught:
        pnpm_lock.importers(f"importers:\n  {name}:\n    a: 1\n".encode())
    assert (caught.value.subject, caught.value.problem) == ("pnpm-lock.yaml", message)


def test_a_lockfile_that_is_not_text_is_refused() -> None:
    with pytest.raises(InstallError, match="is not UTF-8 at byte 11"):
        pnpm_lock.importers(b"importers:\n\xff: {}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (
            PATCHED,
            ("patches/is-odd@3.0.1.patch", "patches/@x__y@1.patch"),
        ),
        ("importers:\n  a:\n    path: no\n", ()),
    ],
)
def test_patches(text: str, expected: tuple[str, ...]) -> None:
    assert pnpm_lock.patches(text.encode()) == expected
    assert pnpm_lock.patches(text.replace("\n", "\r\n").encode()) == expected


def test_packages() -> None:
    assert pnpm_lock.has_packages(V9.encode())
    assert pnpm_lock.has_packages(V9.replace("\n", "\r\n").encode())
    assert not pnpm_lock.has_packages(b"importers:\n\n  .: {}\n")


@given(st.binary(max_size=200))
def test_any_bytes_give_members_or_an_error(data: bytes) -> None:
    try:
        found = pnpm_lock.importers(b"importers:\n" + data)
    except InstallError:
        return
    assert all(not name.startswith(("/", "..")) and "/../" not in name for name in found)
