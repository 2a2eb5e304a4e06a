-- What somebody who owns a table, and nothing else, tries in order to run code as the extension's owner, to read the outbox or
-- to write events of their own.
CREATE ROLE regress_apex_mallory;
CREATE ROLE regress_apex_victim;
CREATE SCHEMA security_test;
GRANT USAGE, CREATE ON SCHEMA security_test TO regress_apex_mallory, regress_apex_victim;
SET search_path = security_test, public;
SET client_min_messages = warning;
\pset null '~'

-- ---- Code of the owner, wherever PostgreSQL may run some ----

-- Speaks up as soon as anybody but the table's owner runs it.
CREATE FUNCTION spy(place text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF current_user <> 'regress_apex_mallory' THEN
    RAISE WARNING '% runs as another', place;
  END IF;
  RETURN true;
END
$$;
ALTER FUNCTION spy OWNER TO regress_apex_mallory;
SET ROLE regress_apex_mallory;
SET search_path = security_test, public;
CREATE DOMAIN spied AS int CHECK (security_test.spy('domain'));
CREATE DOMAIN spied_text AS text COLLATE "C" CHECK (security_test.spy('domain of text'));
CREATE FUNCTION spy_default() RETURNS int LANGUAGE sql AS $$ SELECT 1 WHERE security_test.spy('default') $$;
CREATE TABLE trap (
  id spied PRIMARY KEY,
  name spied_text DEFAULT 'x' CHECK (security_test.spy('check')),
  n int DEFAULT spy_default() CHECK (n > 0 AND security_test.spy('another check')),
  made text GENERATED ALWAYS AS (CASE WHEN security_test.spy('generated column') THEN 'made' END) STORED,
  -- Computed when a plan is made, by whoever makes one.
  CONSTRAINT folded CHECK (id > CASE WHEN security_test.spy('constant in a check') THEN 0 END));
CREATE INDEX ON trap ((name || CASE WHEN security_test.spy('constant in an index') THEN '' END));
CREATE INDEX ON trap (id) WHERE id > CASE WHEN security_test.spy('constant in a predicate') THEN 0 END;
CREATE INDEX ON trap ((security_test.spy(name)));
CREATE STATISTICS trap_statistics ON (security_test.spy(name)), n FROM trap;
ALTER TABLE trap ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY everything ON trap USING (security_test.spy('policy')) WITH CHECK (security_test.spy('policy'));
CREATE FUNCTION spy_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM security_test.spy('trigger ' || TG_NAME); RETURN NEW; END $$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE ON trap FOR EACH ROW EXECUTE FUNCTION spy_trigger();
CREATE TRIGGER zz_after_row AFTER INSERT OR UPDATE ON trap FOR EACH ROW EXECUTE FUNCTION spy_trigger();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR UPDATE ON trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spy_trigger();
CREATE TABLE part_of_trap (id int PRIMARY KEY, trap_id spied REFERENCES trap ON DELETE CASCADE ON UPDATE CASCADE);
CREATE INDEX ON part_of_trap ((trap_id + CASE WHEN security_test.spy('constant of a referring table') THEN 0 END));

INSERT INTO trap VALUES (1, 'there before');

-- The spy works. What is computed for a plan is kept for the session, hence a new one wherever it could be computed by another.
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
EXPLAIN (COSTS OFF) SELECT count(*) FROM trap;

\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
-- Attached, captured, refreshed, sent again and detached by a superuser and by the owner, nothing speaks up.
SET ROLE regress_apex_mallory;
SELECT apex.attach('trap', apex.graph('Trap', ARRAY['name', 'n', 'made']), on_failure => 'revert', backfill => true, pipeline => 'security_test');
SELECT apex.attach('part_of_trap', apex.graph('PartOfTrap'), aggregate => 'trap_id', on_failure => 'revert', pipeline => 'security_test');
INSERT INTO trap VALUES (2, 'captured');
UPDATE trap SET name = 'changed' WHERE id = 2;
INSERT INTO part_of_trap VALUES (1, 2);
INSERT INTO trap VALUES (4, 'to be taken back');
SELECT apex.refresh('trap', '1') > 0 AS drawn;
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT apex.refresh('trap', '1') > 0 AS drawn, apex.refresh('trap', '3') > 0 AS drawn_of_none;
SELECT epoch FROM apex.lead('security_test', 'regress', 60000) \gset
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT rows_sent FROM apex.backfill_step('security_test', :epoch, 100);
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT count(*) FROM apex.verify_page('trap', NULL, NULL, 100);
SELECT count(*) FROM apex.verify_rows('trap', '[[1], [77], ["x"]]');
SELECT count(*) FROM apex.refresh_rows('trap', '[[1], [77]]');
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT apex.alter('part_of_trap', cache => apex.cache('part_of_trap'));
-- Sagas that are taken back by an UPDATE and by a DELETE
SELECT count(*) AS recorded FROM apex.outbox o, apex.record_failure('security_test', :epoch, jsonb_build_object(
    'id', '00000000-0000-0000-0000-00000000000' || (o.key ->> 0), 'relation', o.relation::bigint, 'key', o.key, 'xids', jsonb_build_array(o.xid::text),
    'steps', '[]'::jsonb, 'failed_step', 'write_neo4j', 'error_type', 'permanent', 'native_code', '', 'error', 'refused', 'events', jsonb_build_array(o.seq),
    'rows', jsonb_build_array(jsonb_build_object('relation', o.relation::bigint, 'key', o.key, 'mapping', o.mapping,
                                                 'failed_seq', o.seq, 'first_seq', o.seq, 'oldest_seq', o.seq))))
 WHERE o.relation = 'trap'::regclass AND (o.op = 'U' OR o.op = 'I' AND o.key = '[4]');
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT apex.settle_failure('security_test', :epoch, '00000000-0000-0000-0000-000000000004', 'parked');
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT apex.settle_failure('security_test', :epoch, '00000000-0000-0000-0000-000000000002', 'parked');
SELECT id, resolution, resolution_error FROM apex.saga WHERE pipeline = 'security_test' ORDER BY id;
SELECT apex.retry('00000000-0000-0000-0000-000000000002');
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
-- Read by apex verify, sent again by apex repair, mapped another way
SELECT count(*) FROM apex.verify_page('trap', NULL, NULL, 10);
SELECT count(*) FROM apex.verify_rows('trap', '[[1], [9]]');
SELECT count(*) FROM apex.refresh_rows('trap', '[[1], [9]]');
SELECT apex.alter('trap', apex.graph('Trap', ARRAY['name', 'n']), backfill => true);
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT apex.detach('part_of_trap'), apex.detach('trap', purge => true);
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
SELECT apex.attach('trap', apex.graph('Trap'), pipeline => 'security_test'), apex.detach('trap');

-- Partitions, which an event trigger looks at
SET ROLE regress_apex_mallory;
CREATE TABLE traps (id spied, name spied_text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE traps_1 PARTITION OF traps (CHECK (id > CASE WHEN security_test.spy('constant of a partition') THEN 0 END)) FOR VALUES FROM (1) TO (10);
CREATE INDEX ON traps ((name || CASE WHEN security_test.spy('constant of a partitioned index') THEN '' END));
SELECT apex.attach('traps', apex.graph('Traps', ARRAY['name']));
INSERT INTO traps VALUES (1, 'x');
ALTER TABLE traps DETACH PARTITION traps_1;
ALTER TABLE traps ATTACH PARTITION traps_1 FOR VALUES FROM (1) TO (10);
\c -
SET search_path = security_test, public;
SET client_min_messages = warning;
DROP TABLE traps_1;
SELECT op, key FROM apex.outbox WHERE relation = 'traps'::regclass ORDER BY seq;

-- ---- Objects that look like ours or like PostgreSQL's ----

SET ROLE regress_apex_mallory;
CREATE FUNCTION security_test.jsonb_build_object(VARIADIC text[]) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM security_test.spy('a function'); RETURN '{}'; END $$;
CREATE FUNCTION security_test.format(text, regclass) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM security_test.spy('format'); RETURN $1; END $$;
CREATE FUNCTION security_test.same(name, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM security_test.spy('an operator'); RETURN true; END $$;
CREATE OPERATOR security_test.= (LEFTARG = name, RIGHTARG = text, FUNCTION = security_test.same);
CREATE TEMP TABLE mapping (id int, relation oid, active bool);
CREATE TEMP TABLE pg_attribute (attrelid oid, attname name, attnum int2, attisdropped bool);
CREATE TABLE plain (id int PRIMARY KEY, name text);
SET search_path = security_test, pg_temp, pg_catalog;
SELECT apex.attach('plain', apex.graph('Plain', ARRAY['name']));
INSERT INTO plain VALUES (1, 'x');
ALTER TABLE plain RENAME name TO title;
SELECT apex.refresh('plain', '1') > 0 AS drawn;
SELECT apex.detach('plain');
SET search_path = security_test, public;
DROP TABLE pg_temp.mapping, pg_temp.pg_attribute;
RESET ROLE;

-- ---- Names that are code where they are not quoted ----

SET ROLE regress_apex_mallory;
CREATE TABLE "t""; SELECT security_test.spy('x'); --" ("id'); DROP TABLE x; --" int PRIMARY KEY, "a"" b$$" text, "{" text, "%s%I" text, "ä\u0041" text, ref int);
ALTER TABLE "t""; SELECT security_test.spy('x'); --" ADD CONSTRAINT "c'; --" FOREIGN KEY (ref) REFERENCES "t""; SELECT security_test.spy('x'); --";
SELECT apex.attach('"t""; SELECT security_test.spy(''x''); --"', apex.graph('L`"''\u0027', ARRAY['a" b$$', '{', '%s%I', 'ä\u0041'], ARRAY[apex.relation('R` "''', 'ref')]),
                   cache => apex.cache('odd', entry => 'odd:{id''); DROP TABLE x; --}', invalidate => '{}'));
INSERT INTO "t""; SELECT security_test.spy('x'); --" VALUES (1, 'a', 'b', 'c', 'd', 1);
ALTER TABLE "t""; SELECT security_test.spy('x'); --" RENAME "%s%I" TO "'||x||'";
SELECT apex.refresh('"t""; SELECT security_test.spy(''x''); --"', '1') > 0 AS drawn;
RESET ROLE;
SELECT o.op, o.key, o.after FROM apex.outbox o JOIN apex.mapping m ON m.id = o.mapping WHERE m.spec #>> '{cache,entity}' = 'odd' ORDER BY o.seq;
SELECT apex.detach('"t""; SELECT security_test.spy(''x''); --"');
SET ROLE regress_apex_mallory;
SET apex.traceparent = 'x''; DROP TABLE apex.outbox; --';
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- ---- Somebody else's table, and the outbox ----

SET ROLE regress_apex_victim;
CREATE TABLE secret (id int PRIMARY KEY, word text);
CREATE TABLE secrets (id int PRIMARY KEY, word text) PARTITION BY RANGE (id);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
SELECT apex.attach('secret', apex.graph('Secret', ARRAY['word'])), apex.attach('secrets', apex.graph('Secrets', ARRAY['word']));
INSERT INTO secret VALUES (1, 'hidden');
GRANT INSERT, REFERENCES ON secret TO regress_apex_mallory;
CREATE POLICY write_only ON secret FOR INSERT WITH CHECK (true);
RESET ROLE;

CREATE FUNCTION tried(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RETURN 'done: ' || statement;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SET ROLE regress_apex_mallory;
CREATE TABLE mine (id int PRIMARY KEY, word text);
SELECT tried(statement) FROM (VALUES
  -- Reading
  ('SELECT * FROM apex.outbox'), ('SELECT * FROM apex.mapping'), ('SELECT * FROM apex.saga_event'), ('CREATE TABLE x AS TABLE apex.outbox'),
  ('SELECT * FROM apex.batch_events(NULL, 0, 0, 0)'), ('SELECT * FROM apex.read_piece(''default'', 0, 0, 10)'), ('SELECT apex.status()'),
  ('SELECT apex.refresh(''secret'', ''1'')'), ('SELECT apex.backfill(''secret'')'), ('SELECT apex.grant_sidecar(''regress_apex_mallory'')'),
  -- Writing events, mappings and positions
  ('INSERT INTO apex.mapping (relation, relation_oid, pipeline, on_failure, spec) VALUES (''mine'', 0, ''default'', ''park'', ''{}'')'),
  ('UPDATE apex.pipeline SET position = 0'), ('SELECT setval(''apex.outbox_seq'', 1)'), ('SELECT nextval(''apex.outbox_seq'')'), ('SELECT apex.rotate()'),
  ('SELECT apex.capture_rows(''secret'', ''D'')'), ('SELECT apex.lead(''default'', ''mallory'', 0)'), ('SELECT apex.as_owner(''secret'', ''SELECT 1'')'),
  ('CREATE TRIGGER x BEFORE TRUNCATE ON mine EXECUTE FUNCTION apex.refuse_truncate()'),
  ('ALTER FUNCTION apex.capture() OWNER TO regress_apex_mallory'), ('CREATE OR REPLACE FUNCTION apex.capture() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NULL; END'''),
  ('CREATE FUNCTION apex.mine() RETURNS int LANGUAGE sql AS ''SELECT 1'''), ('ALTER EVENT TRIGGER apex_follow_renames DISABLE'),
  ('SELECT apex.follow_partitions()'), ('SELECT apex.follow_truncate(''secret'')'), ('SELECT apex.unfollow_truncate(''secret'')'),
  -- Somebody else's table
  ('SELECT apex.attach(''secret'', apex.graph(''Mine''))'), ('SELECT apex.detach(''secret'')'), ('SELECT apex.detach_table(''secret'', false)'),
  ('ALTER TABLE secret DISABLE TRIGGER apex_capture'), ('DROP TABLE secret'), ('ALTER TABLE secret RENAME word TO w'),
  ('ALTER TABLE secrets ATTACH PARTITION mine FOR VALUES FROM (1) TO (2)'),
  ('SELECT apex.attach(''mine'', apex.graph(''Secret''))')) t(statement);
-- The trigger by itself captures nothing: a table without a mapping has no events.
CREATE TRIGGER apex_capture AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION apex.capture();
CREATE TRIGGER with_arguments AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION apex.capture('secret', '[1]');
INSERT INTO mine VALUES (1, 'forged');
SELECT apex.capture();
SELECT * FROM secret;
INSERT INTO secret VALUES (2, 'may be written, and is captured');
RESET ROLE;
SELECT op, key, after FROM apex.outbox WHERE relation = 'secret'::regclass ORDER BY seq;
SELECT count(*) FROM apex.outbox WHERE relation = 'mine'::regclass;

-- ---- Tables whose rows are elsewhere ----

CREATE FOREIGN DATA WRAPPER security_test_fdw;
CREATE SERVER security_test_server FOREIGN DATA WRAPPER security_test_fdw;
GRANT USAGE ON FOREIGN SERVER security_test_server TO regress_apex_mallory;
SET ROLE regress_apex_mallory;
CREATE TABLE far (id int, word text) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE far_1 PARTITION OF far FOR VALUES FROM (1) TO (2) SERVER security_test_server;
SELECT tried('SELECT apex.attach(''far'', apex.graph(''Far''))');
DROP FOREIGN TABLE far_1;
ALTER TABLE far ADD PRIMARY KEY (id);
SELECT apex.attach('far', apex.graph('Far'));
CREATE UNLOGGED TABLE far_2 (id int NOT NULL, word text);
CREATE FOREIGN TABLE far_3 (id int NOT NULL, word text) SERVER security_test_server;
SELECT tried(statement) FROM (VALUES
  ('CREATE UNLOGGED TABLE far_4 PARTITION OF far FOR VALUES FROM (1) TO (2)'),
  ('ALTER TABLE far ATTACH PARTITION far_2 FOR VALUES FROM (1) TO (2)')) t(statement);
SELECT tried(statement) ~ '^(42809|42P17)' AS refused FROM (VALUES
  ('CREATE FOREIGN TABLE far_5 PARTITION OF far FOR VALUES FROM (1) TO (2) SERVER security_test_server'),
  ('ALTER TABLE far ATTACH PARTITION far_3 FOR VALUES FROM (1) TO (2)')) t(statement);
RESET ROLE;

\o /dev/null
SELECT apex.detach(relation) FROM apex.mapping
 WHERE active AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'security_test'::regnamespace) ORDER BY id DESC;
\o
DELETE FROM apex.saga WHERE pipeline = 'security_test';
DELETE FROM apex.pipeline WHERE name = 'security_test';
DROP FOREIGN DATA WRAPPER security_test_fdw CASCADE;
DROP SCHEMA security_test CASCADE;
DROP OWNED BY regress_apex_mallory, regress_apex_victim;
DROP ROLE regress_apex_mallory, regress_apex_victim;
