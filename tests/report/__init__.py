"""The report: one file, whatever the run has in it."""
