"""The command `orchestrator-state`."""
