"""A project's session: its toolchains made ready, and calls into them."""
