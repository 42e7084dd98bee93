"""What is particular to SQLite and its files: opening, locations, the log, the schema, ad-hoc SQL, upkeep."""
