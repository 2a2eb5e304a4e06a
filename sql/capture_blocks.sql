-- Events travel in blocks: what a savepoint, an error, a prepared transaction and a dropped extension make of them.
CREATE DATABASE capture_blocks;
\set regression :DBNAME
\c capture_blocks
SET client_min_messages = warning;
CREATE EXTENSION apex_saga;
CREATE TABLE doc (id int PRIMARY KEY, title text);
CREATE TABLE note (id int PRIMARY KEY, body text, seen interval);
SELECT apex.attach('doc', graph => apex.graph('Doc', properties => ARRAY['title']));
SELECT apex.attach('note', cache => apex.cache('note', 'write'), pipeline => 'second');

-- The keys of the events since the last look, in order of their versions, and how many blocks they came in
CREATE TABLE seen (seq bigint);
INSERT INTO seen VALUES (0);
CREATE FUNCTION look(OUT events text, OUT blocks bigint) LANGUAGE plpgsql AS $$
BEGIN
  SELECT string_agg(o.op::text || (o.key ->> 0), ' ' ORDER BY o.seq) INTO events FROM apex.outbox o WHERE o.seq > (SELECT s.seq FROM seen s);
  SELECT count(*) INTO blocks FROM apex.outbox_blocks b WHERE b.seq > (SELECT s.seq FROM seen s);
  UPDATE seen s SET seq = (SELECT max(b.seq) FROM apex.outbox_blocks b);
END
$$;

-- One transaction, one block: of two tables, two pipelines and two trace contexts
BEGIN;
INSERT INTO doc VALUES (1, 'a'), (2, 'b');
SET LOCAL apex.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
INSERT INTO note VALUES (3, 'c', '1 day');
UPDATE doc SET title = 'd' WHERE id = 1;
SET LOCAL apex.traceparent = '';
DELETE FROM doc WHERE id = 2;
COMMIT;
SELECT op, key, before, after, right(traceparent, 19) AS trace FROM apex.outbox ORDER BY seq;
SELECT * FROM look();

-- The limit of 64 events, and of 8 kB
INSERT INTO doc SELECT i, 'x' FROM generate_series(101, 228) i;
SELECT min(events), max(events), count(*) FROM apex.outbox_blocks WHERE seq > (SELECT seq FROM seen);
SELECT count(DISTINCT key), max(seq) - min(seq) + 1 AS versions FROM apex.outbox WHERE seq > (SELECT seq FROM seen);
UPDATE seen SET seq = (SELECT max(seq) FROM apex.outbox_blocks);
INSERT INTO doc SELECT i, repeat('x', 1000) FROM generate_series(301, 328) i;
SELECT events, count(*), max(length(block)) <= 7976 AS fit FROM apex.outbox_blocks WHERE seq > (SELECT seq FROM seen) GROUP BY events;
UPDATE seen SET seq = (SELECT max(seq) FROM apex.outbox_blocks);
-- Larger than a block: alone, between others
INSERT INTO doc VALUES (401, 'x'), (402, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i)), (403, 'x');
SELECT key, length(after ->> 'title') AS length FROM apex.outbox WHERE seq > (SELECT seq FROM seen) ORDER BY seq;
SELECT * FROM look();

-- Savepoints: rolled back, released, nested
BEGIN;
INSERT INTO doc VALUES (501, 'a');
SAVEPOINT one;
INSERT INTO doc VALUES (502, 'gone');
SAVEPOINT two;
INSERT INTO doc VALUES (503, 'gone');
RELEASE two;
ROLLBACK TO one;
INSERT INTO doc VALUES (504, 'a');
SAVEPOINT three;
INSERT INTO doc VALUES (505, 'a');
RELEASE three;
RELEASE one;
INSERT INTO doc VALUES (506, 'a');
COMMIT;
SELECT * FROM look();

-- An inner level that has to write first: what lies outside keeps the earlier versions. The outer block is written once, whatever
-- becomes of the inner ones.
CREATE FUNCTION fill(from_id int, title text DEFAULT 'full') RETURNS void LANGUAGE sql AS $$
  INSERT INTO doc SELECT i, title FROM generate_series(from_id, from_id + 69) i $$;
BEGIN;
INSERT INTO doc VALUES (1001, 'outer');
SAVEPOINT one;
INSERT INTO doc VALUES (1002, 'middle');
SAVEPOINT two;
SELECT fill(1100);
RELEASE two;
INSERT INTO doc VALUES (1003, 'middle');
RELEASE one;
INSERT INTO doc VALUES (1004, 'outer');
COMMIT;
SELECT count(*), bool_and(id = previous + 1 OR previous IS NULL OR (previous, id) IN ((1002, 1100), (1169, 1003))) AS in_order
  FROM (SELECT (key ->> 0)::int AS id, lag((key ->> 0)::int) OVER (ORDER BY seq) AS previous FROM apex.outbox WHERE seq > (SELECT seq FROM seen)) o;
UPDATE seen SET seq = (SELECT max(seq) FROM apex.outbox_blocks);
BEGIN;
INSERT INTO doc VALUES (2001, 'outer');
SAVEPOINT one;
INSERT INTO doc VALUES (2002, 'middle');
SAVEPOINT two;
SELECT fill(2100);
ROLLBACK TO two;
INSERT INTO doc VALUES (2003, 'inner');
RELEASE two;
SAVEPOINT two;
SELECT fill(2200);
RELEASE two;
ROLLBACK TO one;
INSERT INTO doc VALUES (2004, 'inner');
RELEASE one;
COMMIT;
SELECT * FROM look();

