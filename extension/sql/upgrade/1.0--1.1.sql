-- Names in this script mean PostgreSQL's own, whatever somebody has put into the schema that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Their triggers are made anew. Whoever writes waits further down in any case, and must not wait there with a lock on one of these.
DO $$
DECLARE
  attached regclass;
BEGIN
  FOR attached IN SELECT m.relation FROM apex.mapping m WHERE m.active AND EXISTS (SELECT FROM pg_class c WHERE c.oid = m.relation) LOOP
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', attached);
  END LOOP;
END
$$;

-- The outbox of this version holds blocks of events; what the old one still holds is delivered first. Writers wait meanwhile, and
-- whoever leads goes on reading, so that this comes before anything else is locked.
LOCK TABLE apex.outbox IN SHARE ROW EXCLUSIVE MODE;
DO $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
  WHILE EXISTS (
    SELECT FROM apex.outbox o JOIN apex.mapping m ON m.id = o.mapping LEFT JOIN apex.pipeline p ON p.name = m.pipeline
     WHERE NOT coalesce(pg_visible_in_snapshot(o.xid, p.from_snapshot), false)) LOOP
    IF clock_timestamp() > deadline OR NOT EXISTS (SELECT FROM apex.pipeline WHERE heartbeat > clock_timestamp() - interval '10 seconds') THEN
      RAISE EXCEPTION 'the outbox has events that are not delivered yet'
        USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'The new version lays them out in another way.',
              HINT = 'Let the sidecar run until apex.status() shows a small backlog, and repeat ALTER EXTENSION apex_saga UPDATE.';
    END IF;
    PERFORM pg_sleep(0.1);
  END LOOP;
END
$$;
DROP FUNCTION apex.read_piece(text, bigint, bigint, int, bigint), apex.batch_events(apex.pipeline, bigint, bigint, int);
DROP FUNCTION apex.sync_state(xid8), apex.pending(apex.pipeline, int) CASCADE;
DROP TABLE apex.outbox CASCADE;
ALTER SEQUENCE apex.outbox_seq INCREMENT 64 START 64;
SELECT setval('apex.outbox_seq', 64, false) FROM apex.outbox_seq WHERE NOT is_called;
CREATE TABLE apex.outbox_blocks (
  seq bigint NOT NULL,
  xid xid8 NOT NULL,
  captured_at timestamptz NOT NULL,
  events int NOT NULL,
  mappings int[] NOT NULL,
  block bytea NOT NULL
);
CREATE TABLE apex.outbox_0 () INHERITS (apex.outbox_blocks)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off, toast_tuple_target = 8160);
CREATE TABLE apex.outbox_1 () INHERITS (apex.outbox_blocks)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off, toast_tuple_target = 8160);
CREATE TABLE apex.outbox_2 () INHERITS (apex.outbox_blocks)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off, toast_tuple_target = 8160);
CREATE INDEX outbox_0_seq ON apex.outbox_0 (seq);
CREATE INDEX outbox_1_seq ON apex.outbox_1 (seq);
CREATE INDEX outbox_2_seq ON apex.outbox_2 (seq);
CREATE INDEX outbox_0_xid ON apex.outbox_0 (xid, seq);
CREATE INDEX outbox_1_xid ON apex.outbox_1 (xid, seq);
CREATE INDEX outbox_2_xid ON apex.outbox_2 (xid, seq);
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
ALTER TABLE apex.saga_event ALTER xid DROP NOT NULL, ALTER command DROP NOT NULL, ALTER relation DROP NOT NULL, ALTER mapping DROP NOT NULL,
  ALTER op DROP NOT NULL, ALTER key DROP NOT NULL, ALTER captured_at DROP NOT NULL;

-- pg_upgrade refuses a database that has a column of type regprocedure.
ALTER TABLE apex.mapping ALTER COLUMN handler TYPE text;

ALTER TABLE apex.saga
  ADD COLUMN resolution text CHECK (resolution IN ('reverted', 'called')),
  ADD COLUMN resolution_error text;
ALTER TABLE apex.pipeline ADD COLUMN unverified_since timestamptz;
DROP FUNCTION apex.resolve(regclass, jsonb, jsonb, jsonb, name, text);
DROP FUNCTION apex.vector(text, text, int, text, text[]);
DROP FUNCTION apex.cache(text, text, text, interval, text[], text[], text[]);

CREATE TABLE apex.backfill_progress (
  relation regclass PRIMARY KEY,
  pipeline text NOT NULL,
  rows_per_second int CHECK (rows_per_second > 0),
  rows_expected bigint,
  rows_sent bigint NOT NULL DEFAULT 0,
  part oid,
  after_key jsonb,
  scanned boolean NOT NULL DEFAULT false,
  next_at timestamptz NOT NULL DEFAULT 'epoch',
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz
);
CREATE TABLE apex.backfill_held (
  relation regclass NOT NULL REFERENCES apex.backfill_progress ON DELETE CASCADE,
  key jsonb NOT NULL,
  looked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (relation, key)
);
CREATE INDEX ON apex.backfill_held (relation, looked_at);

-- [the functions of this version]

GRANT EXECUTE ON FUNCTION apex.capture() TO PUBLIC;

-- TRUNCATE was refused.
SELECT apex.follow_truncate(m.relation) FROM apex.mapping m WHERE m.active AND EXISTS (SELECT FROM pg_class c WHERE c.oid = m.relation);

-- Columns that were renamed under the old version.
UPDATE apex.mapping m SET spec = apex.with_present_names(m.relation, m.spec)
 WHERE m.active AND m.spec <> apex.with_present_names(m.relation, m.spec);
