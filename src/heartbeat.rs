//! Signs of life of runs.
