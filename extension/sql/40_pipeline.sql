-- Pipelines and failed sagas: all that the sidecar reads and writes besides the outbox itself.
--
-- The functions run as their owner, so the sidecar's role needs no right on the tables. Each names the epoch it believes
-- in and raises AX001 when that epoch no longer leads.

CREATE FUNCTION apex.next_xid() RETURNS xid8
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_next_xid';
COMMENT ON FUNCTION apex.next_xid() IS 'The next transaction id that nobody has been given yet.';

-- Updated in place a few times a batch, hence the free space in its page.
CREATE TABLE apex.pipeline (
  name text PRIMARY KEY,
  epoch bigint NOT NULL DEFAULT 0,
  leader text,
  leader_pid int,
  leader_started timestamptz,
  heartbeat timestamptz NOT NULL DEFAULT '-infinity',
  system_identifier bigint NOT NULL,
  timeline int NOT NULL,
  from_snapshot pg_snapshot NOT NULL,
  from_ceiling xid8 NOT NULL,
  position bigint NOT NULL,
  to_snapshot pg_snapshot,
  to_ceiling xid8,
  to_position bigint,
  settled bigint NOT NULL DEFAULT 0,
  handed_out bigint NOT NULL DEFAULT 0,
  unverified_since timestamptz,
  CONSTRAINT batch_is_whole CHECK (num_nulls(to_snapshot, to_ceiling, to_position) IN (0, 3))
) WITH (fillfactor = 10);
COMMENT ON TABLE apex.pipeline IS 'One row a pipeline: who leads it and how far it has read the outbox';
COMMENT ON COLUMN apex.pipeline.leader_started IS 'Start of the leader''s session, which tells it from a later one with the same process id';
COMMENT ON COLUMN apex.pipeline.from_snapshot IS 'Everything this snapshot sees has been delivered';
COMMENT ON COLUMN apex.pipeline.from_ceiling IS 'The next unassigned transaction id, read after from_snapshot and position';
COMMENT ON COLUMN apex.pipeline.position IS 'The outbox sequence between from_snapshot and from_ceiling: no delivered event is above it, no event of a transaction from from_ceiling on is at or below it';
COMMENT ON COLUMN apex.pipeline.to_snapshot IS 'What this snapshot sees and from_snapshot does not is the open batch; NULL: none is open';
COMMENT ON COLUMN apex.pipeline.settled IS 'Everything of the open batch up to this seq is settled';
COMMENT ON COLUMN apex.pipeline.handed_out IS 'End of the last piece of the open batch that was handed out for writing';
COMMENT ON COLUMN apex.pipeline.unverified_since IS 'When a leader found itself in another history; NULL: every row has been compared with every store since, and nothing differed';

CREATE TABLE apex.saga (
  id uuid PRIMARY KEY,
  pipeline text NOT NULL,
  state text NOT NULL DEFAULT 'compensating' CHECK (state IN ('compensating', 'parked', 'compensation_failed')),
  relation regclass NOT NULL,
  key jsonb NOT NULL,
  xids xid8[] NOT NULL,
  steps text[] NOT NULL,
  failed_step text NOT NULL,
  error_type text NOT NULL,
  native_code text NOT NULL,
  error text NOT NULL,
  traceparent text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  settled_at timestamptz,
  resolution text CHECK (resolution IN ('reverted', 'called')),
  resolution_error text
);
COMMENT ON TABLE apex.saga IS 'Sagas that failed for good: being compensated, parked, or with a compensation that failed';
COMMENT ON COLUMN apex.saga.steps IS 'The steps to undo, in the order they ran';
COMMENT ON COLUMN apex.saga.resolution IS 'What on_failure has done in PostgreSQL besides parking; NULL: nothing';
COMMENT ON COLUMN apex.saga.resolution_error IS 'Why it could not do what it was to do';

-- A row is parked in one saga at a time: the newest that failed.
CREATE TABLE apex.saga_row (
  saga uuid NOT NULL REFERENCES apex.saga ON DELETE CASCADE,
  relation regclass NOT NULL,
  key jsonb NOT NULL,
  mapping int NOT NULL,
  failed_seq bigint NOT NULL,
  accepted_seq bigint NOT NULL,
  accepted jsonb,
  accepted_embedding bytea,
  PRIMARY KEY (relation, key)
);
CREATE INDEX ON apex.saga_row (saga);
COMMENT ON TABLE apex.saga_row IS 'Rows of failed sagas with the image the stores had accepted before; NULL: the row was not there';

CREATE TABLE apex.saga_event (
  saga uuid NOT NULL REFERENCES apex.saga ON DELETE CASCADE,
  LIKE apex.event,
  PRIMARY KEY (seq)
);
CREATE INDEX ON apex.saga_event (saga);
COMMENT ON TABLE apex.saga_event IS 'Copies of the events of failed sagas; images are erased once the saga is parked';

-- A pipeline's row goes into a dump for its epoch, which the stores' fences remember, and its position, which their
-- versions do not exceed by much. The cursor itself means nothing elsewhere: start_cursor replaces it.
SELECT pg_catalog.pg_extension_config_dump('apex.pipeline', '');
-- A table that was dropped would come back as a number that may be some other table's.
SELECT pg_catalog.pg_extension_config_dump('apex.saga', 'WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class)');
SELECT pg_catalog.pg_extension_config_dump('apex.saga_row', $$WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class)
  AND saga IN (SELECT id FROM apex.saga WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class))$$);
