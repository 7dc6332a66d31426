"""The doit edge: task creators by subject, and the machinery that runs them under doit.

The creators are exported lazily (PEP 562): ``from aifo_tasks.tasks import task_toolchain``
imports the one module that defines it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CREATORS: Mapping[str, tuple[str, ...]] = {
    "sidecars": ("task_toolchain", "task_sidecar", "task_sidecar_stop"),
    "images": ("task_build_image", "task_rebuild_image", "task_render_image"),
    "publishing": ("task_publish_image", "task_merge_image", "task_bake"),
    "locks": ("task_lock", "task_outdated"),
    "installs": ("task_install",),
    "caches": (
        "task_warm_cache", "task_caches", "task_purge_caches", "task_toolchain_cache_clear",
        "task_export_cache", "task_import_cache",
    ),
    "engines": ("task_engine", "task_engine_stop"),
    "host": ("task_node_install", "task_node_guard", "task_node_migrate"),
    "shell": ("task_shell",),
    "proxies": ("task_proxy",),
    "shims": ("task_shims",),
    "smoke": ("task_test_proxy_smoke", "task_test_proxy_unix"),
    "languages": ("task_run_code",),
    "show": ("task_toolchains", "task_registry", "task_trust"),
}  # fmt: skip
"""Module of this package: names of the creators it defines, in the order of ``doit list``."""

CREATOR_MODULES = tuple(CREATORS)


def __getattr__(name: str) -> Any:  # a module's attribute may be anything
    for module, names in CREATORS.items():
        if name in names:
            from aifo_tasks.tasks.export import exported

            return exported(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(name for names in CREATORS.values() for name in names)])
