-- Partitions of an attached table that come and go with rows in them, and what may be done with their tables.
CREATE SCHEMA partitions_test;
CREATE SCHEMA partitions_elsewhere;
SET search_path = partitions_test, public;
SET client_min_messages = warning;
\pset null '~'

CREATE TABLE visit (id int, day date, name text, embedding real[], PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
SELECT 'visit'::regclass::oid AS visit \gset
CREATE VIEW events AS
  SELECT seq, op, key, before ->> 'name' AS before, after ->> 'name' AS after, encode(embedding, 'hex') AS embedding, encode(old_embedding, 'hex') AS old, error
    FROM apex.outbox WHERE relation = :visit;
-- Shows what was captured since the last call.
CREATE TABLE shown (seq bigint);
INSERT INTO shown VALUES (0);
CREATE FUNCTION news() RETURNS TABLE (op "char", key jsonb, before text, after text, embedding text, old text, error text) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT e.op, e.key, e.before, e.after, e.embedding, e.old, e.error FROM events e WHERE e.seq > (SELECT s.seq FROM shown s) ORDER BY e.seq;
  UPDATE shown s SET seq = coalesce((SELECT max(e.seq) FROM events e), 0);
END
$$;

CREATE TABLE visit_01 PARTITION OF visit FOR VALUES FROM ('2022-01-01') TO ('2022-02-01');
CREATE TABLE visit_02 (name text, gone int, id int NOT NULL, embedding real[], day date NOT NULL);
ALTER TABLE visit_02 DROP COLUMN gone;
SELECT apex.attach('visit', apex.graph('Visit', ARRAY['name']), apex.vector('visits', 'embedding', 2));

-- ATTACH: the rows that come along are sent as they are. A partition that is made empty has none.
INSERT INTO visit_02 VALUES ('came along', 1, '{1,2}', '2022-02-01'), ('too', 2, NULL, '2022-02-02');
ALTER TABLE visit ATTACH PARTITION visit_02 FOR VALUES FROM ('2022-02-01') TO ('2022-03-01');
SELECT * FROM news();
CREATE TABLE visit_03 PARTITION OF visit FOR VALUES FROM ('2022-03-01') TO ('2022-04-01');
SELECT * FROM news();
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgrelid IN ('visit_02'::regclass, 'visit_03'::regclass) ORDER BY 1, 2;

-- Rows that are routed, and moved between partitions by an UPDATE of the key, of its other columns, and by MERGE
INSERT INTO visit VALUES (1, '2022-01-05', 'routed', '{1,2}'), (1, '2022-03-05', 'later partition', NULL);
UPDATE visit SET day = '2022-03-06', embedding = '{3,4}' WHERE name = 'routed';
INSERT INTO visit VALUES (1, '2022-03-05', 'conflict') ON CONFLICT (day, id) DO UPDATE SET name = excluded.name;
MERGE INTO visit USING (VALUES (date '2022-03-05'), ('2022-01-07')) v(day) ON visit.day = v.day
  WHEN MATCHED THEN UPDATE SET day = '2022-01-06' WHEN NOT MATCHED THEN INSERT (id, day, name) VALUES (2, v.day, 'merged');
COPY visit (id, day, name) FROM STDIN;
9	2022-01-09	copied
\.
SELECT * FROM news();

-- DETACH: the rows are no longer the table's; the table that is left is one like any other
ALTER TABLE visit DETACH PARTITION visit_02;
SELECT * FROM news();
SELECT count(*) FROM visit_02;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'visit_02'::regclass;
INSERT INTO visit_02 VALUES ('on its own', 3, NULL, '2022-02-03');
TRUNCATE visit_02;
SELECT * FROM news();

-- One that is rolled back leaves nothing
BEGIN;
ALTER TABLE visit DETACH PARTITION visit_03;
SAVEPOINT s;
DROP TABLE visit_01;
ROLLBACK TO s;
ROLLBACK;
SELECT * FROM news();

-- What the transaction changed itself counts
BEGIN;
UPDATE visit SET name = 'changed before' WHERE day = '2022-03-06';
INSERT INTO visit VALUES (5, '2022-03-09', 'and gone');
ALTER TABLE visit DETACH PARTITION visit_03;
INSERT INTO visit_03 VALUES (6, '2022-03-10', 'alone');
ALTER TABLE visit ATTACH PARTITION visit_03 FOR VALUES FROM ('2022-03-01') TO ('2022-04-01');
UPDATE visit SET name = 'changed after' WHERE day = '2022-03-06';
COMMIT;
SELECT * FROM news();
-- Each row's last event is what the table holds.
SELECT count(*) AS rows, bool_and(last.op IN ('I', 'U', 'R') AND last.after = v.name) AS agree
  FROM visit v CROSS JOIN LATERAL (SELECT e.op, e.after FROM events e WHERE e.key = jsonb_build_array(v.day, v.id) ORDER BY e.seq DESC LIMIT 1) last;
-- In one transaction events are ordered by command, then version.
SELECT bool_and(command >= previous) AS in_order
  FROM (SELECT command, lag(command) OVER (PARTITION BY xid ORDER BY seq) AS previous FROM apex.outbox WHERE relation = :visit) o;

-- It would have to be seen at one moment
ALTER TABLE visit DETACH PARTITION visit_03 CONCURRENTLY;
\echo :LAST_ERROR_SQLSTATE

-- Sub-partitioned: attached, detached and dropped with all that is below
CREATE TABLE visit_04 (LIKE visit) PARTITION BY LIST (id);
CREATE TABLE visit_04_a PARTITION OF visit_04 FOR VALUES IN (1, 2);
CREATE TABLE visit_04_b PARTITION OF visit_04 DEFAULT;
INSERT INTO visit_04 VALUES (1, '2022-04-01', 'a'), (9, '2022-04-01', 'b');
ALTER TABLE visit ATTACH PARTITION visit_04 FOR VALUES FROM ('2022-04-01') TO ('2022-05-01');
SELECT * FROM news() ORDER BY key;
ALTER TABLE visit_04 DETACH PARTITION visit_04_a;
SELECT * FROM news();
DROP TABLE visit_04;
SELECT * FROM news();

-- DROP TABLE of partitions, in any way they can be dropped
CREATE TABLE visit_05 PARTITION OF visit FOR VALUES FROM ('2022-05-01') TO ('2022-06-01');
CREATE TABLE visit_06 PARTITION OF visit FOR VALUES FROM ('2022-06-01') TO ('2022-07-01');
CREATE TABLE partitions_elsewhere.visit_07 PARTITION OF visit FOR VALUES FROM ('2022-07-01') TO ('2022-08-01');
INSERT INTO visit SELECT 1, day, 'in ' || to_char(day, 'Mon') FROM generate_series(date '2022-05-01', '2022-07-01', '1 month') day;
SELECT count(*) FROM news();
DROP TABLE visit_05, nonesuch;
DROP TABLE IF EXISTS nonesuch, visit_05, visit_06 CASCADE;
SELECT * FROM news();
DROP SCHEMA partitions_elsewhere;
DROP SCHEMA partitions_elsewhere CASCADE;
SELECT * FROM news();
CREATE ROLE regress_apex_leaf;
CREATE TABLE visit_08 PARTITION OF visit FOR VALUES FROM ('2022-08-01') TO ('2022-09-01');
INSERT INTO visit VALUES (1, '2022-08-01', 'owned');
ALTER TABLE visit_08 OWNER TO regress_apex_leaf;
DROP OWNED BY regress_apex_leaf;
SELECT * FROM news();
DROP ROLE regress_apex_leaf;

-- Nothing is done for a parent that is not there, nor for a table that is no partition
ALTER TABLE IF EXISTS nonesuch DETACH PARTITION visit_01;
ALTER TABLE visit DETACH PARTITION visit_02;
DROP TABLE visit_02;
SELECT * FROM news();

-- The whole table goes as any attached table does: what the stores hold stays there
CREATE TABLE visit_09 PARTITION OF visit FOR VALUES FROM ('2022-09-01') TO ('2022-10-01');
BEGIN;
DROP TABLE visit_09, visit;
SELECT * FROM news();
ROLLBACK;

-- Detached from apex, its partitions come and go unseen
SELECT apex.detach('visit');
ALTER TABLE visit DETACH PARTITION visit_03;
DROP TABLE visit_03, visit_01;
SELECT * FROM news();
SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relname ~ '^visit' AND tgname ~ '^apex';

DROP SCHEMA partitions_test CASCADE;
