-- Version 2: which items came again unchanged, and when last. The wide rows are not written for that. An item may have
-- several notes, made by several writers at once; the newest counts.
CREATE TABLE {schema}.item_seen (
    item_id text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    seen_at text COLLATE "C" NOT NULL
);

CREATE INDEX item_seen_run_id ON {schema}.item_seen (run_id, item_id);

-- Where all tables are published, one without a key can be changed only if whole rows are.
ALTER TABLE {schema}.item_seen REPLICA IDENTITY FULL;
ALTER TABLE {schema}.store_identity REPLICA IDENTITY FULL;

UPDATE {schema}.store_identity SET schema_version = 2;
