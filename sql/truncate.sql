-- TRUNCATE of attached tables: one event for a table, deletes for a partition that goes alone.
CREATE SCHEMA truncate_test;
SET search_path = truncate_test, public;
SET client_min_messages = warning;
\pset null '~'

CREATE TABLE package (id int PRIMARY KEY, name text);
CREATE TABLE file (id serial PRIMARY KEY, package_id int REFERENCES package, name text);
CREATE TABLE visit (id int, day date, name text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE visit_01 PARTITION OF visit FOR VALUES FROM ('2022-01-01') TO ('2022-02-01');
CREATE TABLE visit_02 PARTITION OF visit FOR VALUES FROM ('2022-02-01') TO ('2022-03-01') PARTITION BY LIST (id);
CREATE TABLE visit_02_a PARTITION OF visit_02 FOR VALUES IN (1);
CREATE TABLE visit_02_b PARTITION OF visit_02 DEFAULT;
SELECT apex.attach('package', apex.graph('Package', ARRAY['name']));
SELECT apex.attach('file', apex.graph('File', ARRAY['name']), aggregate => 'package_id');
SELECT apex.attach('visit', apex.graph('Visit', ARRAY['name']));

-- Shows what was captured since the last call.
CREATE TABLE shown (seq bigint);
INSERT INTO shown SELECT coalesce(max(seq), 0) FROM apex.outbox;
CREATE FUNCTION news() RETURNS TABLE (op "char", tab oid, key jsonb, before text, after text) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT e.op, e.relation, e.key, e.before ->> 'name', e.after ->> 'name' FROM apex.outbox e
                WHERE e.seq > (SELECT s.seq FROM shown s) ORDER BY e.seq;
  UPDATE shown s SET seq = (SELECT max(e.seq) FROM apex.outbox e);
END
$$;

SELECT tgrelid::regclass, tgname, tgenabled, tgtype & 2 <> 0 AS before FROM pg_trigger
 WHERE tgfoid = 'apex.capture_truncate()'::regprocedure ORDER BY tgrelid::regclass::text, 2;

-- One event, whatever the table holds, and nothing of the rows
INSERT INTO package SELECT n, 'p' || n FROM generate_series(1, 1000) n;
SELECT count(*) FROM news();
TRUNCATE file;
SELECT op, tab::regclass, key, before, after FROM news();
SELECT e.aggregate_relation, e.aggregate_key, e.embedding, e.error, e.mapping = m.id AS mapping
  FROM apex.outbox e JOIN apex.mapping m ON m.relation = e.relation AND m.active WHERE e.op = 'T';

-- Several tables, CASCADE, RESTART IDENTITY
TRUNCATE package;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM news();
TRUNCATE package CASCADE;
SELECT op, tab::regclass, key FROM news();
INSERT INTO package VALUES (1, 'one');
INSERT INTO file (package_id, name) VALUES (1, 'first');
TRUNCATE file, package RESTART IDENTITY;
INSERT INTO package VALUES (1, 'again');
INSERT INTO file (package_id, name) VALUES (1, 'again');
SELECT op, tab::regclass, key, after FROM news();

-- Among other changes of its transaction it keeps its place
BEGIN;
UPDATE package SET name = 'before' WHERE id = 1;
INSERT INTO file (package_id, name) VALUES (1, 'before');
TRUNCATE file, package;
INSERT INTO package VALUES (1, 'after');
COMMIT;
SELECT op, tab::regclass, key, before, after FROM news();

-- Rolled back it leaves nothing, in savepoints as well
BEGIN;
TRUNCATE file, package;
ROLLBACK;
BEGIN;
SAVEPOINT s;
TRUNCATE file, package;
ROLLBACK TO s;
INSERT INTO package VALUES (2, 'kept');
SAVEPOINT s;
TRUNCATE file;
RELEASE s;
INSERT INTO file (package_id, name) VALUES (2, 'kept, too');
COMMIT;
SELECT op, tab::regclass, key, after FROM news();

-- What is applied by replication counts
SET session_replication_role = replica;
TRUNCATE file;
SET session_replication_role = origin;
SELECT op, tab::regclass, key FROM news();

-- Other triggers of the statement: what they write before the rows go is gone, what they write after that is there
CREATE FUNCTION write_package() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO truncate_test.package VALUES (TG_ARGV[0]::int, TG_WHEN || ' ' || TG_NAME);
  RETURN NULL;
END
$$;
CREATE TRIGGER a BEFORE TRUNCATE ON package EXECUTE FUNCTION write_package(10);
CREATE TRIGGER z BEFORE TRUNCATE ON package EXECUTE FUNCTION write_package(11);
CREATE TRIGGER a_after AFTER TRUNCATE ON package EXECUTE FUNCTION write_package(12);
CREATE TRIGGER z_after AFTER TRUNCATE ON package EXECUTE FUNCTION write_package(13);
TRUNCATE package CASCADE;
SELECT * FROM package ORDER BY id;
SELECT op, tab::regclass, key, after FROM news();
DROP TRIGGER a ON package;
DROP TRIGGER z ON package;
DROP TRIGGER a_after ON package;
DROP TRIGGER z_after ON package;

-- A partition alone: its rows are deleted one by one
INSERT INTO visit VALUES (1, '2022-01-01', 'a'), (2, '2022-01-02', 'b'), (1, '2022-02-01', 'c'), (2, '2022-02-01', 'd');
SELECT count(*) FROM news();
TRUNCATE visit_01;
SELECT op, tab::regclass, key, before FROM news();
-- One that is divided further: everything below it
TRUNCATE visit_02;
SELECT op, tab::regclass, key, before FROM news() ORDER BY key;
-- The whole table: one event again, also after a TRUNCATE that failed on its way
INSERT INTO visit VALUES (1, '2022-01-01', 'a'), (1, '2022-02-01', 'c');
SELECT count(*) FROM news();
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this time'; END $$;
CREATE TRIGGER fail BEFORE TRUNCATE ON visit_02_b EXECUTE FUNCTION fail();
BEGIN;
SAVEPOINT s;
TRUNCATE visit;
ROLLBACK TO s;
DROP TRIGGER fail ON visit_02_b;
TRUNCATE visit_02_a;
TRUNCATE visit;
INSERT INTO visit VALUES (1, '2022-02-01', 'anew');
COMMIT;
SELECT op, tab::regclass, key, before, after FROM news();
-- A partition that is named before its table is captured twice
INSERT INTO visit VALUES (1, '2022-01-01', 'a');
TRUNCATE visit_01, visit;
SELECT op, tab::regclass, key FROM news();
-- Partitions that come later, and that leave
CREATE TABLE visit_03 PARTITION OF visit FOR VALUES FROM ('2022-03-01') TO ('2022-04-01');
INSERT INTO visit VALUES (1, '2022-03-01', 'late');
TRUNCATE visit_03;
ALTER TABLE visit DETACH PARTITION visit_03;
INSERT INTO visit_03 VALUES (1, '2022-03-01', 'on its own');
TRUNCATE visit_03;
SELECT op, tab::regclass, key FROM news();

-- A table that inherits is a table of its own
CREATE TABLE odd (extra text) INHERITS (package);
INSERT INTO odd VALUES (1, 'child');
TRUNCATE ONLY package, file;
SELECT count(*) FROM odd;
SELECT op, tab::regclass, key FROM news();
DROP TABLE odd;

-- A checkpoint takes everything that was parked of the table before
INSERT INTO apex.saga (id, pipeline, state, relation, key, xids, steps, failed_step, error_type, native_code, error)
  SELECT format('00000000-0000-0000-0000-0000000000a%s', n)::uuid, 'default', 'parked', 'package', jsonb_build_array(n), '{7}', '{}', 'write_qdrant', 'refused', 'X', 'wrong'
    FROM generate_series(1, 2) n;
INSERT INTO apex.saga_row VALUES ('00000000-0000-0000-0000-0000000000a1', 'package', '[1]', 1, 50, 40, NULL, NULL),
  ('00000000-0000-0000-0000-0000000000a2', 'package', '[2]', 1, 60, 40, NULL, NULL), ('00000000-0000-0000-0000-0000000000a2', 'visit', '[2]', 1, 50, 40, NULL, NULL);
SELECT epoch FROM apex.lead('default', 'test', 60000) \gset
SELECT apex.checkpoint('default', :epoch, 0, jsonb_build_array(jsonb_build_object('relation', 'package'::regclass::oid::int, 'key', '[]'::jsonb, 'seq', 60)), false);
SELECT relation, key FROM apex.saga_row ORDER BY relation::text, 2;
SELECT id FROM apex.saga ORDER BY 1;

-- Detached, it is nobody's business; with the triggers alone it is not captured, and somebody is told
SELECT apex.detach('file');
TRUNCATE file;
SELECT count(*) FROM news();
CREATE TRIGGER apex_truncate AFTER TRUNCATE ON file EXECUTE FUNCTION apex.capture_truncate();
TRUNCATE file;
SELECT count(*) FROM news();
CREATE TRIGGER wrong AFTER INSERT ON file EXECUTE FUNCTION apex.capture_truncate();
INSERT INTO file (name) VALUES ('x');
\echo :LAST_ERROR_SQLSTATE

DELETE FROM apex.saga;
SELECT apex.detach(relation) FROM apex.mapping WHERE active;
DROP SCHEMA truncate_test CASCADE;
