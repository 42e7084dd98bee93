-- The tables of version 1. Text is compared by code points, as Python and SQLite do. `seq` is the order of recording.
CREATE TABLE {schema}.store_identity (
    store_id text NOT NULL,
    schema_version integer NOT NULL
);

CREATE SEQUENCE {schema}.recorded;

CREATE TABLE {schema}.runs (
    seq bigint NOT NULL DEFAULT nextval('{schema}.recorded') << 20,
    run_id text COLLATE "C" PRIMARY KEY,
    run_type text COLLATE "C" NOT NULL,
    started_at text COLLATE "C" NOT NULL,
    finished_at text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    settings_snapshot_json text COLLATE "C" NOT NULL,
    notes text COLLATE "C",
    heartbeat_at text COLLATE "C",
    recovered_at text COLLATE "C",
    pruned_at text COLLATE "C",
    start_token text
);

CREATE TABLE {schema}.intel_items (
    seq bigint NOT NULL DEFAULT nextval('{schema}.recorded') << 20,
    item_id text COLLATE "C" PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL,
    item_type text COLLATE "C" NOT NULL,
    title text COLLATE "C" NOT NULL,
    summary text COLLATE "C" NOT NULL,
    claims_json text COLLATE "C" NOT NULL,
    evidence_json text COLLATE "C" NOT NULL,
    scores_json text COLLATE "C" NOT NULL,
    risk_flags_json text COLLATE "C" NOT NULL,
    explainability_json text COLLATE "C" NOT NULL,
    decision text COLLATE "C",
    decision_reason text COLLATE "C",
    created_at text COLLATE "C" NOT NULL,
    updated_at text COLLATE "C"
);

CREATE TABLE {schema}.telemetry (
    run_id text COLLATE "C" PRIMARY KEY,
    telemetry_json text COLLATE "C" NOT NULL,
    created_at text COLLATE "C" NOT NULL
);

-- The latest transaction() blocks that were committed: how one whose answer was lost is found again.
CREATE TABLE {schema}.marks (
    token text PRIMARY KEY,
    at timestamptz NOT NULL
);

CREATE INDEX marks_at ON {schema}.marks (at);
CREATE UNIQUE INDEX runs_seq ON {schema}.runs (seq);
CREATE INDEX runs_status ON {schema}.runs (status, seq);
CREATE INDEX runs_run_type ON {schema}.runs (run_type, seq);
CREATE INDEX runs_started_at ON {schema}.runs (started_at);
CREATE INDEX runs_pruned_at ON {schema}.runs (pruned_at, seq) WHERE pruned_at IS NOT NULL;
CREATE UNIQUE INDEX intel_items_seq ON {schema}.intel_items (seq);
CREATE INDEX intel_items_run_id ON {schema}.intel_items (run_id, seq);
CREATE INDEX intel_items_created_at ON {schema}.intel_items (created_at);
CREATE INDEX intel_items_item_type ON {schema}.intel_items (item_type, decision, seq);

INSERT INTO {schema}.store_identity VALUES (md5(gen_random_uuid()::text), 1);
