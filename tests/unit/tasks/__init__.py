"""The doit edge, in real projects and real processes."""