SELECT pg_catalog.pg_extension_config_dump('apex.saga_event',
  'WHERE saga IN (SELECT id FROM apex.saga WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class))');

-- ---- The cursor ----

CREATE FUNCTION apex.current_history(OUT system_identifier bigint, OUT timeline int)
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  -- The control file learns a new timeline only at its next checkpoint, the name of the WAL file at once. A standby writes
  -- no WAL, and nobody leads there.
  SELECT s.system_identifier,
         CASE WHEN NOT pg_is_in_recovery() THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END
    FROM pg_control_system() s;
END;
COMMENT ON FUNCTION apex.current_history() IS 'Which cluster this is and which timeline it writes';

CREATE FUNCTION apex.start_cursor() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  own xid8 := pg_current_xact_id();
  seen pg_snapshot := pg_current_snapshot();
  running xid8[];
BEGIN
  -- A transaction sees itself, but what it writes after this has still to be delivered once it commits.
  SELECT array_agg(xid ORDER BY xid) INTO running
    FROM (SELECT pg_snapshot_xip(seen) AS xid UNION SELECT own WHERE own < pg_snapshot_xmax(seen)) every;
  NEW.from_snapshot := format('%s:%s:%s', least(pg_snapshot_xmin(seen), own), pg_snapshot_xmax(seen),
                              array_to_string(running, ','));
  -- Only a dump brings a history along. The sequence of this database does not continue that one, so the row is marked
  -- as of none, and its position stays for the next leader to jump over.
  IF NEW.system_identifier IS NULL THEN
    SELECT h.system_identifier, h.timeline INTO NEW.system_identifier, NEW.timeline FROM apex.current_history() h;
    NEW.position := coalesce(pg_sequence_last_value('apex.outbox_seq'), 0);
  ELSE
    NEW.system_identifier := 0;
    NEW.position := greatest(NEW.position, NEW.to_position);
  END IF;
  NEW.to_snapshot := NULL;
  NEW.to_ceiling := NULL;
  NEW.to_position := NULL;
  NEW.settled := 0;
  NEW.handed_out := 0;
  NEW.from_ceiling := apex.next_xid();
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION apex.start_cursor() IS 'Gives a new pipeline a cursor before which everything committed so far lies, and nothing else';

CREATE TRIGGER start_cursor BEFORE INSERT ON apex.pipeline
  FOR EACH ROW EXECUTE FUNCTION apex.start_cursor();
ALTER TABLE apex.pipeline ENABLE ALWAYS TRIGGER start_cursor;

-- ---- Leadership ----

-- A transaction that stays open anywhere keeps every version that this row has had since. The newest one stands last in the
-- index, so walking it backwards finds it at once, where a plain lookup would pass by all the dead ones.
CREATE FUNCTION apex.current_pipeline(pipeline text, epoch bigint) RETURNS apex.pipeline
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
  p apex.pipeline;
BEGIN
  SELECT * INTO p FROM apex.pipeline l WHERE l.name >= pipeline AND l.name <= pipeline ORDER BY l.name DESC LIMIT 1;
  IF p.epoch IS DISTINCT FROM epoch THEN
    RAISE EXCEPTION 'apex: this epoch no longer leads' USING ERRCODE = 'AX001';
  END IF;
  RETURN p;
END
$$;
COMMENT ON FUNCTION apex.current_pipeline(text, bigint) IS 'The row of a pipeline. Error AX001 when the epoch no longer leads.';

CREATE FUNCTION apex.lock_pipeline(pipeline text, epoch bigint) RETURNS tid
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
  p record;
BEGIN
  SELECT l.ctid AS place, l.epoch INTO p FROM apex.pipeline l
    WHERE l.name >= pipeline AND l.name <= pipeline ORDER BY l.name DESC LIMIT 1 FOR NO KEY UPDATE;
  IF p.epoch IS DISTINCT FROM epoch THEN
    RAISE EXCEPTION 'apex: this epoch no longer leads' USING ERRCODE = 'AX001';
  END IF;
  RETURN p.place;
END
$$;
COMMENT ON FUNCTION apex.lock_pipeline(text, bigint) IS
  'Locks the row of a pipeline and says where it is: valid as long as the lock is held. Error AX001 when the epoch no longer leads.';

