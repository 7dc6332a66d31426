"""What stays different from Docker although the same is asked for; tests look here."""

from __future__ import annotations

DIFFERENCES: dict[str, dict[str, str]] = {
    "docker": {},
    "podman": {
        "archive owners": "what is read from a volume tells all files as root's",
        "tmpfs owner": "a tmpfs can only be given to the container's own user",
        "read-only places": "/run, /tmp and /var/tmp are writable although the root is not",
        "interrupted build": "the step that runs is not ended with its client",
        "internal gateway": "a network without a way out has no address of this machine",
        "comma": "a host path with a comma cannot be mounted",
        "exit status": "the podman client sometimes loses the status of run --rm",
    },
}
