-- Which changes become events, with which images.
CREATE SCHEMA capture_test;
SET search_path = capture_test, public;
SET client_min_messages = warning;
\pset null '~'
SELECT last_value AS start FROM apex.outbox_seq \gset

CREATE VIEW events AS
  SELECT row_number() OVER (ORDER BY seq) AS n, relation::regclass, op, key, before, after,
         embedding, old_embedding, error FROM apex.outbox WHERE relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'capture_test'::regnamespace);
-- Shows what was captured since the last call.
CREATE SEQUENCE shown;
CREATE FUNCTION news() RETURNS TABLE (op "char", key jsonb, before jsonb, after jsonb) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT e.op, e.key, e.before, e.after FROM events e WHERE e.n >= (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM shown) + 1 ORDER BY e.n;
  PERFORM setval('shown', greatest((SELECT count(*) FROM events), 1), (SELECT count(*) > 0 FROM events));
END
$$;

CREATE TABLE item (id int PRIMARY KEY, name text, note text, unmapped text, embedding real[]);
SELECT apex.attach('item', apex.graph('Item', ARRAY['name', 'note']), apex.vector('items', 'embedding', 2));

-- INSERT, UPDATE, DELETE
INSERT INTO item VALUES (1, 'one', NULL, 'x', '{1,2}'), (2, 'two', 'n', 'y', NULL);
UPDATE item SET name = 'uno' WHERE id = 1;
DELETE FROM item WHERE id = 2;
SELECT * FROM news();

-- Nothing when no mapped column changed
UPDATE item SET unmapped = 'z', name = name, note = NULL;
SELECT * FROM news();

-- An UPDATE from and to NULL
UPDATE item SET note = '';
UPDATE item SET note = NULL;
SELECT * FROM news();

-- A change of primary key is a delete and an insert
UPDATE item SET id = 10, name = 'moved';
SELECT * FROM news();

-- ON CONFLICT: an insert, an update, and nothing
INSERT INTO item VALUES (11, 'a') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO item VALUES (11, 'b') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO item VALUES (11, 'c') ON CONFLICT DO NOTHING;
SELECT * FROM news();

-- MERGE
MERGE INTO item USING (VALUES (11, 'm'), (12, 'm')) v(id, name) ON item.id = v.id
  WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name);
SELECT * FROM news();

-- COPY
COPY item (id, name) FROM STDIN;
20	copied
21	`back` "quotes" 'and' \\ бэ 漢字 🙂
\.
SELECT * FROM news();

-- A rolled back transaction, savepoint or block leaves nothing
BEGIN;
INSERT INTO item VALUES (30, 'lost');
ROLLBACK;
BEGIN;
INSERT INTO item VALUES (31, 'kept');
SAVEPOINT s;
INSERT INTO item VALUES (32, 'lost');
UPDATE item SET name = 'lost' WHERE id = 31;
ROLLBACK TO s;
UPDATE item SET name = 'kept, too' WHERE id = 31;
COMMIT;
DO $$ BEGIN INSERT INTO item VALUES (33, 'lost'); RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END $$;
SELECT * FROM news();

-- PREPARE TRANSACTION
SELECT current_setting('max_prepared_transactions')::int > 0 AS two_phase \gset
\if :two_phase
BEGIN;
INSERT INTO item VALUES (34, 'prepared');
PREPARE TRANSACTION 'capture_test';
COMMIT PREPARED 'capture_test';
\else
INSERT INTO item VALUES (34, 'prepared');
\endif
SELECT * FROM news();

-- A constraint that fails leaves nothing
INSERT INTO item VALUES (1000, 'fine'), (34, 'duplicate');
SELECT * FROM news();

-- BEFORE triggers that change NEW: what is stored is captured
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION shout();
INSERT INTO item VALUES (40, 'quiet');
UPDATE item SET name = 'still quiet' WHERE id = 40;
SELECT * FROM news();
DROP TRIGGER shout ON item;

-- In every replication role
SET session_replication_role = replica;
INSERT INTO item VALUES (41, 'replicated');
RESET session_replication_role;
SELECT * FROM news();

-- The trace context and the version of the row
SET apex.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
INSERT INTO item VALUES (42);
RESET apex.traceparent;
SELECT traceparent, seq > :start AS later, xid = xid8(o.xid) AS has_xid, command, mapping = m.id AS names_mapping,
       captured_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS now
  FROM apex.outbox o JOIN apex.mapping m ON m.relation = 'item'::regclass WHERE o.relation = 'item'::regclass ORDER BY seq DESC LIMIT 1;
SELECT count(*) FROM news();

