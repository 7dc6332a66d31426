"""Builds as the file that ``docker buildx bake`` reads, in its JSON form; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aifo_tasks.engine import preview
from aifo_tasks.engine.api import PublishSpec
from aifo_tasks.model import PROXIES

Target = dict[str, Any]


def target(spec: PublishSpec, tags: Sequence[str], output: str) -> Target:
    """One target of a bake file; nothing stands in it that is empty.

    ``output`` is buildx's own word for where the image goes.
    """
    build = spec.build
    proxies = {name for name, _ in build.arguments if name in PROXIES}
    arguments = {
        name: f"${{{name}}}" if name in proxies else _literal(value)
        for name, value in build.arguments
    }
    provenance = "type=provenance,mode=max" if spec.attest else "type=provenance,disabled=true"
    fields: Target = {
        "context": _literal(str(build.context)),
        "contexts": {name: _literal(str(path)) for name, path in build.contexts},
        "dockerfile-inline": _literal(build.dockerfile),
        "args": arguments,
        "labels": {name: _literal(value) for name, value in build.labels},
        "tags": list(tags),
        "platforms": list(spec.platforms),
        "secret": [_literal(preview.secret(name, str(path))) for name, path in build.secrets],
        "cache-from": [_literal(word) for word in spec.cache_from],
        "cache-to": [_literal(word) for word in spec.cache_to],
        "attest": [provenance, *(["type=sbom"] if spec.attest else [])],
        "output": [_literal(output)],
        "no-cache": build.no_cache,
    }
    return {name: value for name, value in fields.items() if value}


def text(targets: Mapping[str, Target]) -> str:
    """The whole file; proxies are taken from the environment of whoever bakes."""
    named = {name for each in targets.values() for name in each.get("args", {})}
    variables = {name: {"default": ""} for name in PROXIES if name in named}
    document = {
        **({"variable": variables} if variables else {}),
        "group": {"default": {"targets": list(targets)}},
        "target": targets,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _literal(text: str) -> str:
    """Text in which nothing is expanded: every string of the file is a template."""
    return text.replace("${", "$${").replace("%{", "%%{")
