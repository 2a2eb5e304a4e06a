-- The outbox and the trigger that writes it.
--
-- A transaction's events are written in blocks of up to 64 when a block is full and before the commit, straight to the heap
-- of the slot of the hour and its indexes, so that no role needs a right to write here. Blocks are never updated and never
-- deleted one by one: apex.rotate() truncates a slot that every reader has passed.

-- The increment is the most events that a block has (kBlockEventsMax): the block that draws a value has it and the values
-- below, as many as it has events.
CREATE SEQUENCE apex.outbox_seq AS bigint INCREMENT 64 START 64 CACHE 1;
COMMENT ON SEQUENCE apex.outbox_seq IS
  'Versions of rows. Per row they rise in commit order, because they are drawn while all rows of a block are locked; hence CACHE 1.';

CREATE TABLE apex.outbox_blocks (
  seq bigint NOT NULL,
  xid xid8 NOT NULL,
  captured_at timestamptz NOT NULL,
  events int NOT NULL,
  mappings int[] NOT NULL,
  block bytea NOT NULL
);
COMMENT ON TABLE apex.outbox_blocks IS 'Committed changes of attached tables, in blocks. Empty itself: they are in the slots that inherit from it. Read the view apex.outbox.';
COMMENT ON COLUMN apex.outbox_blocks.seq IS 'Version of the last event, from apex.outbox_seq; the events before it have the versions just below';
COMMENT ON COLUMN apex.outbox_blocks.xid IS 'The top-level transaction';
COMMENT ON COLUMN apex.outbox_blocks.captured_at IS 'Wall clock when the first event was captured';
COMMENT ON COLUMN apex.outbox_blocks.events IS 'How many events there are: 1 to 64';
COMMENT ON COLUMN apex.outbox_blocks.mappings IS 'Every apex.mapping.id that an event was captured under';
COMMENT ON COLUMN apex.outbox_blocks.block IS 'The events, which apex.unpack reads';

-- Vacuum would find nothing to do here but what rollbacks leave, and TRUNCATE takes that as well. A block of several events
-- fits a page and stays there uncompressed; one large event is compressed and toasted like any value.
CREATE TABLE apex.outbox_0 () INHERITS (apex.outbox_blocks)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off, toast_tuple_target = 8160);
CREATE TABLE apex.outbox_1 () INHERITS (apex.outbox_blocks)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off, toast_tuple_target = 8160);
CREATE TABLE apex.outbox_2 () INHERITS (apex.outbox_blocks)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off, toast_tuple_target = 8160);
COMMENT ON TABLE apex.outbox_0 IS 'First of the three slots of the outbox that take turns';
COMMENT ON TABLE apex.outbox_1 IS 'Second of the three slots of the outbox that take turns';
COMMENT ON TABLE apex.outbox_2 IS 'Third of the three slots of the outbox that take turns';
CREATE INDEX outbox_0_seq ON apex.outbox_0 (seq);
CREATE INDEX outbox_1_seq ON apex.outbox_1 (seq);
CREATE INDEX outbox_2_seq ON apex.outbox_2 (seq);
-- With seq, so that a piece of a long transaction is read without sorting all of it.
CREATE INDEX outbox_0_xid ON apex.outbox_0 (xid, seq);
CREATE INDEX outbox_1_xid ON apex.outbox_1 (xid, seq);
CREATE INDEX outbox_2_xid ON apex.outbox_2 (xid, seq);
-- The parent is empty, but the planner merges its slots by index only when all of them have it.
CREATE INDEX outbox_by_seq ON apex.outbox_blocks (seq);
CREATE INDEX outbox_by_xid ON apex.outbox_blocks (xid, seq);

CREATE TYPE apex.event AS (
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
  captured_at timestamptz
);
COMMENT ON TYPE apex.event IS 'One change of a row of an attached table';
COMMENT ON COLUMN apex.event.seq IS 'Version, from apex.outbox_seq, drawn after the transaction id and while the row is locked';
COMMENT ON COLUMN apex.event.xid IS 'The top-level transaction';
COMMENT ON COLUMN apex.event.command IS 'Command inside the transaction; a row''s events of one transaction are ordered by (command, seq)';
COMMENT ON COLUMN apex.event.relation IS 'The attached table; of a partitioned table the parent';
COMMENT ON COLUMN apex.event.mapping IS 'apex.mapping.id that the event was captured under';
COMMENT ON COLUMN apex.event.op IS 'I insert, U update, D delete, R refresh (a full image drawn later), T truncate (the whole table)';
COMMENT ON COLUMN apex.event.key IS 'Array of the primary key''s values in key order: integers as numbers, everything else as text; empty for T';
COMMENT ON COLUMN apex.event.aggregate_relation IS 'Table of the aggregate''s row; NULL: the row is its own aggregate';
COMMENT ON COLUMN apex.event.aggregate_key IS 'Key of the aggregate''s row';
COMMENT ON COLUMN apex.event.before IS 'Mapped and key columns before the change, without the embedding; NULL for I and R';
COMMENT ON COLUMN apex.event.after IS 'Mapped and key columns after the change, without the embedding; NULL for D';
COMMENT ON COLUMN apex.event.embedding IS 'The embedding after the change, packed little-endian float4; NULL when the column is';
COMMENT ON COLUMN apex.event.old_embedding IS 'The embedding before the change where it differs';
COMMENT ON COLUMN apex.event.error IS 'Column and reason when a value could not be encoded: the event has only its key';
COMMENT ON COLUMN apex.event.traceparent IS 'W3C trace context, from the setting apex.traceparent';
COMMENT ON COLUMN apex.event.captured_at IS 'Wall clock when the first event of its block was captured';

