"""Container engines: what we ask of one, and the ones that answer."""
