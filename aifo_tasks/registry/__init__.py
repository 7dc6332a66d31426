"""Image registries: which of them a reference is looked for in."""