-- Keys: composite, text, and the order of the key's columns
CREATE TABLE composite (b text, a int, c bigint, PRIMARY KEY (a, b, c));
SELECT apex.attach('composite', apex.graph('Composite'));
INSERT INTO composite VALUES ('x"y', 1, 9223372036854775807);
UPDATE composite SET b = 'z';
DELETE FROM composite;
SELECT * FROM news();
CREATE TABLE keyed (at timestamptz, day date, flag bool, amount numeric, ratio float8, PRIMARY KEY (at, day, flag, amount, ratio));
SELECT apex.attach('keyed', apex.graph('Keyed'));
INSERT INTO keyed VALUES ('2022-02-22 19:22:22+00', '2022-02-22', true, 1.50, 0.1);
SELECT key FROM news();

-- Aggregates: the key of the row that the foreign key points at, NULL when it points at none
CREATE TABLE part (id int PRIMARY KEY, item_id int REFERENCES item, name text);
SELECT apex.attach('part', apex.graph('Part', ARRAY['name']), aggregate => 'item_id');
INSERT INTO part VALUES (1, 40), (2, NULL);
UPDATE part SET item_id = 41 WHERE id = 1;
DELETE FROM part;
SELECT op, key, aggregate_relation::regclass, aggregate_key FROM apex.outbox WHERE relation = 'part'::regclass ORDER BY seq;
SELECT count(*) FROM news();

-- Cascades are captured like any other change
ALTER TABLE part DROP CONSTRAINT part_item_id_fkey, ADD FOREIGN KEY (item_id) REFERENCES item ON DELETE CASCADE ON UPDATE CASCADE;
INSERT INTO part VALUES (3, 40);
UPDATE item SET id = 43 WHERE id = 40;
DELETE FROM item WHERE id = 43;
SELECT relation, op, key FROM events WHERE n > (SELECT last_value FROM shown) ORDER BY relation, n;
SELECT count(*) FROM news();

-- Partitioned tables: events name the parent; partitions may order their columns differently
CREATE TABLE parted (id int, name text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_high (name text, dropped int, id int NOT NULL);
ALTER TABLE parted_high DROP COLUMN dropped;
SELECT apex.attach('parted', apex.graph('Parted', ARRAY['name']));
ALTER TABLE parted ATTACH PARTITION parted_high FOR VALUES FROM (100) TO (200);
INSERT INTO parted VALUES (1, 'low'), (101, 'high');
INSERT INTO parted_high VALUES ('direct', 102);
UPDATE parted SET id = 103, name = 'moved up' WHERE id = 1;
UPDATE parted SET name = 'HIGH' WHERE id = 101;
DELETE FROM parted WHERE id = 102;
SELECT DISTINCT relation FROM events WHERE n > (SELECT last_value FROM shown);
SELECT * FROM news();

-- A generated column and one that was added with a default later
CREATE TABLE grown (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO grown VALUES (1);
ALTER TABLE grown ADD COLUMN late text DEFAULT 'default';
SELECT apex.attach('grown', apex.graph('Grown', ARRAY['twice', 'late']));
UPDATE grown SET id = 2;
SELECT * FROM news();

-- A renamed column or table is delivered under the name it was attached with
ALTER TABLE item RENAME COLUMN name TO title;
ALTER TABLE item RENAME TO thing;
INSERT INTO thing VALUES (50, 'renamed');
SELECT * FROM news();

-- A dropped mapped column, or one of another kind, makes events with the key and the reason, and never fails the write
ALTER TABLE thing ALTER COLUMN note TYPE bytea USING note::bytea;
UPDATE thing SET title = 'changed type' WHERE id = 50;
UPDATE thing SET note = 'alone' WHERE id = 50;
ALTER TABLE thing DROP COLUMN title;
INSERT INTO thing VALUES (51, 'note');
DELETE FROM thing WHERE id = 51;
SELECT op, key, before, after, embedding, error FROM events WHERE n > (SELECT last_value FROM shown) ORDER BY n;
SELECT count(*) FROM news();

-- Detached: nothing
SELECT apex.detach('part'), apex.detach('thing');
INSERT INTO thing VALUES (60);
SELECT * FROM news();

-- The trigger without a mapping warns once a session, and the write goes on
CREATE TABLE stray (id int PRIMARY KEY);
CREATE TRIGGER apex_capture AFTER INSERT ON stray FOR EACH ROW EXECUTE FUNCTION apex.capture();
INSERT INTO stray VALUES (1);
INSERT INTO stray VALUES (2);
CREATE TRIGGER wrong BEFORE INSERT ON stray FOR EACH ROW EXECUTE FUNCTION apex.capture();
INSERT INTO stray VALUES (3);

\o /dev/null
SELECT apex.detach(relation) FROM apex.mapping
 WHERE active AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'capture_test'::regnamespace) ORDER BY id DESC;
\o
DROP SCHEMA capture_test CASCADE;
