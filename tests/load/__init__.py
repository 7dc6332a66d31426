"""Load and death: large, many, for long, and killed."""
