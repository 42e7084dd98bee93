"""Fuzzing: mutated files and JSON texts, for whatever no test thought of.

A target is a module with `mutate`, which makes an input from those that are known, and `run`, which uses one, fails if
the store does anything but its duty, and says what it came to. What comes to something new is mutated further, as a
fuzzer does that watches which code is reached. The seeds are in `seeds/`; put an input that once failed among them.

`python -m tests.fuzz TARGET SECONDS` runs a target, `python -m tests.fuzz TARGET FILE` one input again.
"""
