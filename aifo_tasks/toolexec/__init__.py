"""How a tool call reaches a sidecar: the wire format, and the way to its init."""
