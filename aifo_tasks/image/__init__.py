"""A toolchain's image: its recipe, its base and its build."""
