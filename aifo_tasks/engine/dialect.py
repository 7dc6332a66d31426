"""What has to be said to Podman in another way, and what stays different there.

Bridged:

- a tmpfs takes no ``uid=`` and ``gid=``: ``U`` gives it to the container's user;
- a tmpfs starts with what the image has in that directory, unless told ``notmpcopyup``;
- builds go through ``podman --url … build``: it has no buildx, and knows no private cache;
- names without a registry get ``localhost/``; either spelling finds the image;
- a label filter with several labels finds those that have one of them: filtered again here;
- a host directory that is missing would be made: refused here;
- what is missing or taken is told with other statuses: ``failure`` reads the words.

Different, and to be known:

- a tmpfs belongs to the container's user also when another ``uid=`` is asked for;
- with a read-only root ``/run``, ``/tmp`` and ``/var/tmp`` are still writable, in memory;
- an internal network has no address of this machine in it, any other from its first container on;
- a host path with a comma in it cannot be mounted;
- what is read from a volume tells all files as root's; what is written keeps its owners;
- a built image carries the label ``io.buildah.version``;
- the step of an interrupted build runs to its end, and its base stays in use;
- its client sometimes says that it lost the exit status of a ``run --rm`` that was short;
- an archive's ``./`` changes the mode of the volume's own directory;
- containers get a limit on open files and processes that root itself may not be allowed to
  raise: then ``default_ulimits`` in containers.conf has to name lower ones.
"""

from __future__ import annotations

import dataclasses

from aifo_tasks.engine.api import ContainerSpec, MountSpec


def bridged(spec: ContainerSpec) -> ContainerSpec:
    """The container to ask Podman for, so that it comes out as Docker would make it."""
    return dataclasses.replace(spec, mounts=tuple(_mount(mount) for mount in spec.mounts))


def dockerfile(text: str) -> str:
    """The Dockerfile to give Podman: steps wait for a cache that Docker would give each anew."""
    return text.replace("sharing=private", "sharing=locked")


def local_name(reference: str) -> str:
    """The name Podman gives an image that is made here; its API would add Docker Hub's."""
    host, slash, _ = reference.partition("/")
    elsewhere = slash and (host == "localhost" or set(".:") & set(host))
    return reference if elsewhere else f"localhost/{reference}"


def _mount(mount: MountSpec) -> MountSpec:
    if mount.kind != "tmpfs":
        return mount
    options = [option for option in mount.options.split(",") if option]
    kept = [option for option in options if not option.startswith(("uid=", "gid="))]
    owned = ["U"] if kept != options else []
    return dataclasses.replace(mount, options=",".join([*kept, *owned, "notmpcopyup"]))
