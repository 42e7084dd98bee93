"""What the store costs, and what its rivals cost: `python -m benches` for all of it, `python -m benches.gate` for CI."""
