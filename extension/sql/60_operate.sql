-- What people call: single rows again, failed sagas, how things stand, and the sidecar's rights.

CREATE FUNCTION apex.refresh(relation regclass, VARIADIC key text[]) RETURNS bigint
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'apex_refresh';
COMMENT ON FUNCTION apex.refresh(regclass, text[]) IS
  'Sends one row of an attached table as it is now: SELECT apex.refresh(''documents'', id::text). The row is locked FOR NO KEY UPDATE to the end of the transaction; a row that is not there is sent as a delete. Returns its new version (seq). For the table''s owner and the sidecar''s role. Errors: 42501 no right, 55000 not attached, 22023 wrong number of key columns, or whatever the key''s type says to a text it cannot read.';

CREATE FUNCTION apex.take_failed_saga(saga uuid) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  state text;
BEGIN
  SELECT s.state INTO state FROM apex.saga s WHERE s.id = take_failed_saga.saga FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM apex.refuse('P0002', format('there is no failed saga %s', saga),
                        'It was never there, or a later change of its rows has superseded it.', 'Look at apex.failed_sagas.');
  ELSIF state = 'compensating' THEN
    PERFORM apex.refuse('55000', format('saga %s is still being compensated', saga), 'Its state is compensating.', 'Wait until it is in apex.failed_sagas.');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.take_failed_saga(uuid) IS 'Locks a saga that has ended in failure, or says why it cannot be had';
REVOKE ALL ON FUNCTION apex.take_failed_saga(uuid) FROM PUBLIC;

CREATE FUNCTION apex.retry(saga uuid) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  parked record;
  rows_sent int := 0;
BEGIN
  PERFORM apex.take_failed_saga(saga);
  FOR parked IN SELECT r.relation, r.key FROM apex.saga_row r WHERE r.saga = retry.saga ORDER BY r.failed_seq LOOP
    PERFORM apex.refresh(parked.relation, VARIADIC ARRAY(SELECT jsonb_array_elements_text(parked.key)));
    rows_sent := rows_sent + 1;
  END LOOP;
  RETURN rows_sent;
END
$$;
COMMENT ON FUNCTION apex.retry(uuid) IS
  'Sends every row of a failed saga again, as it is now, and returns how many; the saga leaves apex.failed_sagas when they have arrived. Errors: P0002 no such saga, 55000 still compensating or a table no longer attached.';
REVOKE ALL ON FUNCTION apex.retry(uuid) FROM PUBLIC;

CREATE FUNCTION apex.discard(saga uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM apex.take_failed_saga(saga);
  DELETE FROM apex.saga s WHERE s.id = discard.saga;
END
$$;
COMMENT ON FUNCTION apex.discard(uuid) IS
  'Forgets a failed saga with its rows and events. The stores keep what compensation left there; the rows are sent when they next change. Errors: P0002 no such saga, 55000 still compensating.';
REVOKE ALL ON FUNCTION apex.discard(uuid) FROM PUBLIC;

CREATE VIEW apex.sagas AS
  SELECT s.id, s.pipeline, s.state, s.relation, s.key, s.failed_step, s.error_type, s.native_code, s.error,
         s.steps, s.traceparent, s.created_at
    FROM apex.saga s WHERE s.settled_at IS NULL;
COMMENT ON VIEW apex.sagas IS 'Sagas that failed for good and are being compensated: not yet settled';

CREATE VIEW apex.failed_sagas AS
  SELECT s.id, s.pipeline, s.state, s.relation, s.key, s.failed_step, s.error_type, s.native_code, s.error,
         (SELECT count(*) FROM apex.saga_row r WHERE r.saga = s.id) AS rows, s.traceparent, s.created_at, s.settled_at,
         s.resolution, s.resolution_error
    FROM apex.saga s WHERE s.state IN ('parked', 'compensation_failed');
COMMENT ON VIEW apex.failed_sagas IS
  'Sagas to look at: parked (compensated, the stores are as before) or compensation_failed (some store may not be). Mend the row by an UPDATE, or call apex.retry(id) or apex.discard(id).';

CREATE FUNCTION apex.pending(p apex.pipeline, events_max int, OUT events bigint, OUT oldest timestamptz)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  -- Only a block that several pipelines share, or that is settled in part, has to be opened.
  WITH own AS MATERIALIZED (SELECT array_agg(m.id) AS mappings FROM apex.mapping m WHERE m.pipeline = p.name),
  undelivered AS (
    SELECT b.captured_at, CASE
        WHEN b.mappings <@ own.mappings AND (part.settled IS NULL OR b.seq - b.events >= part.settled) THEN b.events
        ELSE (SELECT count(*) FROM apex.unpack(b.tableoid, b.ctid, false) e
               WHERE e.mapping = ANY (own.mappings) AND e.seq > coalesce(part.settled, 0)) END AS events
      FROM own, apex.outbox_blocks b
      CROSS JOIN LATERAL (SELECT CASE WHEN pg_visible_in_snapshot(b.xid, p.to_snapshot) THEN p.settled END) part(settled)
     WHERE b.xid >= pg_snapshot_xmin(p.from_snapshot) AND NOT pg_visible_in_snapshot(b.xid, p.from_snapshot)
       AND NOT coalesce(b.seq <= part.settled, false) AND b.mappings && own.mappings
     ORDER BY b.seq LIMIT events_max)
  SELECT least(coalesce(sum(u.events), 0), events_max), min(u.captured_at) FROM undelivered u WHERE u.events > 0;
END;
COMMENT ON FUNCTION apex.pending(apex.pipeline, int) IS 'Events that a pipeline has still to deliver, up to a number, and the capture time of the oldest';
REVOKE ALL ON FUNCTION apex.pending(apex.pipeline, int) FROM PUBLIC;

CREATE FUNCTION apex.status() RETURNS jsonb
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_build_object(
    'outbox_bytes', jsonb_build_array(pg_total_relation_size('apex.outbox_0'), pg_total_relation_size('apex.outbox_1'),
                                      pg_total_relation_size('apex.outbox_2')),
    'pipelines', coalesce(jsonb_agg(jsonb_build_object(
      'pipeline', p.name, 'leader', CASE WHEN p.heartbeat > '-infinity' THEN p.leader END, 'epoch', p.epoch,
      'heartbeat_age_seconds', round(extract(epoch FROM clock_timestamp() - nullif(p.heartbeat, '-infinity')), 3),
      'backlog', pending.events,
      'oldest_event_age_seconds', round(extract(epoch FROM clock_timestamp() - pending.oldest), 3),
      'unverified_since', p.unverified_since,
      'compensating', sagas.compensating, 'parked', sagas.parked, 'compensation_failed', sagas.compensation_failed,
      'backfills', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                        'table', m.spec ->> 'table', 'rows_sent', b.rows_sent, 'rows_expected', b.rows_expected,
                        'rows_held', (SELECT count(*) FROM apex.backfill_held h WHERE h.relation = b.relation),
                        'rows_per_second', b.rows_per_second, 'started_at', b.started_at, 'finished_at', b.finished_at)
                        ORDER BY b.started_at, m.id), '[]')
                      FROM apex.backfill_progress b JOIN apex.mapping m ON m.relation = b.relation AND m.active
                     WHERE b.pipeline = p.name AND EXISTS (SELECT FROM pg_class c WHERE c.oid = b.relation)),
      'tables', (SELECT coalesce(jsonb_agg(m.spec ->> 'table' ORDER BY m.id), '[]')
                   FROM apex.mapping m WHERE m.pipeline = p.name AND m.active)) ORDER BY p.name), '[]'))
    FROM apex.pipeline p
    CROSS JOIN LATERAL apex.pending(p, 100000) pending
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE s.state = 'compensating'), count(*) FILTER (WHERE s.state = 'parked'),
             count(*) FILTER (WHERE s.state = 'compensation_failed')
        FROM apex.saga s WHERE s.pipeline = p.name) sagas(compensating, parked, compensation_failed);
