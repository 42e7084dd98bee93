-- The writes. Each is VOLATILE, so that every statement in it sees what was committed before it began: it takes the
-- lock of the store first, then looks, then writes. The number in a name is raised whenever its arguments change: a
-- program that opened the store before it was brought up to date goes on with the functions it knows.
--
-- The lock is shared by plain writes and exclusive in a transaction() block; `_wait` is how long to wait for it, in
-- milliseconds, and NULL where the caller holds it. A write that names runs keeps their rows locked (FOR KEY SHARE), so
-- that they can be neither deleted nor recovered before it is committed; rows are locked in the order of their keys.

CREATE FUNCTION {schema}.lock_key_1() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT hashtextextended('orchestrator.state_store:' || store_id, 0) FROM {schema}.store_identity
$$;

CREATE FUNCTION {schema}.enter_1(_wait integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF _wait IS NOT NULL THEN
        -- The key is that of lock_key_1, whose call would take as long as the rest.
        PERFORM set_config('lock_timeout', _wait::text, true),
            pg_advisory_xact_lock_shared(hashtextextended('orchestrator.state_store:' || store_id, 0))
        FROM {schema}.store_identity;
    END IF;
END
$$;

-- A time as Python's isoformat() prints it: no fraction where it is zero.
CREATE FUNCTION {schema}.isoformat_1(_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT replace(to_char(_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || '+00:00'
$$;

CREATE FUNCTION {schema}.now_1() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT {schema}.isoformat_1(clock_timestamp())
$$;

-- The time so many seconds ago; where time does not go back so far, the empty text, which is before all others.
CREATE FUNCTION {schema}.ago_1(_seconds double precision) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN _seconds >= extract(epoch FROM clock_timestamp()) + 62135596800 THEN ''
        ELSE {schema}.isoformat_1(clock_timestamp() - make_interval(secs => least(_seconds, 1e11))) END
$$;

-- Why a run does not take what it should.
CREATE FUNCTION {schema}.why_over_1(_run_id text, OUT fault text, OUT status text, OUT recovered_at text)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT CASE WHEN r.recovered_at IS NULL THEN 'over' ELSE 'recovered' END, r.status, r.recovered_at
    INTO fault, status, recovered_at FROM {schema}.runs r WHERE r.run_id = _run_id AND r.pruned_at IS NULL;
    IF NOT FOUND THEN
        fault := 'missing';
    END IF;
END
$$;

-- Record a heartbeat of running runs, one a second: of a run whose row another transaction has changed, that one's will
-- do. A transaction() only notes them until its end: a row that it changed would be locked until then, and its run would
-- look dead, as nobody else could record its heartbeats.
CREATE FUNCTION {schema}.beat_1(_run_ids text[], _at text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- Empty in a session where a transaction() was, and NULL in others.
    _written text := current_setting('state_store.written', true);
BEGIN
    IF coalesce(_written, '') <> '' THEN
        IF NOT _run_ids <@ _written::text[] THEN
            PERFORM set_config('state_store.written', (_written::text[] || _run_ids)::text, true);
        END IF;
        RETURN;
    END IF;
    UPDATE {schema}.runs r SET heartbeat_at = _at WHERE r.run_id IN (
        SELECT b.run_id FROM {schema}.runs b
        WHERE b.run_id = ANY (_run_ids) AND b.pruned_at IS NULL AND b.status = 'running'
            AND b.recovered_at IS NULL AND left(coalesce(b.heartbeat_at, b.started_at), 19) <> left(_at, 19)
        ORDER BY b.run_id FOR NO KEY UPDATE SKIP LOCKED);
END
$$;

-- The end of a transaction(): record the heartbeats that it has noted. If it has written, it leaves a mark.
CREATE FUNCTION {schema}.mark_1(_token text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _run_ids text[] := current_setting('state_store.written')::text[];
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        PERFORM set_config('state_store.written', '', true);
        PERFORM {schema}.beat_1(_run_ids, {schema}.now_1());
        DELETE FROM {schema}.marks m WHERE m.token IN (
            SELECT o.token FROM {schema}.marks o WHERE o.at < clock_timestamp() - interval '1 hour' ORDER BY o.at LIMIT 2);
        INSERT INTO {schema}.marks VALUES (_token, clock_timestamp());
    END IF;
END
$$;

-- Lock the runs that a write names, find the first that does not take it, and record a heartbeat of the others.
CREATE FUNCTION {schema}.require_1(
    _run_ids text[], _force boolean, _at text,
    OUT place integer, OUT fault text, OUT status text, OUT recovered_at text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM {schema}.runs r WHERE r.run_id = ANY (_run_ids) AND r.pruned_at IS NULL
    ORDER BY r.run_id FOR KEY SHARE;
    SELECT wanted.place, CASE WHEN r.run_id IS NULL THEN 'missing' ELSE 'recovered' END, r.status, r.recovered_at
    INTO place, fault, status, recovered_at
    FROM unnest(_run_ids) WITH ORDINALITY AS wanted(run_id, place)
    LEFT JOIN {schema}.runs r ON r.run_id = wanted.run_id AND r.pruned_at IS NULL
    WHERE r.run_id IS NULL OR r.recovered_at IS NOT NULL AND NOT _force
    ORDER BY wanted.place LIMIT 1;
    IF NOT FOUND THEN
        PERFORM {schema}.beat_1(_run_ids, _at);
    END IF;
END
$$;

CREATE FUNCTION {schema}.delete_all_1(
    _run_id text, OUT runs bigint, OUT intel_items bigint, OUT telemetry bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM {schema}.intel_items i WHERE i.run_id = _run_id ORDER BY i.item_id FOR UPDATE;
    DELETE FROM {schema}.intel_items i WHERE i.run_id = _run_id;
    GET DIAGNOSTICS intel_items = ROW_COUNT;
    DELETE FROM {schema}.item_seen s WHERE s.run_id = _run_id;
    DELETE FROM {schema}.telemetry t WHERE t.run_id = _run_id;
    GET DIAGNOSTICS telemetry = ROW_COUNT;
    DELETE FROM {schema}.runs r WHERE r.run_id = _run_id;
    GET DIAGNOSTICS runs = ROW_COUNT;
END
$$;

-- Insert a run: its start. Of one that is there, NULL, unless this very call, by its token, has started it; with
-- `_may_exist`, and if it is of this type, it has a heartbeat now if it is running.
CREATE FUNCTION {schema}.start_run_1(
    _wait integer, _run_id text, _run_type text, _settings text, _may_exist boolean, _token text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    _at text;
    _started text;
BEGIN
    PERFORM {schema}.enter_1(_wait);
    _at := {schema}.now_1();
    PERFORM 1 FROM {schema}.runs r WHERE r.run_id = _run_id AND r.pruned_at IS NOT NULL FOR UPDATE;
    IF FOUND THEN
        PERFORM {schema}.delete_all_1(_run_id);
    END IF;
    INSERT INTO {schema}.runs (run_id, run_type, started_at, status, settings_snapshot_json, start_token)
    VALUES (_run_id, _run_type, _at, 'running', _settings, _token)
    ON CONFLICT (run_id) DO NOTHING RETURNING started_at INTO _started;
    IF _started IS NULL THEN
        SELECT r.started_at INTO _started FROM {schema}.runs r
        WHERE r.run_id = _run_id AND r.start_token = _token FOR KEY SHARE;
    END IF;
    IF _started IS NOT NULL THEN
        PERFORM {schema}.beat_1(ARRAY[_run_id], _at);
    ELSIF _may_exist AND EXISTS (SELECT FROM {schema}.runs r WHERE r.run_id = _run_id AND r.run_type = _run_type) THEN
        PERFORM {schema}.beat_1(ARRAY[_run_id], _at);
    END IF;
    RETURN _started;
END
$$;

CREATE FUNCTION {schema}.finish_run_1(
    _wait integer, _run_id text, _status text, _notes text, _force boolean, _if_running boolean,
    OUT fault text, OUT status text, OUT recovered_at text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.enter_1(_wait);
    UPDATE {schema}.runs r SET status = _status, finished_at = {schema}.now_1(), notes = _notes
    WHERE r.run_id = _run_id AND r.pruned_at IS NULL
        AND (_force OR r.recovered_at IS NULL AND (NOT _if_running OR r.status = 'running'));
    IF NOT FOUND THEN
        SELECT w.fault, w.status, w.recovered_at INTO fault, status, recovered_at FROM {schema}.why_over_1(_run_id) w;
    END IF;
END
$$;

CREATE FUNCTION {schema}.heartbeat_1(
    _wait integer, _run_id text, OUT fault text, OUT status text, OUT recovered_at text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.enter_1(_wait);
    IF coalesce(current_setting('state_store.written', true), '') = '' THEN
        UPDATE {schema}.runs r SET heartbeat_at = {schema}.now_1()
        WHERE r.run_id = _run_id AND r.pruned_at IS NULL AND r.status = 'running' AND r.recovered_at IS NULL;
    ELSE
        PERFORM 1 FROM {schema}.runs r WHERE r.run_id = _run_id AND r.pruned_at IS NULL AND r.status = 'running'
            AND r.recovered_at IS NULL FOR KEY SHARE;
    END IF;
    IF FOUND THEN
        PERFORM {schema}.beat_1(ARRAY[_run_id], {schema}.now_1());
    ELSE
        SELECT w.fault, w.status, w.recovered_at INTO fault, status, recovered_at FROM {schema}.why_over_1(_run_id) w;
    END IF;
END
$$;

-- The heartbeats of runs that are active. It waits for nobody: a long transaction must not make runs look dead.
CREATE FUNCTION {schema}.beat_all_1(_run_ids text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.beat_1(_run_ids, {schema}.now_1());
END
$$;

CREATE FUNCTION {schema}.reopen_run_1(
    _wait integer, _run_id text, _recovered text, OUT fault text, OUT status text, OUT recovered_at text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.enter_1(_wait);
    UPDATE {schema}.runs r SET status = 'running', finished_at = NULL, recovered_at = NULL,
        heartbeat_at = {schema}.now_1(),
        notes = CASE WHEN r.recovered_at IS NOT NULL AND starts_with(r.notes, _recovered)
            AND substr(r.notes, length(_recovered) + 1) ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+[+]00:00$'
            THEN NULL ELSE r.notes END
    WHERE r.run_id = _run_id AND r.pruned_at IS NULL AND (r.recovered_at IS NOT NULL OR r.status = 'running');
    IF NOT FOUND THEN
        SELECT w.fault, w.status, w.recovered_at INTO fault, status, recovered_at FROM {schema}.why_over_1(_run_id) w;
    END IF;
END
$$;

-- The running runs without a sign of life from `_limit` to `_now`, and the last one before. A sign that is later than now
-- is of a clock that was set back: `ahead`. Which item was seen again says nothing of the run that it stays with.
CREATE FUNCTION {schema}.silent_1(_limit text, _now text) RETURNS TABLE (run_id text, last_sign text, dead boolean, ahead boolean)
LANGUAGE sql STABLE AS $$
    SELECT r.run_id,
        greatest(CASE WHEN r.started_at <= _now THEN r.started_at END, CASE WHEN r.heartbeat_at <= _now THEN r.heartbeat_at END,
            (SELECT t.created_at FROM {schema}.telemetry t WHERE t.run_id = r.run_id AND t.created_at <= _now),
            (SELECT max(i.created_at) FROM {schema}.intel_items i WHERE i.run_id = r.run_id AND i.created_at <= _now)),
        signs.dead, signs.ahead
    FROM {schema}.runs r, LATERAL (
        SELECT r.started_at NOT BETWEEN _limit AND _now AND coalesce(r.heartbeat_at, '') NOT BETWEEN _limit AND _now
            AND NOT EXISTS (SELECT FROM {schema}.telemetry t
                WHERE t.run_id = r.run_id AND t.created_at BETWEEN _limit AND _now)
            AND NOT EXISTS (SELECT FROM {schema}.intel_items i
                WHERE i.run_id = r.run_id AND i.created_at BETWEEN _limit AND _now) AS dead,
            coalesce(r.heartbeat_at, '') > _now OR r.heartbeat_at IS NULL AND (r.started_at > _now
                OR EXISTS (SELECT FROM {schema}.telemetry t WHERE t.run_id = r.run_id AND t.created_at > _now)
                OR EXISTS (SELECT FROM {schema}.intel_items i WHERE i.run_id = r.run_id AND i.created_at > _now)) AS ahead
    ) AS signs
    WHERE r.pruned_at IS NULL AND r.status = 'running' AND (signs.dead OR signs.ahead)
$$;

-- A run that another transaction is writing for is alive, and passed over. A sign that is ahead of the clock is taken for
-- one of now, and stored so.
CREATE FUNCTION {schema}.recover_1(_wait integer, _seconds double precision, _status text, _recovered text)
RETURNS SETOF {schema}.runs LANGUAGE plpgsql AS $$
DECLARE
    _now text;
    _limit text;
    _mine text[];
BEGIN
    PERFORM {schema}.enter_1(_wait);
    _now := {schema}.now_1();
    _limit := {schema}.ago_1(_seconds);
    _mine := ARRAY(
        SELECT r.run_id FROM {schema}.runs r
        WHERE r.run_id IN (SELECT s.run_id FROM {schema}.silent_1(_limit, _now) s) FOR UPDATE SKIP LOCKED);
    UPDATE {schema}.runs r SET heartbeat_at = _now
    FROM {schema}.silent_1(_limit, _now) s WHERE r.run_id = s.run_id AND s.ahead AND r.run_id = ANY (_mine);
    RETURN QUERY
    UPDATE {schema}.runs r SET status = _status, finished_at = _now, recovered_at = _now,
        notes = coalesce(r.notes, _recovered || coalesce(s.last_sign, ''))
    FROM {schema}.silent_1(_limit, _now) s
    WHERE r.run_id = s.run_id AND s.dead AND NOT s.ahead AND r.run_id = ANY (_mine)
    RETURNING r.*;
END
$$;

-- A row of each element of these arrays: unnest() of them all in FROM would copy each value once more.
CREATE FUNCTION {schema}.item_rows_1(
    _places integer[], _item_id text[], _run_id text[], _item_type text[], _title text[], _summary text[],
    _claims_json text[], _evidence_json text[], _scores_json text[], _risk_flags_json text[],
    _explainability_json text[], _decision text[], _decision_reason text[]
) RETURNS TABLE (
    number integer, place integer, item_id text, run_id text, item_type text, title text, summary text, claims_json text,
    evidence_json text, scores_json text, risk_flags_json text, explainability_json text, decision text,
    decision_reason text
) LANGUAGE sql IMMUTABLE AS $$
    SELECT generate_subscripts(_places, 1), unnest(_places), unnest(_item_id), unnest(_run_id), unnest(_item_type),
        unnest(_title), unnest(_summary), unnest(_claims_json), unnest(_evidence_json), unnest(_scores_json),
        unnest(_risk_flags_json), unnest(_explainability_json), unnest(_decision), unnest(_decision_reason)
$$;

-- Insert or update items, sorted by item_id and each there once. `_places` is the order of recording.
--
-- A batch is several calls in one transaction. The first is given the runs, and the place and id of the first item of
-- each; it takes the time, and a number for each 2^20 places. The others find both in a setting that ends with the
-- transaction. A run that takes no items ends the batch: the DETAIL of the error says which, and why.
--
-- Where another inserts one of the new items meanwhile, that is a unique_violation, and the call is to be repeated.
--
-- An item that comes again unchanged is not written, nor is its row locked; at most once a minute it is noted in
-- `item_seen`. No note waits for another's, so that the order in which they are locked does not matter.
CREATE FUNCTION {schema}.put_items_3(
    _wait integer, _count integer, _runs text[], _first_places integer[], _first_items text[],
    _places integer[], _item_id text[], _run_id text[], _item_type text[], _title text[], _summary text[],
    _claims_json text[], _evidence_json text[], _scores_json text[], _risk_flags_json text[],
    _explainability_json text[], _decision text[], _decision_reason text[]
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    _at text;
    _stale text := {schema}.ago_1(60);
    _numbers bigint[];
    _owners text[];
    _locked text[] := '{}';
    _same boolean[];
    _due text[];
    _due_runs text[];
    _bad record;
BEGIN
    IF _runs IS NOT NULL THEN
        PERFORM {schema}.enter_1(_wait);
        _at := {schema}.now_1();
        SELECT * INTO _bad FROM {schema}.require_1(_runs, false, _at);
        IF _bad.fault IS NOT NULL THEN
            RAISE EXCEPTION 'a run takes no items' USING ERRCODE = 'OS001', DETAIL = json_build_array(
                _first_places[_bad.place], _first_items[_bad.place], _runs[_bad.place], _bad.fault, _bad.status,
                _bad.recovered_at)::text;
        END IF;
        _numbers := ARRAY(SELECT nextval('{schema}.recorded') FROM generate_series(0, (_count - 1) >> 20));
        PERFORM set_config('state_store.batch', _at || ' ' || _numbers::text, true);
    ELSE
        _at := split_part(current_setting('state_store.batch'), ' ', 1);
        _numbers := split_part(current_setting('state_store.batch'), ' ', 2)::bigint[];
    END IF;
    IF NOT EXISTS (
        SELECT FROM unnest(_item_id) AS n(item_id),
            LATERAL (SELECT FROM {schema}.intel_items i WHERE i.item_id = n.item_id LIMIT 1) known)
    THEN
        INSERT INTO {schema}.intel_items (
            seq, item_id, run_id, item_type, title, summary, claims_json, evidence_json, scores_json, risk_flags_json,
            explainability_json, decision, decision_reason, created_at)
        SELECT (_numbers[(n.place >> 20) + 1] << 20) | (n.place & 1048575), n.item_id, n.run_id, n.item_type, n.title,
            n.summary, n.claims_json, n.evidence_json, n.scores_json, n.risk_flags_json, n.explainability_json, n.decision,
            n.decision_reason, _at
        FROM {schema}.item_rows_1(_places, _item_id, _run_id, _item_type, _title, _summary, _claims_json, _evidence_json,
                _scores_json, _risk_flags_json, _explainability_json, _decision, _decision_reason) n;
        RETURN;
    END IF;
    LOOP
        SELECT array_agg(DISTINCT known.run_id) FILTER (WHERE known.run_id <> n.run_id),
            array_agg(known.is_same ORDER BY n.number),
            array_agg(n.item_id ORDER BY n.number) FILTER (WHERE known.is_same AND NOT known.is_fresh),
            array_agg(known.run_id ORDER BY n.number) FILTER (WHERE known.is_same AND NOT known.is_fresh)
        INTO _owners, _same, _due, _due_runs
        FROM {schema}.item_rows_1(_places, _item_id, _run_id, _item_type, _title, _summary, _claims_json, _evidence_json,
            _scores_json, _risk_flags_json, _explainability_json, _decision, _decision_reason) n
        LEFT JOIN LATERAL (
            SELECT i.run_id, coalesce(i.updated_at, i.created_at) BETWEEN _stale AND _at AS is_fresh,
                (i.title, i.summary, i.claims_json, i.evidence_json, i.scores_json, i.risk_flags_json,
                    i.explainability_json, i.decision, i.decision_reason)
                IS NOT DISTINCT FROM (n.title, n.summary, n.claims_json, n.evidence_json, n.scores_json,
                    n.risk_flags_json, n.explainability_json, n.decision, n.decision_reason) AS is_same
            FROM {schema}.intel_items i WHERE i.item_id = n.item_id LIMIT 1) known ON true;
        EXIT WHEN _owners IS NULL OR _owners <@ _locked;
        -- Items of runs that the batch does not name: no prune may begin with one before it sees that they came again.
        PERFORM 1 FROM {schema}.runs r WHERE r.run_id = ANY (_owners) ORDER BY r.run_id FOR KEY SHARE;
        -- What comes again while its run is being pruned is new, and recorded last.
        IF EXISTS (SELECT FROM {schema}.runs r WHERE r.run_id = ANY (_owners) AND r.pruned_at IS NOT NULL) THEN
            PERFORM 1 FROM {schema}.intel_items i JOIN {schema}.runs r ON r.run_id = i.run_id AND r.pruned_at IS NOT NULL
            WHERE i.item_id = ANY (_item_id) ORDER BY i.item_id FOR UPDATE OF i;
            DELETE FROM {schema}.intel_items i USING {schema}.runs r
            WHERE i.item_id = ANY (_item_id) AND r.run_id = i.run_id AND r.pruned_at IS NOT NULL;
        END IF;
        _locked := _owners;
    END LOOP;
    IF _due IS NOT NULL THEN
        WITH due AS MATERIALIZED (
            SELECT d.item_id, d.owner FROM unnest(_due, _due_runs) AS d(item_id, owner) WHERE NOT EXISTS (
                SELECT FROM {schema}.item_seen s
                WHERE s.item_id = d.item_id AND s.run_id = d.owner AND s.seen_at BETWEEN _stale AND _at)
        ), noted AS (
            UPDATE {schema}.item_seen s SET seen_at = _at
            WHERE s.ctid = ANY (ARRAY(
                SELECT f.ctid FROM due JOIN {schema}.item_seen f ON f.item_id = due.item_id AND f.run_id = due.owner
                FOR UPDATE OF f SKIP LOCKED))
            RETURNING s.item_id
        )
        INSERT INTO {schema}.item_seen (item_id, run_id, seen_at)
        SELECT d.item_id, d.owner, _at FROM due d WHERE NOT EXISTS (SELECT FROM noted WHERE noted.item_id = d.item_id);
    END IF;
    IF true = ALL (_same) THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.intel_items (
        seq, item_id, run_id, item_type, title, summary, claims_json, evidence_json, scores_json, risk_flags_json,
        explainability_json, decision, decision_reason, created_at)
    SELECT (_numbers[(n.place >> 20) + 1] << 20) | (n.place & 1048575), n.item_id, n.run_id, n.item_type, n.title,
        n.summary, n.claims_json, n.evidence_json, n.scores_json, n.risk_flags_json, n.explainability_json, n.decision,
        n.decision_reason, _at
    FROM {schema}.item_rows_1(_places, _item_id, _run_id, _item_type, _title, _summary, _claims_json, _evidence_json,
        _scores_json, _risk_flags_json, _explainability_json, _decision, _decision_reason) n
    WHERE _same[n.number] IS NOT TRUE
    ON CONFLICT (item_id) DO UPDATE SET
        title = excluded.title, summary = excluded.summary, claims_json = excluded.claims_json,
        evidence_json = excluded.evidence_json, scores_json = excluded.scores_json,
        risk_flags_json = excluded.risk_flags_json, explainability_json = excluded.explainability_json,
        decision = excluded.decision, decision_reason = excluded.decision_reason, updated_at = excluded.created_at;
END
$$;

-- Insert or update one item. What is not simple is done as a batch. `_key` is the lock's, as lock_key_1 has it: a scan of
-- store_identity would take a fifth of the time.
CREATE FUNCTION {schema}.put_item_3(
    _wait integer, _key bigint, _item_id text, _run_id text, _item_type text, _title text, _summary text,
    _claims_json text, _evidence_json text, _scores_json text, _risk_flags_json text, _explainability_json text,
    _decision text, _decision_reason text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _at text;
    _is_plain boolean;
    _owner text;
    _is_same boolean;
    _is_fresh boolean;
BEGIN
    IF _wait IS NOT NULL THEN
        PERFORM set_config('lock_timeout', _wait::text, true), pg_advisory_xact_lock_shared(_key);
    END IF;
    _at := {schema}.now_1();
    SELECT r.recovered_at IS NULL
        AND (r.status <> 'running' OR left(coalesce(r.heartbeat_at, r.started_at), 19) = left(_at, 19)
            OR _run_id = ANY (nullif(current_setting('state_store.written', true), '')::text[]))
    INTO _is_plain FROM {schema}.runs r WHERE r.run_id = _run_id AND r.pruned_at IS NULL FOR KEY SHARE;
    SELECT i.run_id, coalesce(i.updated_at, i.created_at) BETWEEN {schema}.ago_1(60) AND _at,
        (i.title, i.summary, i.claims_json, i.evidence_json, i.scores_json, i.risk_flags_json, i.explainability_json,
            i.decision, i.decision_reason)
        IS NOT DISTINCT FROM (_title, _summary, _claims_json, _evidence_json, _scores_json, _risk_flags_json,
            _explainability_json, _decision, _decision_reason)
    INTO _owner, _is_fresh, _is_same FROM {schema}.intel_items i WHERE i.item_id = _item_id;
    IF _is_plain IS NOT TRUE OR _owner <> _run_id OR _is_same AND NOT _is_fresh THEN
        PERFORM {schema}.put_items_3(NULL, 1, ARRAY[_run_id], NULL, NULL, ARRAY[0], ARRAY[_item_id], ARRAY[_run_id],
            ARRAY[_item_type], ARRAY[_title], ARRAY[_summary], ARRAY[_claims_json], ARRAY[_evidence_json],
            ARRAY[_scores_json], ARRAY[_risk_flags_json], ARRAY[_explainability_json], ARRAY[_decision],
            ARRAY[_decision_reason]);
    ELSIF _is_same IS NOT TRUE THEN
        INSERT INTO {schema}.intel_items (
            seq, item_id, run_id, item_type, title, summary, claims_json, evidence_json, scores_json, risk_flags_json,
            explainability_json, decision, decision_reason, created_at)
        VALUES (DEFAULT, _item_id, _run_id, _item_type, _title, _summary, _claims_json, _evidence_json, _scores_json,
            _risk_flags_json, _explainability_json, _decision, _decision_reason, _at)
        ON CONFLICT (item_id) DO UPDATE SET
            title = excluded.title, summary = excluded.summary, claims_json = excluded.claims_json,
            evidence_json = excluded.evidence_json, scores_json = excluded.scores_json,
            risk_flags_json = excluded.risk_flags_json, explainability_json = excluded.explainability_json,
            decision = excluded.decision, decision_reason = excluded.decision_reason, updated_at = excluded.created_at;
    END IF;
END
$$;

-- Set decisions: of all these items, or of none; the first that is not there.
CREATE FUNCTION {schema}.decide_1(
    _wait integer, _item_id text[], _decision text[], _reason text[], OUT missing text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.enter_1(_wait);
    PERFORM 1 FROM {schema}.intel_items i WHERE i.item_id = ANY (_item_id) ORDER BY i.item_id FOR NO KEY UPDATE;
    SELECT n.item_id INTO missing FROM unnest(_item_id) WITH ORDINALITY AS n(item_id, place)
    WHERE NOT EXISTS (
        SELECT FROM {schema}.intel_items i WHERE i.item_id = n.item_id AND NOT EXISTS (
            SELECT FROM {schema}.runs r WHERE r.run_id = i.run_id AND r.pruned_at IS NOT NULL))
    ORDER BY n.place LIMIT 1;
    IF NOT FOUND THEN
        UPDATE {schema}.intel_items i SET decision = n.decision, decision_reason = n.reason
        FROM unnest(_item_id, _decision, _reason) AS n(item_id, decision, reason) WHERE i.item_id = n.item_id;
    END IF;
END
$$;

CREATE FUNCTION {schema}.delete_item_1(
    _wait integer, _item_id text, _force boolean,
    OUT existed boolean, OUT run_id text, OUT fault text, OUT status text, OUT recovered_at text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.enter_1(_wait);
    SELECT i.run_id INTO run_id FROM {schema}.intel_items i WHERE i.item_id = _item_id;
    PERFORM 1 FROM {schema}.runs r WHERE r.run_id = delete_item_1.run_id FOR KEY SHARE;
    existed := EXISTS (SELECT FROM {schema}.intel_items i WHERE i.item_id = _item_id AND NOT EXISTS (
        SELECT FROM {schema}.runs r WHERE r.run_id = i.run_id AND r.pruned_at IS NOT NULL));
    IF NOT existed THEN
        RETURN;
    END IF;
    SELECT w.fault, w.status, w.recovered_at INTO fault, status, recovered_at
    FROM {schema}.why_over_1(delete_item_1.run_id) w WHERE w.fault = 'recovered' AND NOT _force;
    IF fault IS NULL THEN
        DELETE FROM {schema}.intel_items i WHERE i.item_id = _item_id;
        existed := FOUND;
        DELETE FROM {schema}.item_seen s WHERE s.run_id = delete_item_1.run_id AND s.item_id = _item_id;
    END IF;
END
$$;

CREATE FUNCTION {schema}.set_telemetry_1(_run_id text, _document text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO {schema}.telemetry (run_id, telemetry_json, created_at) VALUES (_run_id, _document, {schema}.now_1())
    ON CONFLICT (run_id) DO UPDATE SET telemetry_json = excluded.telemetry_json, created_at = excluded.created_at
$$;

CREATE FUNCTION {schema}.write_telemetry_1(
    _wait integer, _run_id text, _document text, _force boolean, OUT fault text, OUT status text, OUT recovered_at text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.enter_1(_wait);
    SELECT w.fault, w.status, w.recovered_at INTO fault, status, recovered_at
    FROM {schema}.require_1(ARRAY[_run_id], _force, {schema}.now_1()) w;
    IF fault IS NULL THEN
        PERFORM {schema}.set_telemetry_1(_run_id, _document);
    END IF;
END
$$;

-- The document that is to be merged with another; nobody else changes it meanwhile. Where there is none, it is an empty
-- one: a row that is not there cannot be locked.
CREATE FUNCTION {schema}.take_telemetry_1(
    _wait integer, _run_id text, _force boolean,
    OUT document text, OUT fault text, OUT status text, OUT recovered_at text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.enter_1(_wait);
    SELECT w.fault, w.status, w.recovered_at INTO fault, status, recovered_at
    FROM {schema}.require_1(ARRAY[_run_id], _force, {schema}.now_1()) w;
    IF fault IS NULL THEN
        INSERT INTO {schema}.telemetry (run_id, telemetry_json, created_at) VALUES (_run_id, '{}', {schema}.now_1())
        ON CONFLICT (run_id) DO NOTHING;
        SELECT t.telemetry_json INTO document FROM {schema}.telemetry t WHERE t.run_id = _run_id FOR UPDATE;
    END IF;
END
$$;

CREATE FUNCTION {schema}.delete_run_1(
    _wait integer, _run_id text, _force boolean,
    OUT fault text, OUT runs bigint, OUT intel_items bigint, OUT telemetry bigint
) LANGUAGE plpgsql AS $$
DECLARE
    _status text;
BEGIN
    PERFORM {schema}.enter_1(_wait);
    SELECT r.status INTO _status FROM {schema}.runs r WHERE r.run_id = _run_id AND r.pruned_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        fault := 'missing';
    ELSIF _status = 'running' AND NOT _force THEN
        fault := 'running';
    ELSE
        SELECT d.runs, d.intel_items, d.telemetry INTO runs, intel_items, telemetry
        FROM {schema}.delete_all_1(_run_id) d;
    END IF;
END
$$;

-- Delete some items of a run that is being pruned, or the rest of it. NULL where none is left to this call.
CREATE FUNCTION {schema}.sweep_1(
    _wait integer, _most integer, OUT runs bigint, OUT intel_items bigint, OUT telemetry bigint
) LANGUAGE plpgsql AS $$
DECLARE
    _run_id text;
    _items text[];
BEGIN
    PERFORM {schema}.enter_1(_wait);
    SELECT r.run_id INTO _run_id FROM {schema}.runs r WHERE r.pruned_at IS NOT NULL
    ORDER BY r.pruned_at, r.seq LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    runs := 0;
    telemetry := 0;
    _items := ARRAY(SELECT i.item_id FROM {schema}.intel_items i WHERE i.run_id = _run_id ORDER BY i.seq LIMIT _most);
    PERFORM 1 FROM {schema}.intel_items i WHERE i.item_id = ANY (_items) ORDER BY i.item_id FOR UPDATE;
    DELETE FROM {schema}.intel_items i WHERE i.item_id = ANY (_items);
    GET DIAGNOSTICS intel_items = ROW_COUNT;
    IF cardinality(_items) < _most THEN
        DELETE FROM {schema}.item_seen s WHERE s.run_id = _run_id;
        DELETE FROM {schema}.telemetry t WHERE t.run_id = _run_id;
        GET DIAGNOSTICS telemetry = ROW_COUNT;
        DELETE FROM {schema}.runs r WHERE r.run_id = _run_id;
        GET DIAGNOSTICS runs = ROW_COUNT;
    END IF;
END
$$;
