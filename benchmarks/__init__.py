"""What a call, a warm start and a byte cost, each beside its anchor in one run."""