END;
COMMENT ON FUNCTION apex.status() IS
  'How things stand: {"outbox_bytes": [size of each slot], "pipelines": [{pipeline, leader, epoch, heartbeat_age_seconds, backlog (events still to deliver, counted up to 100000), oldest_event_age_seconds, unverified_since (another history began then, and the stores were not found equal since), compensating, parked, compensation_failed (sagas), backfills ({table, rows_sent, rows_expected, rows_held, rows_per_second, started_at, finished_at} of each tables last one), tables}]}. Leader and ages are null when there is none.';
REVOKE ALL ON FUNCTION apex.status() FROM PUBLIC;

-- A timeline of zero is nobody's, so that the next leader finds itself in another history of the same cluster.
CREATE FUNCTION apex.restored() RETURNS void
  LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE apex.pipeline SET timeline = 0, epoch = epoch + 1, heartbeat = '-infinity';
END;
COMMENT ON FUNCTION apex.restored() IS
  'Says that this cluster was put back to an earlier state in a way that PostgreSQL does not notice, such as a snapshot of the disk: versions jump ahead of what the stores may hold, and every table is sent anew. To be called by the extension''s owner before anything is written.';
REVOKE ALL ON FUNCTION apex.restored() FROM PUBLIC;

CREATE FUNCTION apex.grant_sidecar(role regrole) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA apex TO %s', role);
  EXECUTE format('GRANT SELECT ON apex.mapping, apex.pipeline, apex.outbox, apex.outbox_blocks, apex.outbox_0, apex.outbox_1, apex.outbox_2, '
                 'apex.outbox_seq, apex.backfill_progress, apex.saga, apex.saga_row, apex.saga_event, apex.sagas, apex.failed_sagas TO %s', role);
  EXECUTE format('GRANT EXECUTE ON FUNCTION apex.lead(text, text, int), apex.heartbeat(text, bigint), apex.resign(text, bigint), '
                 'apex.read_piece(text, bigint, bigint, int, bigint, bigint), apex.next_batch(text, bigint, int), '
                 'apex.read_ahead(text, bigint, pg_snapshot, xid8, bigint, int, bigint), apex.open_batch(text, bigint, pg_snapshot, xid8, bigint, bigint), '
                 'apex.peek_bounds(text, bigint), apex.peek(text, bigint, pg_snapshot, xid8, bigint, pg_snapshot, xid8, bigint, bigint, int, bigint), '
                 'apex.checkpoint(text, bigint, bigint, jsonb, boolean), '
                 'apex.unpack(oid, tid, boolean), apex.undo_rows(uuid), apex.record_failure(text, bigint, jsonb), apex.settle_failure(text, bigint, uuid, text), '
                 'apex.backfill_step(text, bigint, int, timestamptz), apex.verify_page(regclass, oid, jsonb, int), '
                 'apex.verify_rows(regclass, jsonb), apex.cached_row(regclass, jsonb), apex.refresh_rows(regclass, jsonb), apex.verified(text, timestamptz), apex.rotate(), apex.arm(), apex.retry(uuid), apex.discard(uuid), apex.status() TO %s', role);
END
$$;
COMMENT ON FUNCTION apex.grant_sidecar(regrole) IS
  'Gives a role what apex run needs and nothing more: SELECT apex.grant_sidecar(''apex''). It needs no right on the attached tables. To be called by the extension''s owner.';
REVOKE ALL ON FUNCTION apex.grant_sidecar(regrole) FROM PUBLIC;