CREATE FUNCTION apex.unpack(slot oid, place tid, images boolean DEFAULT true) RETURNS SETOF apex.event
  LANGUAGE c STABLE STRICT ROWS 32 AS 'MODULE_PATHNAME', 'apex_unpack';
COMMENT ON FUNCTION apex.unpack(oid, tid, boolean) IS
  'The events of the block at this place of a slot of the outbox, in the order of their seq; none when the query''s snapshot does not see it. Without images before, after and the embeddings are NULL, and making an event costs a fraction';
REVOKE ALL ON FUNCTION apex.unpack(oid, tid, boolean) FROM PUBLIC;

-- The transaction is the block's, so that a condition on it is looked up in the index.
CREATE VIEW apex.outbox AS
  SELECT e.seq, b.xid, e.command, e.relation, e.mapping, e.op, e.key, e.aggregate_relation, e.aggregate_key, e.before, e.after,
         e.embedding, e.old_embedding, e.error, e.traceparent, e.captured_at
    FROM apex.outbox_blocks b CROSS JOIN LATERAL apex.unpack(b.tableoid, b.ctid) e;
COMMENT ON VIEW apex.outbox IS 'Committed changes of attached tables, one a row';

CREATE FUNCTION apex.capture() RETURNS trigger
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_capture';
COMMENT ON FUNCTION apex.capture() IS
  'Row trigger of attached tables, created by apex.attach. It finds its mapping by the table it fires on, never by arguments; on a table without one it warns once a session and captures nothing.';
-- Whoever adds a partition to an attached table, or restores a table, makes this trigger. By itself it does nothing.
GRANT EXECUTE ON FUNCTION apex.capture() TO PUBLIC;

CREATE FUNCTION apex.capture_truncate() RETURNS trigger
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_capture_truncate';
COMMENT ON FUNCTION apex.capture_truncate() IS
  'Statement trigger of attached tables and their partitions, created by apex.attach: captures TRUNCATE. It finds its mapping as apex.capture does.';

-- A dump of a table that was attached under version 1.0 makes a trigger of this function.
CREATE FUNCTION apex.refuse_truncate() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'cannot truncate attached table %', format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME)
    USING ERRCODE = 'feature_not_supported', DETAIL = 'Its trigger is that of apex_saga 1.0, which did not carry TRUNCATE to the stores.',
          HINT = 'Call apex.detach and apex.attach for the table, which makes the triggers of this version.';
END
$$;
COMMENT ON FUNCTION apex.refuse_truncate() IS 'Statement trigger of tables that were attached by version 1.0: TRUNCATE is an error (0A000)';
REVOKE ALL ON FUNCTION apex.refuse_truncate() FROM PUBLIC;

CREATE FUNCTION apex.outbox_slot() RETURNS int
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_outbox_slot';
COMMENT ON FUNCTION apex.outbox_slot() IS 'The slot of the outbox that events are written to now: 0, 1 or 2';
REVOKE ALL ON FUNCTION apex.outbox_slot() FROM PUBLIC;

-- Only the slot that was written before the current one is looked at: nobody writes to it any more, nor will before the next
-- one has had its turn, so that its lock makes no writer wait. A transaction that still holds rows there keeps it.
CREATE FUNCTION apex.rotate() RETURNS int[]
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  slot int := (apex.outbox_slot() + 2) % 3;
  slot_table regclass := format('apex.outbox_%s', slot)::regclass;
  cursor_of record;
  undelivered boolean;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'apex.rotate() needs a READ COMMITTED transaction'
      USING ERRCODE = 'invalid_transaction_state',
            DETAIL = 'It proves under a lock that a slot is drained, with a snapshot taken after the lock.',
            HINT = 'Call it in a transaction of its own.';
  END IF;
  IF pg_relation_size(slot_table) = 0 THEN
    RETURN '{}';
  END IF;
  BEGIN
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', slot_table);
  EXCEPTION WHEN lock_not_available THEN
    RETURN '{}';
  END;
  FOR cursor_of IN SELECT p.name, p.from_snapshot FROM apex.pipeline p LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s o WHERE o.xid >= pg_snapshot_xmin($1) '
                   'AND NOT pg_visible_in_snapshot(o.xid, $1) '
                   'AND o.mappings && ARRAY(SELECT m.id FROM apex.mapping m WHERE m.pipeline = $2))', slot_table)
      INTO undelivered USING cursor_of.from_snapshot, cursor_of.name;
    IF undelivered THEN
      RETURN '{}';
    END IF;
  END LOOP;
  EXECUTE format('TRUNCATE ONLY %s', slot_table);
  RETURN ARRAY[slot];
END
$$;
COMMENT ON FUNCTION apex.rotate() IS
  'Empties the slot of the outbox before the current one if every pipeline''s cursor has passed it, and returns the slots it emptied. Never waits: a slot in use is left for the next call. To be called in a READ COMMITTED transaction of its own.';
REVOKE ALL ON FUNCTION apex.rotate() FROM PUBLIC;
