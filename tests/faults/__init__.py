"""How stores like this one lose data, hang, crash or answer wrongly: a test for each, with real faults."""
