-- What a backend remembers about the outbox's indexes follows every change of them, in the session that writes on.
CREATE DATABASE capture_indexes;
\set regression :DBNAME
\c capture_indexes
SET client_min_messages = warning;
CREATE EXTENSION apex_saga;
CREATE TABLE doc (id int PRIMARY KEY, title text);
SELECT apex.attach('doc', graph => apex.graph('Doc', properties => ARRAY['title']));

-- How many of the events each index of the outbox finds, whichever slot it is now
CREATE FUNCTION found(name text, condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  total bigint := 0;
  part bigint;
  plan text;
BEGIN
  SET LOCAL enable_seqscan = off;
  SET LOCAL enable_bitmapscan = off;
  FOR slot IN 0..2 LOOP
    EXECUTE format('SELECT coalesce(sum(events), 0) FROM ONLY apex.outbox_%s WHERE %s', slot, condition) INTO part;
    EXECUTE format('EXPLAIN (FORMAT json) SELECT sum(events) FROM ONLY apex.outbox_%s WHERE %s', slot, condition) INTO plan;
    IF plan NOT LIKE '%"' || format(name, slot) || '"%' THEN
      RAISE EXCEPTION 'not by index %', name;
    END IF;
    total := total + part;
  END LOOP;
  RETURN total;
END
$$;

INSERT INTO doc SELECT i, 'a' FROM generate_series(1, 3) i;
SELECT found('outbox_%s_seq', 'seq > 0') AS by_seq, found('outbox_%s_xid', 'xid > ''0''') AS by_xid;

-- A further index, between two blocks of one transaction and taken back
BEGIN;
INSERT INTO doc SELECT i, 'b' FROM generate_series(1001, 1070) i;
CREATE INDEX captured_0 ON apex.outbox_0 (captured_at);
CREATE INDEX captured_1 ON apex.outbox_1 (captured_at);
CREATE INDEX captured_2 ON apex.outbox_2 (captured_at);
INSERT INTO doc SELECT i, 'b' FROM generate_series(2001, 2064) i;
SELECT found('captured_%s', 'captured_at > ''2000-01-01''') AS by_time;
ROLLBACK;
INSERT INTO doc VALUES (4, 'c');
SELECT found('outbox_%s_seq', 'seq > 0') AS by_seq;

-- Indexes that the executor has to handle: an expression, a condition, uniqueness
CREATE UNIQUE INDEX unique_0 ON apex.outbox_0 (seq, (seq + 1)) WHERE events = 2;
CREATE UNIQUE INDEX unique_1 ON apex.outbox_1 (seq, (seq + 1)) WHERE events = 2;
CREATE UNIQUE INDEX unique_2 ON apex.outbox_2 (seq, (seq + 1)) WHERE events = 2;
UPDATE doc SET title = 'd' WHERE id <= 2;
SELECT found('unique_%s', 'events = 2 AND seq > 0 AND seq + 1 > 0') AS updates, found('outbox_%s_seq', 'seq > 0') AS by_seq;
DROP INDEX apex.unique_0, apex.unique_1, apex.unique_2;

-- One of the outbox's own is dropped
DROP INDEX apex.outbox_0_seq, apex.outbox_1_seq, apex.outbox_2_seq;
UPDATE doc SET title = 'e' WHERE id = 1;
SELECT found('outbox_%s_xid', 'xid > ''0''') AS by_xid;

-- An error between two events, and a savepoint
BEGIN;
INSERT INTO doc VALUES (10, 'f');
SAVEPOINT s;
INSERT INTO doc SELECT 11 + i / 2, 'f' FROM generate_series(0, 3) i;
ROLLBACK TO s;
INSERT INTO doc VALUES (12, 'f');
COMMIT;
SELECT key FROM apex.outbox WHERE key >= '[10]' ORDER BY seq;

-- Another outbox in the same session
DROP EXTENSION apex_saga CASCADE;
INSERT INTO doc VALUES (20, 'g');
CREATE EXTENSION apex_saga;
SELECT apex.attach('doc', graph => apex.graph('Doc', properties => ARRAY['title']), backfill => false);
INSERT INTO doc VALUES (21, 'g');
SELECT seq, key FROM apex.outbox;
SELECT found('outbox_%s_seq', 'seq > 0') AS by_seq;
\c :regression
DROP DATABASE capture_indexes;
