"""Development toolchains as up-to-date-aware doit tasks."""

__version__ = "0.1.0"