-- An error in the middle of a statement, and one while a block is written, which is at the commit
BEGIN;
INSERT INTO doc VALUES (3001, 'a');
SAVEPOINT s;
INSERT INTO doc SELECT 3002 + i / 69, 'twice' FROM generate_series(0, 138) i;
ROLLBACK TO s;
INSERT INTO doc VALUES (3003, 'a');
COMMIT;
SELECT * FROM look();
CREATE FUNCTION refuse(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE INDEX refusing_0 ON apex.outbox_0 (refuse(seq)) WHERE events = 13;
CREATE INDEX refusing_1 ON apex.outbox_1 (refuse(seq)) WHERE events = 13;
CREATE INDEX refusing_2 ON apex.outbox_2 (refuse(seq)) WHERE events = 13;
BEGIN;
INSERT INTO doc SELECT i, 'gone' FROM generate_series(3101, 3113) i;
COMMIT;
DROP INDEX apex.refusing_0, apex.refusing_1, apex.refusing_2;
INSERT INTO doc VALUES (3114, 'a');
SELECT * FROM look();

-- A storm of savepoints fills blocks all the same, and memory does not grow
DO $$
DECLARE
  bytes bigint;
BEGIN
  FOR i IN 1..3000 LOOP
    BEGIN
      INSERT INTO doc VALUES (10000 + i, 'storm');
      IF i % 3 = 0 THEN
        RAISE EXCEPTION 'taken back';
      END IF;
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
  SELECT sum(total_bytes) INTO bytes FROM pg_backend_memory_contexts WHERE name = 'apex pending events';
  IF bytes > 200000 THEN
    RAISE EXCEPTION '% bytes are pending', bytes;
  END IF;
END
$$;
SELECT count(*), count(DISTINCT key), bool_and((key ->> 0)::int % 3 <> 1) AS kept FROM apex.outbox WHERE seq > (SELECT seq FROM seen);
SELECT count(*) BETWEEN 30 AND 60 AS full_blocks FROM apex.outbox_blocks WHERE seq > (SELECT seq FROM seen);
UPDATE seen SET seq = (SELECT max(seq) FROM apex.outbox_blocks);
-- Each inside the one before
DO $$
DECLARE
  deep text := 'INSERT INTO doc VALUES (20000, ''deep'');';
BEGIN
  FOR i IN 1..100 LOOP
    deep := format('BEGIN INSERT INTO doc VALUES (%s, repeat(''x'', 900)); %s EXCEPTION WHEN division_by_zero THEN NULL; END;', 20000 + i, deep);
  END LOOP;
  EXECUTE format('DO %L', 'BEGIN ' || deep || ' END');
END
$$;
SELECT count(*), string_agg(DISTINCT op, '') AS op, array_agg((key ->> 0)::int ORDER BY seq) = array_agg((key ->> 0)::int ORDER BY (key ->> 0)::int DESC) AS in_order
  FROM apex.outbox WHERE seq > (SELECT seq FROM seen);
UPDATE seen SET seq = (SELECT max(seq) FROM apex.outbox_blocks);
-- apex.refresh writes at once, also inside savepoints that come and go
BEGIN;
INSERT INTO doc VALUES (30001, 'a');
DO $$
BEGIN
  FOR i IN 1..5 LOOP
    BEGIN
      PERFORM apex.refresh('doc', '1');
      IF i % 2 = 0 THEN
        RAISE EXCEPTION 'taken back';
      END IF;
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
    UPDATE doc SET title = i::text WHERE id = 30001;
  END LOOP;
END
$$;
SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'apex pending events';
COMMIT;
SELECT * FROM look();

-- COPY, and a prepared transaction
COPY doc FROM stdin;
40001	copied
40002	copied
\.
BEGIN;
INSERT INTO doc VALUES (40003, 'prepared');
PREPARE TRANSACTION 'blocks';
SELECT * FROM look();
COMMIT PREPARED 'blocks';
SELECT * FROM look();
BEGIN;
INSERT INTO doc VALUES (40004, 'gone');
PREPARE TRANSACTION 'blocks';
ROLLBACK PREPARED 'blocks';
SELECT * FROM look();

-- Nothing here has left a dead row but what was rolled back after its block was full
SELECT sum(n_tup_upd) AS updated, sum(n_tup_del) AS deleted FROM pg_stat_user_tables WHERE relname LIKE 'outbox\__' AND schemaname = 'apex';

-- No bytes can be handed to apex.unpack, and no other table
SELECT * FROM apex.unpack('doc'::regclass, '(0,1)');
SELECT count(*) FROM apex.unpack('apex.outbox_0'::regclass, '(4000000,1)');

-- The extension goes in the same transaction: the user's rows stay, nobody is left to read their events
BEGIN;
INSERT INTO doc VALUES (50001, 'a');
SAVEPOINT s;
DROP EXTENSION apex_saga CASCADE;
ROLLBACK TO s;
INSERT INTO doc VALUES (50002, 'a');
COMMIT;
SELECT * FROM look();
BEGIN;
INSERT INTO doc VALUES (50003, 'a');
SAVEPOINT s;
INSERT INTO doc VALUES (50004, 'a');
DROP EXTENSION apex_saga CASCADE;
INSERT INTO doc VALUES (50005, 'a');
RELEASE s;
CREATE EXTENSION apex_saga;
SELECT apex.attach('doc', graph => apex.graph('Doc', properties => ARRAY['title']));
INSERT INTO doc VALUES (50006, 'a');
COMMIT;
SELECT key FROM apex.outbox;
SELECT count(*) FROM doc WHERE id > 50000;
BEGIN;
INSERT INTO doc VALUES (50007, 'a');
DROP EXTENSION apex_saga CASCADE;
COMMIT;
SELECT count(*) FROM doc WHERE id > 50000;
\c :regression
DROP DATABASE capture_blocks;
