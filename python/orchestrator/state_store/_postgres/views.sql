-- For other programs that read: text without its escapes, JSON as jsonb, times as timestamptz. The store uses none of it.

-- A text as it was written; U+FFFD stands in for NUL, which no text of PostgreSQL can have.
CREATE OR REPLACE FUNCTION {schema}.unescape(_text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT replace(replace(_text, chr(1114111) || '0', chr(65533)), chr(1114111) || '1', chr(1114111))
$$;

-- JSON as jsonb; NULL where jsonb cannot have it: NaN, lone surrogates, \u0000, numbers beyond those of numeric.
CREATE OR REPLACE FUNCTION {schema}.as_jsonb(_json text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN {schema}.unescape(_json)::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
    RETURN NULL;
END
$$;

-- A time of the store's; NULL where another program wrote something else.
CREATE OR REPLACE FUNCTION {schema}.as_timestamptz(_time text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF _time !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([+]00:00|Z)$' THEN
        RETURN NULL;
    END IF;
    RETURN _time::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

CREATE OR REPLACE VIEW {schema}.bi_runs AS
SELECT r.seq, {schema}.unescape(r.run_id) AS run_id, {schema}.unescape(r.run_type) AS run_type,
    {schema}.unescape(r.status) AS status, {schema}.as_timestamptz(r.started_at) AS started_at,
    {schema}.as_timestamptz(r.finished_at) AS finished_at, {schema}.as_timestamptz(r.heartbeat_at) AS heartbeat_at,
    {schema}.as_jsonb(r.settings_snapshot_json) AS settings_snapshot, {schema}.unescape(r.notes) AS notes
FROM {schema}.runs r WHERE r.pruned_at IS NULL;

CREATE OR REPLACE VIEW {schema}.bi_intel_items AS
SELECT i.seq, {schema}.unescape(i.item_id) AS item_id, {schema}.unescape(i.run_id) AS run_id,
    {schema}.unescape(i.item_type) AS item_type, {schema}.unescape(i.title) AS title,
    {schema}.unescape(i.summary) AS summary, {schema}.as_jsonb(i.claims_json) AS claims,
    {schema}.as_jsonb(i.evidence_json) AS evidence, {schema}.as_jsonb(i.scores_json) AS scores,
    {schema}.as_jsonb(i.risk_flags_json) AS risk_flags, {schema}.as_jsonb(i.explainability_json) AS explainability,
    {schema}.unescape(i.decision) AS decision, {schema}.unescape(i.decision_reason) AS decision_reason,
    {schema}.as_timestamptz(i.created_at) AS created_at
FROM {schema}.intel_items i
WHERE NOT EXISTS (SELECT FROM {schema}.runs r WHERE r.run_id = i.run_id AND r.pruned_at IS NOT NULL);

CREATE OR REPLACE VIEW {schema}.bi_telemetry AS
SELECT {schema}.unescape(t.run_id) AS run_id, {schema}.as_jsonb(t.telemetry_json) AS telemetry,
    {schema}.as_timestamptz(t.created_at) AS created_at
FROM {schema}.telemetry t
WHERE NOT EXISTS (SELECT FROM {schema}.runs r WHERE r.run_id = t.run_id AND r.pruned_at IS NOT NULL);