CREATE FUNCTION apex.lead(pipeline text, leader text, lease_ms int,
                          OUT epoch bigint, OUT another_history boolean, OUT settled bigint, OUT handed_out bigint,
                          OUT system_identifier bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Above anything that the lost or the other history can have given out since.
  seq_jump CONSTANT bigint := 1::bigint << 40;
  epoch_jump CONSTANT bigint := 1000000;
  p apex.pipeline;
  history record;
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  INSERT INTO apex.pipeline (name) SELECT lead.pipeline
    WHERE NOT EXISTS (SELECT FROM apex.pipeline l WHERE l.name = lead.pipeline) ON CONFLICT DO NOTHING;
  SELECT * INTO p FROM apex.pipeline l WHERE l.name = lead.pipeline;
  IF p.leader <> lead.leader AND p.heartbeat > clock_timestamp() - lease_ms * interval '1 ms' THEN
    RETURN;
  END IF;

  -- Before the row is locked: the late leader may hold that lock.
  PERFORM pg_terminate_backend(a.pid) FROM pg_stat_activity a
    WHERE a.pid = p.leader_pid AND a.backend_start = p.leader_started AND a.pid <> pg_backend_pid();
  SELECT * INTO p FROM apex.pipeline l WHERE l.name = lead.pipeline AND l.epoch = p.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;  -- Somebody else was faster.
  END IF;

  SELECT * INTO history FROM apex.current_history();
  another_history := (p.system_identifier, p.timeline) IS DISTINCT FROM (history.system_identifier, history.timeline);
  IF another_history THEN
    PERFORM setval('apex.outbox_seq',
                   greatest(pg_sequence_last_value('apex.outbox_seq'), p.position, p.to_position) + seq_jump);
    p.epoch := p.epoch + epoch_jump;
  END IF;
  IF p.system_identifier <> history.system_identifier THEN
    -- The snapshots speak of another cluster's transactions: begin before everything that the outbox still holds. On
    -- another timeline of the same cluster they travelled in the same WAL as the outbox and stay true.
    p.from_snapshot := '1:1:';
    p.from_ceiling := '1';
    p.position := 0;
    p.to_snapshot := NULL;
    p.to_ceiling := NULL;
    p.to_position := NULL;
    p.settled := 0;
    p.handed_out := 0;
  END IF;

  epoch := p.epoch + 1;
  system_identifier := history.system_identifier;
  settled := p.settled;
  handed_out := CASE WHEN p.to_snapshot IS NOT NULL THEN p.handed_out END;
  UPDATE apex.pipeline l
     SET epoch = lead.epoch, leader = lead.leader, leader_pid = pg_backend_pid(), heartbeat = clock_timestamp(),
         leader_started = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
         system_identifier = history.system_identifier, timeline = history.timeline,
         from_snapshot = p.from_snapshot, from_ceiling = p.from_ceiling, position = p.position,
         to_snapshot = p.to_snapshot, to_ceiling = p.to_ceiling, to_position = p.to_position,
         settled = p.settled, handed_out = p.handed_out,
         unverified_since = CASE WHEN another_history THEN clock_timestamp() ELSE l.unverified_since END
   WHERE l.name = p.name;
  IF another_history THEN
    -- What the stores hold is of the other history: everything is sent anew.
    PERFORM apex.start_backfill(m.relation, NULL) FROM apex.mapping m
      WHERE m.pipeline = p.name AND m.active AND EXISTS (SELECT FROM pg_class c WHERE c.oid = m.relation);
  END IF;
END
$$;
COMMENT ON FUNCTION apex.lead(text, text, int) IS
  'Takes the lead of a pipeline and ends the old leader''s session. All NULL while the heartbeat of a leader of another name is younger than the lease. (settled, handed_out] is the window that the last leader may have written; handed_out NULL: no batch is open.';

CREATE FUNCTION apex.heartbeat(pipeline text, epoch bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  place tid;
BEGIN
  -- Losing one in a crash only makes the leader look late.
  PERFORM set_config('synchronous_commit', 'off', true);
  place := apex.lock_pipeline(pipeline, epoch);
  UPDATE apex.pipeline l SET heartbeat = clock_timestamp() WHERE l.ctid = place;
  RETURN true;
EXCEPTION WHEN SQLSTATE 'AX001' THEN
  RETURN false;
END
$$;
COMMENT ON FUNCTION apex.heartbeat(text, bigint) IS 'A sign of life of the leader; false when the epoch no longer leads';

CREATE FUNCTION apex.resign(pipeline text, epoch bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE apex.pipeline l SET heartbeat = '-infinity' WHERE l.name = resign.pipeline AND l.epoch = resign.epoch;
END;
COMMENT ON FUNCTION apex.resign(text, bigint) IS 'Ends a leader''s lease early, so that a standby need not wait for it';

-- ---- Reading ----

CREATE FUNCTION apex.batch_events(batch apex.pipeline, after_seq bigint, upto_seq bigint, rows_max int, xids xid8[] DEFAULT NULL,
                                  images boolean DEFAULT true)
  RETURNS SETOF apex.event
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  -- The outbox has no statistics. Only walks of its indexes in seq order serve, whatever the planner would guess.
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
  SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  own int[] := ARRAY(SELECT m.id FROM apex.mapping m WHERE m.pipeline = batch.name);
  stragglers xid8[] := ARRAY(
    SELECT xid FROM pg_snapshot_xip(batch.from_snapshot) xid WHERE pg_visible_in_snapshot(xid, batch.to_snapshot)
    UNION ALL
    SELECT x::text::xid8 FROM generate_series(pg_snapshot_xmax(batch.from_snapshot)::text::bigint,
                                              batch.from_ceiling::text::bigint - 1) x
     WHERE pg_visible_in_snapshot(x::text::xid8, batch.to_snapshot));
  new_after CONSTANT bigint := greatest(after_seq, batch.position);
BEGIN
  upto_seq := least(upto_seq, batch.to_position);
  RETURN QUERY
    SELECT every.* FROM (
      -- A block has its last event's seq: one that ends up to 63 later may begin in the range. Blocks come in seq order and
      -- do not overlap, so that the limit stops at the right event. A call of xid8ge, not its operator, so that the index
      -- on xid is no candidate. An event of a row that is parked at a version not lower is part of that failure.
      (SELECT e.* FROM apex.outbox_blocks b CROSS JOIN LATERAL apex.unpack(b.tableoid, b.ctid, images) e
        WHERE b.seq > new_after AND b.seq < upto_seq + 64
          AND xid8ge(b.xid, batch.from_ceiling) AND pg_visible_in_snapshot(b.xid, batch.to_snapshot)
          AND b.mappings && own AND (xids IS NULL OR b.xid = ANY (xids))
          AND e.seq > new_after AND e.seq <= upto_seq AND e.mapping = ANY (own)
          AND ((SELECT NOT EXISTS (SELECT FROM apex.saga_row)) OR e.seq > coalesce((SELECT r.failed_seq FROM apex.saga_row r
                                                 WHERE r.relation = e.relation AND r.key = e.key), 0))
        ORDER BY b.seq LIMIT rows_max)
      UNION ALL
      (SELECT late.* FROM unnest(stragglers) straggler(xid)
        CROSS JOIN LATERAL (
          SELECT e.* FROM apex.outbox_blocks b CROSS JOIN LATERAL apex.unpack(b.tableoid, b.ctid, images) e
           WHERE b.xid = straggler.xid AND b.seq > after_seq AND b.seq < upto_seq + 64
             AND b.mappings && own AND (xids IS NULL OR b.xid = ANY (xids))
             AND e.seq > after_seq AND e.seq <= upto_seq AND e.mapping = ANY (own)
             AND ((SELECT NOT EXISTS (SELECT FROM apex.saga_row)) OR e.seq > coalesce((SELECT r.failed_seq FROM apex.saga_row r
                                                    WHERE r.relation = e.relation AND r.key = e.key), 0))
           ORDER BY b.seq LIMIT rows_max) late)
    ) every ORDER BY every.seq LIMIT rows_max;
END
$$;
COMMENT ON FUNCTION apex.batch_events(apex.pipeline, bigint, bigint, int, xid8[], boolean) IS
  'Events of an open batch with after_seq < seq <= upto_seq, of all transactions or some, in seq order: what to_snapshot sees and from_snapshot did not';

-- What a reader gets: events, and with each of them how far its piece reaches.
CREATE TYPE apex.piece_event AS (
  seq bigint,
  xid xid8,
  command int,
  relation oid,
  mapping int,
  op "char",
  key jsonb,
  aggregate_relation oid,
  aggregate_key jsonb,
  before jsonb,
  after jsonb,
  embedding bytea,
  old_embedding bytea,
  error text,
  traceparent text,
  captured_at timestamptz,
  through_seq bigint,
  batch_end boolean
);
COMMENT ON TYPE apex.piece_event IS 'An apex.event as part of a piece of a batch';
COMMENT ON COLUMN apex.piece_event.through_seq IS 'Where the piece ends; an event beyond it is handed out ahead of its turn, with its saga';
COMMENT ON COLUMN apex.piece_event.batch_end IS 'Whether the batch has no event beyond the piece';

CREATE FUNCTION apex.piece_events(batch apex.pipeline, after_seq bigint, upto_seq bigint, rows_max int, bytes_max bigint)
  RETURNS SETOF apex.piece_event
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET jit = off SET work_mem = '32MB'
AS $$
DECLARE
  -- How far beyond a piece the rest of its sagas is looked for. The handed-out window depends on it: see the contract.
  lookahead CONSTANT bigint := 8192;
BEGIN
  RETURN QUERY
    WITH piece AS MATERIALIZED (
      -- The function hands its events out in seq order.
      SELECT * FROM (
        SELECT e.*, own.bytes AS own_bytes, sum(own.bytes) OVER (ROWS UNBOUNDED PRECEDING) AS bytes
          FROM apex.batch_events(piece_events.batch, piece_events.after_seq, piece_events.upto_seq,
                                 CASE WHEN piece_events.upto_seq IS NULL THEN piece_events.rows_max END) e
         CROSS JOIN LATERAL (SELECT coalesce(pg_column_size(e.before), 0) + coalesce(pg_column_size(e.after), 0)
                               + coalesce(pg_column_size(e.embedding), 0) + coalesce(pg_column_size(e.old_embedding), 0)) own(bytes)) c
       WHERE piece_events.upto_seq IS NOT NULL OR coalesce(c.bytes - c.own_bytes < piece_events.bytes_max, true)
    ), finish AS MATERIALIZED (
      SELECT max(seq) AS seq, piece_events.upto_seq IS NOT NULL OR count(*) = piece_events.rows_max
                              OR coalesce(max(bytes) >= piece_events.bytes_max, false) AS full_piece FROM piece
    ), found AS MATERIALIZED (
      -- By their keys: seldom does a saga reach beyond its piece, and images are what an event costs.
      SELECT ahead.seq FROM finish f
        CROSS JOIN LATERAL apex.batch_events(piece_events.batch, f.seq, f.seq + lookahead, CASE WHEN NOT f.full_piece THEN 0 END,
                                             ARRAY(SELECT DISTINCT s.xid FROM piece s), images => false) ahead
       WHERE (ahead.xid, coalesce(ahead.aggregate_relation, ahead.relation), coalesce(ahead.aggregate_key, ahead.key))
          IN (SELECT s.xid, coalesce(s.aggregate_relation, s.relation), coalesce(s.aggregate_key, s.key) FROM piece s)
    ), rest AS (
      SELECT ahead.*, sum(coalesce(pg_column_size(ahead.before), 0) + coalesce(pg_column_size(ahead.after), 0)
                          + coalesce(pg_column_size(ahead.embedding), 0) + coalesce(pg_column_size(ahead.old_embedding), 0))
                        OVER (ORDER BY ahead.seq ROWS UNBOUNDED PRECEDING) AS bytes
        FROM (SELECT min(seq) - 1 AS after, max(seq) AS upto, count(*) AS events FROM found) f
        CROSS JOIN LATERAL apex.batch_events(piece_events.batch, f.after, f.upto, CASE WHEN f.events = 0 THEN 0 END,
                                             ARRAY(SELECT DISTINCT s.xid FROM piece s)) ahead
       WHERE ahead.seq IN (SELECT seq FROM found)
    )
    -- The rest lies behind the piece: appended, all is in seq order without being sorted.
    SELECT e.seq, e.xid, e.command, e.relation, e.mapping, e.op, e.key, e.aggregate_relation, e.aggregate_key, e.before, e.after,
           e.embedding, e.old_embedding, e.error, e.traceparent, e.captured_at, (SELECT seq FROM finish), (SELECT NOT full_piece FROM finish)
      FROM piece e
    UNION ALL
    (SELECT e.seq, e.xid, e.command, e.relation, e.mapping, e.op, e.key, e.aggregate_relation, e.aggregate_key, e.before, e.after,
            e.embedding, e.old_embedding, e.error, e.traceparent, e.captured_at, (SELECT seq FROM finish), (SELECT NOT full_piece FROM finish)
       FROM rest e WHERE piece_events.upto_seq IS NOT NULL OR coalesce(e.bytes <= piece_events.bytes_max, true)
      ORDER BY e.seq);
END
$$;
COMMENT ON FUNCTION apex.piece_events(apex.pipeline, bigint, bigint, int, bigint) IS
  'A piece of a batch: rows_max events after a seq, fewer when their images have more than bytes_max (the one that passes it is the last), and behind them the rest of their sagas within the look-ahead and the same bytes. With upto_seq: everything up to that seq instead';

CREATE FUNCTION apex.read_piece(pipeline text, epoch bigint, after_seq bigint, rows_max int, upto_seq bigint DEFAULT NULL,
                                bytes_max bigint DEFAULT NULL)
  RETURNS SETOF apex.piece_event
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET jit = off SET work_mem = '32MB'
AS $$
DECLARE
  -- An idle cursor that lets this many versions of other pipelines pass, 1024 blocks, moves, so that it neither rereads nor
  -- keeps them.
  idle_max CONSTANT bigint := 65536;
  p apex.pipeline;
  opening boolean;
  place tid;
BEGIN
  p := apex.current_pipeline(pipeline, epoch);
  opening := p.to_snapshot IS NULL;
  IF opening THEN
    p := apex.batch_until_now(p);
  END IF;

  -- What is not needed is not written, and a lock is a write.
  PERFORM FROM apex.batch_events(p, after_seq, upto_seq, 1);
  IF NOT FOUND THEN
    IF opening AND p.to_position > p.position + idle_max THEN
      place := apex.lock_pipeline(pipeline, epoch);
      UPDATE apex.pipeline l
         SET from_snapshot = p.to_snapshot, from_ceiling = p.to_ceiling, position = p.to_position
       WHERE l.ctid = place;
    END IF;
    RETURN;
  END IF;
  place := apex.lock_pipeline(pipeline, epoch);

  -- Durable before anything is written elsewhere; the flush also covers every commit that the snapshot sees.
  PERFORM set_config('synchronous_commit', 'on', true);
  RETURN QUERY
    WITH piece AS MATERIALIZED (
      SELECT * FROM apex.piece_events(p, read_piece.after_seq, read_piece.upto_seq, read_piece.rows_max, read_piece.bytes_max)
    ), recorded AS (
      UPDATE apex.pipeline l
         SET to_snapshot = p.to_snapshot, to_position = p.to_position, to_ceiling = p.to_ceiling,
             handed_out = greatest(l.handed_out, f.seq)
        FROM (SELECT max(through_seq) AS seq FROM piece) f WHERE l.ctid = place
    )
    SELECT * FROM piece;
END
$$;
COMMENT ON FUNCTION apex.read_piece(text, bigint, bigint, int, bigint, bigint) IS
  'The next piece of the open batch after a seq, as apex.piece_events cuts it; opens a batch when none is open and something is pending. Records what it hands out; writes nothing when it returns nothing.';

-- ---- The batch behind the open one ----
--
-- While the last rows of a batch are written the first ones of the next can be read already. Nothing is recorded then, so
-- nothing of it may be written; once the open batch is settled it is closed and the next one opened in one transaction.

CREATE FUNCTION apex.batch_until_now(batch apex.pipeline) RETURNS apex.pipeline
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- In this order. What the snapshot sees drew its seq before the position is read, and what gets an xid after the
  -- ceiling is read draws its seq after.
  batch.to_snapshot := pg_current_snapshot();
  batch.to_position := coalesce(pg_sequence_last_value('apex.outbox_seq'), 0);
  batch.to_ceiling := apex.next_xid();
  RETURN batch;
END
$$;
COMMENT ON FUNCTION apex.batch_until_now(apex.pipeline) IS 'The batch that begins where the cursor stands and ends with what is committed now';

CREATE FUNCTION apex.batch_behind(batch apex.pipeline) RETURNS apex.pipeline
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  batch.from_snapshot := batch.to_snapshot;
  batch.from_ceiling := batch.to_ceiling;
  batch.position := batch.to_position;
  RETURN batch;
END
$$;
COMMENT ON FUNCTION apex.batch_behind(apex.pipeline) IS 'The pipeline as it is once its open batch is closed; where the next one ends is still to be said';

CREATE FUNCTION apex.next_batch(pipeline text, epoch bigint, rows_min int,
                                OUT to_snapshot pg_snapshot, OUT to_ceiling xid8, OUT to_position bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
DECLARE
  p apex.pipeline := apex.current_pipeline(pipeline, epoch);
BEGIN
  IF p.to_snapshot IS NULL THEN
    RETURN;
  END IF;
  p := apex.batch_until_now(apex.batch_behind(p));
  -- By the counts of the blocks, whatever pipeline their events are of: they are not opened for this.
  IF rows_min <= (SELECT sum(b.events) FROM (
       SELECT o.events FROM apex.outbox_blocks o
        WHERE o.seq > p.position AND o.seq <= p.to_position AND pg_visible_in_snapshot(o.xid, p.to_snapshot)
        ORDER BY o.seq LIMIT rows_min) b) THEN
    to_snapshot := p.to_snapshot;
    to_ceiling := p.to_ceiling;
    to_position := p.to_position;
  END IF;
END
$$;
COMMENT ON FUNCTION apex.next_batch(text, bigint, int) IS
  'Where a batch behind the open one would end now. All NULL when no batch is open or fewer than about rows_min events wait behind it. Writes nothing.';

CREATE FUNCTION apex.read_ahead(pipeline text, epoch bigint, to_snapshot pg_snapshot, to_ceiling xid8, to_position bigint,
                                rows_max int, bytes_max bigint)
  RETURNS SETOF apex.piece_event
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p apex.pipeline := apex.batch_behind(apex.current_pipeline(pipeline, epoch));
BEGIN
  p.to_snapshot := read_ahead.to_snapshot;
  p.to_ceiling := read_ahead.to_ceiling;
  p.to_position := read_ahead.to_position;
  RETURN QUERY SELECT * FROM apex.piece_events(p, 0, NULL, rows_max, bytes_max);
END
$$;
COMMENT ON FUNCTION apex.read_ahead(text, bigint, pg_snapshot, xid8, bigint, int, bigint) IS
  'The first piece of the batch behind the open one, which apex.next_batch has named. Records nothing: none of it may be written before apex.open_batch.';

CREATE FUNCTION apex.open_batch(pipeline text, epoch bigint, to_snapshot pg_snapshot, to_ceiling xid8, to_position bigint,
                                handed_out bigint) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  place tid;
BEGIN
  -- Durable, as in read_piece.
  PERFORM set_config('synchronous_commit', 'on', true);
  place := apex.lock_pipeline(pipeline, epoch);
  UPDATE apex.pipeline l
     SET to_snapshot = open_batch.to_snapshot, to_ceiling = open_batch.to_ceiling, to_position = open_batch.to_position,
         handed_out = open_batch.handed_out
   WHERE l.ctid = place AND l.to_snapshot IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'apex: a batch is open' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
END
$$;
COMMENT ON FUNCTION apex.open_batch(text, bigint, pg_snapshot, xid8, bigint, bigint) IS
  'Opens the batch that apex.next_batch has named, of which apex.read_ahead has handed out everything up to handed_out. In one transaction with the apex.checkpoint that closes the batch before it.';

-- ---- What is committed and not read yet ----
--
-- While a store is away no batch is closed, and what is committed meanwhile is not read. Its cache entries have to go all the
-- same: deleting them needs no place in the outbox, only a look at it.

CREATE FUNCTION apex.peek_bounds(pipeline text, epoch bigint,
                                 OUT from_snapshot pg_snapshot, OUT from_ceiling xid8, OUT from_position bigint,
                                 OUT to_snapshot pg_snapshot, OUT to_ceiling xid8, OUT to_position bigint,
                                 OUT now_snapshot pg_snapshot, OUT now_ceiling xid8, OUT now_position bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p apex.pipeline := apex.current_pipeline(pipeline, epoch);
BEGIN
  IF p.to_snapshot IS NULL OR NOT EXISTS (SELECT FROM apex.mapping m WHERE m.pipeline = p.name AND jsonb_typeof(m.spec -> 'cache') = 'object') THEN
    RETURN;
  END IF;
  from_snapshot := p.from_snapshot;
  from_ceiling := p.from_ceiling;
  from_position := p.position;
  to_snapshot := p.to_snapshot;
  to_ceiling := p.to_ceiling;
  to_position := p.to_position;
  p := apex.batch_until_now(p);
  now_snapshot := p.to_snapshot;
  now_ceiling := p.to_ceiling;
  now_position := p.to_position;
END
$$;
COMMENT ON FUNCTION apex.peek_bounds(text, bigint) IS
  'Where the open batch begins and ends, and where one that ended now would. All NULL when no batch is open or no table of the pipeline has a cache. Writes nothing.';

CREATE FUNCTION apex.peek(pipeline text, epoch bigint, from_snapshot pg_snapshot, from_ceiling xid8, from_position bigint,
                          to_snapshot pg_snapshot, to_ceiling xid8, to_position bigint, after_seq bigint, rows_max int, bytes_max bigint)
  RETURNS SETOF apex.piece_event
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p apex.pipeline := apex.current_pipeline(pipeline, epoch);
BEGIN
  p.from_snapshot := peek.from_snapshot;
  p.from_ceiling := peek.from_ceiling;
  p.position := peek.from_position;
  p.to_snapshot := peek.to_snapshot;
  p.to_ceiling := peek.to_ceiling;
  p.to_position := peek.to_position;
  RETURN QUERY SELECT * FROM apex.piece_events(p, after_seq, NULL, rows_max, bytes_max);
END
$$;
COMMENT ON FUNCTION apex.peek(text, bigint, pg_snapshot, xid8, bigint, pg_snapshot, xid8, bigint, bigint, int, bigint) IS
  'The events after a seq that the second of two places sees and the first one did not, as apex.piece_events cuts them. Records nothing: cache entries may be deleted for them, and nothing be written.';

CREATE FUNCTION apex.checkpoint(pipeline text, epoch bigint, settled bigint, superseded jsonb, close boolean) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p apex.pipeline;
  place tid;
BEGIN
  -- One that a crash loses is repeated after the replay. It is never older than the next batch, whose commit is flushed.
  PERFORM set_config('synchronous_commit', 'off', true);
  place := apex.lock_pipeline(pipeline, epoch);
  SELECT * INTO p FROM apex.pipeline WHERE ctid = place;
  IF close AND checkpoint.settled < p.handed_out THEN
    RAISE EXCEPTION 'apex: a batch that is settled up to % cannot be closed, % was handed out', checkpoint.settled, p.handed_out
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;

  IF close AND p.to_snapshot IS NOT NULL THEN
    UPDATE apex.pipeline l
       SET from_snapshot = l.to_snapshot, from_ceiling = l.to_ceiling, position = l.to_position,
           to_snapshot = NULL, to_ceiling = NULL, to_position = NULL, settled = 0, handed_out = 0
     WHERE l.ctid = place;
  ELSIF p.to_snapshot IS NOT NULL AND checkpoint.settled > p.settled THEN
    UPDATE apex.pipeline l SET settled = checkpoint.settled WHERE l.ctid = place;
  END IF;

  IF jsonb_array_length(superseded) > 0 THEN
    DELETE FROM apex.saga_row r USING jsonb_to_recordset(superseded) AS newer(relation oid, key jsonb, seq bigint)
     WHERE r.relation = newer.relation::regclass AND newer.key IN (r.key, '[]') AND r.failed_seq < newer.seq;
    PERFORM apex.delete_empty_sagas(p.name);
  END IF;
END
$$;
COMMENT ON FUNCTION apex.checkpoint(text, bigint, bigint, jsonb, boolean) IS
  'Everything of the open batch up to settled is settled; with close the whole batch is, and the cursor moves past it. superseded: parked rows, as {relation, key, seq}, that a later change has carried forward; with an empty key those of a whole table, which was truncated. Repeating it does nothing.';

-- ---- Failed sagas ----

CREATE FUNCTION apex.delete_empty_sagas(pipeline text) RETURNS void
  LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  DELETE FROM apex.saga s
   WHERE s.pipeline = delete_empty_sagas.pipeline AND NOT EXISTS (SELECT FROM apex.saga_row r WHERE r.saga = s.id);
END;
COMMENT ON FUNCTION apex.delete_empty_sagas(text) IS 'Deletes the sagas of which no row is left, with their events';

CREATE FUNCTION apex.undo_rows(saga uuid)
  RETURNS TABLE (relation oid, key jsonb, mapping int, failed_seq bigint, accepted_seq bigint, accepted jsonb,
                 accepted_embedding bytea, images text[])
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- The tables have no statistics; a nested loop would take the square of the rows of a large saga.
  SET enable_nestloop = off SET jit = off
BEGIN ATOMIC
  SELECT r.relation::oid, r.key, r.mapping, r.failed_seq, r.accepted_seq, r.accepted, r.accepted_embedding,
         coalesce(involved.images, '{}')
    FROM apex.saga_row r
    LEFT JOIN (SELECT e.relation, e.key, array_agg(DISTINCT image::text) AS images
                 FROM apex.saga_event e, unnest(ARRAY[e.before, e.after]) image
                WHERE e.saga = undo_rows.saga AND image IS NOT NULL
                GROUP BY e.relation, e.key) involved
      ON involved.relation = r.relation::oid AND involved.key = r.key
   WHERE r.saga = undo_rows.saga ORDER BY r.failed_seq;
END;
COMMENT ON FUNCTION apex.undo_rows(uuid) IS 'What a failed saga has to put back, with every image it involved';

CREATE FUNCTION apex.record_failure(pipeline text, epoch bigint, saga jsonb)
  RETURNS TABLE (relation oid, key jsonb, mapping int, failed_seq bigint, accepted_seq bigint, accepted jsonb,
                 accepted_embedding bytea, images text[])
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  saga_id CONSTANT uuid := saga ->> 'id';
  listed CONSTANT bigint[] := ARRAY(SELECT jsonb_array_elements_text(record_failure.saga -> 'events')::bigint);
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  PERFORM apex.lock_pipeline(record_failure.pipeline, record_failure.epoch);

  INSERT INTO apex.saga (id, pipeline, relation, key, xids, steps, failed_step, error_type, native_code, error, traceparent)
  SELECT saga_id, record_failure.pipeline, s.relation::regclass, s.key, s.xids, s.steps, s.failed_step, s.error_type,
         s.native_code, s.error, nullif(s.traceparent, '')
    FROM jsonb_to_record(record_failure.saga) AS s(relation oid, key jsonb, xids xid8[], steps text[], failed_step text,
                                                   error_type text, native_code text, error text, traceparent text)
  ON CONFLICT (id) DO NOTHING;
  IF FOUND THEN
    INSERT INTO apex.saga_event
    SELECT saga_id, e.* FROM (
      SELECT DISTINCT b.tableoid, b.ctid FROM unnest(listed) event(seq)
        JOIN apex.outbox_blocks b ON b.seq >= event.seq AND b.seq < event.seq + 64) holding
      CROSS JOIN LATERAL apex.unpack(holding.tableoid, holding.ctid) e
     WHERE e.seq = ANY (listed)
    ON CONFLICT (seq) DO UPDATE SET saga = excluded.saga;

    -- A later change than the one that is parked was accepted, and its checkpoint has not been written yet.
    DELETE FROM apex.saga_row parked
     USING jsonb_to_recordset(record_failure.saga -> 'rows') AS r(relation oid, key jsonb, carried_forward boolean)
     WHERE r.carried_forward AND parked.relation = r.relation::regclass AND parked.key = r.key;

    -- The image that was accepted is the one before the row's oldest event; a row that is parked already brings the one
    -- from before its first failure, and its version, since a store that could not be put back holds a later one. An old
    -- embedding that is there but empty stands for none. A row that was only refreshed is left as it is, at no version that
    -- could be undone: it was no change, and what the stores held before it is not known.
    INSERT INTO apex.saga_row AS parked
    SELECT saga_id, r.relation::regclass, r.key, r.mapping, r.failed_seq, CASE e.op WHEN 'R' THEN r.failed_seq ELSE r.first_seq - 1 END, e.before,
           CASE WHEN e.before IS NOT NULL THEN nullif(coalesce(e.old_embedding, e.embedding), ''::bytea) END
      FROM jsonb_to_recordset(record_failure.saga -> 'rows')
             AS r(relation oid, key jsonb, mapping int, failed_seq bigint, first_seq bigint, oldest_seq bigint)
      LEFT JOIN apex.saga_event e ON e.seq = r.oldest_seq
    ON CONFLICT (relation, key) DO UPDATE
      SET saga = excluded.saga, mapping = excluded.mapping, failed_seq = excluded.failed_seq,
          accepted_seq = CASE WHEN parked.accepted_seq < parked.failed_seq THEN parked.accepted_seq ELSE excluded.accepted_seq END,
          accepted = CASE WHEN parked.accepted_seq < parked.failed_seq THEN parked.accepted ELSE excluded.accepted END,
          accepted_embedding = CASE WHEN parked.accepted_seq < parked.failed_seq THEN parked.accepted_embedding
                                    ELSE excluded.accepted_embedding END;
    PERFORM apex.delete_empty_sagas(record_failure.pipeline);
  END IF;
  RETURN QUERY SELECT * FROM apex.undo_rows(saga_id);
END
$$;
COMMENT ON FUNCTION apex.record_failure(text, bigint, jsonb) IS
  'Writes down a failed saga, its events and the images accepted before it, ahead of its compensation; returns what to put back. Repeating it only returns.';

-- The pipeline is locked last: what the user's triggers and functions take their time for must not hold up the heartbeat.
CREATE FUNCTION apex.settle_failure(pipeline text, epoch bigint, saga uuid, state text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  resolved record;
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  PERFORM apex.current_pipeline(settle_failure.pipeline, settle_failure.epoch);
  PERFORM FROM apex.saga s WHERE s.id = settle_failure.saga AND s.state = 'compensating' FOR UPDATE;
  IF FOUND AND settle_failure.state = 'parked' THEN
    resolved := apex.resolve_failure(saga);
    UPDATE apex.saga s SET resolution = resolved.resolution, resolution_error = resolved.problem WHERE s.id = settle_failure.saga;
    UPDATE apex.saga_event e SET before = NULL, after = NULL, embedding = NULL, old_embedding = NULL
     WHERE e.saga = settle_failure.saga;
  END IF;
  UPDATE apex.saga s SET state = settle_failure.state, settled_at = clock_timestamp() WHERE s.id = settle_failure.saga;
  PERFORM apex.lock_pipeline(settle_failure.pipeline, settle_failure.epoch);
END
$$;
COMMENT ON FUNCTION apex.settle_failure(text, bigint, uuid, text) IS
  'Ends a compensation as parked, which carries out on_failure and erases the images of the events, or as compensation_failed';

REVOKE ALL ON FUNCTION
  apex.next_xid(), apex.current_history(), apex.start_cursor(),
  apex.current_pipeline(text, bigint), apex.lock_pipeline(text, bigint),
  apex.lead(text, text, int), apex.heartbeat(text, bigint), apex.resign(text, bigint),
  apex.batch_events(apex.pipeline, bigint, bigint, int, xid8[], boolean), apex.piece_events(apex.pipeline, bigint, bigint, int, bigint),
  apex.read_piece(text, bigint, bigint, int, bigint, bigint), apex.batch_until_now(apex.pipeline), apex.batch_behind(apex.pipeline),
  apex.next_batch(text, bigint, int), apex.read_ahead(text, bigint, pg_snapshot, xid8, bigint, int, bigint),
  apex.open_batch(text, bigint, pg_snapshot, xid8, bigint, bigint), apex.peek_bounds(text, bigint),
  apex.peek(text, bigint, pg_snapshot, xid8, bigint, pg_snapshot, xid8, bigint, bigint, int, bigint),
  apex.checkpoint(text, bigint, bigint, jsonb, boolean), apex.delete_empty_sagas(text), apex.undo_rows(uuid),
  apex.record_failure(text, bigint, jsonb), apex.settle_failure(text, bigint, uuid, text)
FROM PUBLIC;
