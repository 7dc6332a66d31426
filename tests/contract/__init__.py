"""One suite that every engine passes: the fake, Docker, and Podman."""
