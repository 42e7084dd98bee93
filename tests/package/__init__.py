"""The package around the store: imports, documentation, examples, benchmarks, and the rooms of the sources."""
