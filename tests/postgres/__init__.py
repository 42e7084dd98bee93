"""What a store in PostgreSQL has of its own. Run by `make test-postgres`."""
