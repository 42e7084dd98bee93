"""What the store and its rivals take: `python -m benches` for all of it, `python -m benches.gate` for CI."""
