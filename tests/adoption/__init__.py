"""Makes the helpers importable."""
