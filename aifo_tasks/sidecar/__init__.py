"""Sidecars: the containers that hold a toolchain ready for calls."""
