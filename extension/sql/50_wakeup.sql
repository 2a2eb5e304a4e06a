-- Waking the sidecar, and waiting for it.

CREATE FUNCTION apex.arm() RETURNS boolean
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'apex_arm';
COMMENT ON FUNCTION apex.arm() IS
  'Asks for one NOTIFY apex_outbox after the next commit that captured a change, and starts this database''s worker when needed (it stays while the session is connected). False when nobody can wake and the caller has to poll: no free background worker, no shared memory to spare, a standby. Call it outside a long transaction, then read again, then sleep.';
REVOKE ALL ON FUNCTION apex.arm() FROM PUBLIC;

-- Assigning the xid is the point: whatever committed before it was assigned has a lower one, and this transaction's own
-- events carry this very one. "Everything up to this xid" therefore holds all that the caller can know of, provided that it
-- had not written before; if it had, its place is that of its first write.
CREATE FUNCTION apex.position() RETURNS xid8
  LANGUAGE sql VOLATILE PARALLEL UNSAFE
  RETURN pg_catalog.pg_current_xact_id();
COMMENT ON FUNCTION apex.position() IS
  'The place of this transaction in the stream of changes, for apex.wait_synced() after its commit: its own changes, and all that committed before it first wrote or called this. Assigns a transaction id.';

-- Runs as the owner, since nobody but the sidecar may read the outbox; all it tells is one of three words.
--
-- What the cursor's snapshot does not see is what ran when it was taken, looked up one by one, and what began later, a
-- range of the index on xid. Comparing every xid since the oldest of the running ones would reread all that was delivered
-- meanwhile.
CREATE FUNCTION apex.sync_state("position" xid8) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
BEGIN ATOMIC
  SELECT CASE
    WHEN NOT pg_visible_in_snapshot(sync_state.position, pg_current_snapshot()) THEN 'waiting'
    WHEN EXISTS (
      SELECT FROM apex.saga
      WHERE state IN ('parked', 'compensation_failed') AND sync_state.position = ANY (xids)) THEN 'parked'
    WHEN EXISTS (
      SELECT FROM apex.saga, unnest(xids) AS own(xid)
      WHERE state = 'compensating' AND own.xid <= sync_state.position) THEN 'waiting'
    WHEN EXISTS (
      SELECT FROM (SELECT DISTINCT pipeline FROM apex.mapping) AS mapped
      LEFT JOIN apex.pipeline AS cursor ON cursor.name = mapped.pipeline
      CROSS JOIN LATERAL (
        SELECT late.xid, late.seq, late.mappings FROM apex.outbox_blocks AS late
        WHERE late.xid = ANY (ARRAY(SELECT pg_snapshot_xip(cursor.from_snapshot))) AND late.xid <= sync_state.position
        UNION ALL
        SELECT new.xid, new.seq, new.mappings FROM apex.outbox_blocks AS new
        WHERE new.xid >= coalesce(pg_snapshot_xmax(cursor.from_snapshot), '0'::xid8) AND new.xid <= sync_state.position
      ) AS block
      JOIN apex.mapping ON mapping.id = ANY (block.mappings) AND mapping.pipeline = mapped.pipeline
      WHERE NOT coalesce(pg_visible_in_snapshot(block.xid, cursor.to_snapshot) AND block.seq <= cursor.settled, false))
      THEN 'waiting'
    ELSE 'synced'
  END;
END;
COMMENT ON FUNCTION apex.sync_state(xid8) IS
  'Whether all changes up to a position are in the stores: synced, parked (a saga of this very transaction failed for good), or waiting. One look; apex.wait_synced() looks until it is decided.';

CREATE PROCEDURE apex.wait_synced("position" xid8, timeout interval, INOUT result text DEFAULT NULL)
  LANGUAGE c AS 'MODULE_PATHNAME', 'apex_wait_synced';
COMMENT ON PROCEDURE apex.wait_synced(xid8, interval, text) IS
  'Waits until every change up to a position is in every store. Result: synced; parked, when a saga of that transaction failed for good; timeout. Holds no snapshot while it waits, so it cannot run inside a transaction block (error 2D000).';
