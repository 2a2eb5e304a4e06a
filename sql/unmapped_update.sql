-- An UPDATE that can change no mapped column does not even fire the trigger; one that may change some does, however it does so.
CREATE SCHEMA unmapped_test;
SET search_path = unmapped_test, public;
SET client_min_messages = warning;
\pset null '~'

-- The triggers that a statement fires.
CREATE FUNCTION fired(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || statement LOOP
    IF line ~ '^ *Trigger' THEN
      RETURN NEXT btrim(line);
    END IF;
  END LOOP;
END
$$;
-- Shows what was captured since the last call.
CREATE TABLE shown (seq bigint);
INSERT INTO shown SELECT coalesce(max(seq), 0) FROM apex.outbox;
CREATE FUNCTION news() RETURNS TABLE (relation regclass, op "char", key jsonb, after jsonb) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT o.relation::regclass, o.op, o.key, o.after FROM apex.outbox o WHERE o.seq > (SELECT s.seq FROM shown s) ORDER BY o.seq;
  UPDATE shown s SET seq = (SELECT coalesce(max(o.seq), 0) FROM apex.outbox o);
END
$$;

CREATE TABLE author (id int PRIMARY KEY, name text, age int);
CREATE TABLE item (id int PRIMARY KEY, name text, views int DEFAULT 0, stock int DEFAULT 0,
                   twice int GENERATED ALWAYS AS (stock * 2) STORED, embedding real[], author_id int REFERENCES author ON UPDATE CASCADE);
SELECT apex.attach('author', apex.graph('Author', ARRAY['name']));
SELECT apex.attach('item', apex.graph('Item', ARRAY['name', 'twice']), apex.vector('items', 'embedding', 2), aggregate => 'author_id');
INSERT INTO author VALUES (1, 'Ann', 30), (2, 'Bob', 40);
INSERT INTO item VALUES (1, 'one', 0, 0, DEFAULT, '{1,2}', 1), (2, 'two', 0, 0, DEFAULT, NULL, 1);
SELECT count(*) FROM news();

-- Nothing that is mapped, alone and with what is
SELECT fired('UPDATE item SET views = views + 1');
SELECT fired('UPDATE item SET views = views + 1, name = name');
SELECT * FROM news();
SELECT fired('UPDATE item SET views = views + 1, name = ''changed'' WHERE id = 1');
SELECT fired('UPDATE item SET embedding = ''{3,4}'' WHERE id = 1');
SELECT fired('UPDATE item SET author_id = 2 WHERE id = 1');
SELECT fired('UPDATE item SET id = 3 WHERE id = 2');
SELECT * FROM news();

-- A generated column follows one that is not mapped
SELECT fired('UPDATE item SET stock = 5 WHERE id = 1');
SELECT * FROM news();

-- What else a statement writes has its generated columns, too
WITH new AS (INSERT INTO item (id, name, stock) VALUES (50, 'inserted', 4) RETURNING id) UPDATE author SET age = 31 FROM new WHERE author.id = 1;
WITH met AS (INSERT INTO item (id, name, stock) VALUES (50, 'met', 6), (51, 'inserted', 7)
               ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING item.id) UPDATE author SET age = 32 FROM met WHERE author.id = 1;
WITH met AS (INSERT INTO item (id, name, stock) VALUES (50, 'met', 9), (52, 'inserted', 8)
               ON CONFLICT (id) DO UPDATE SET stock = excluded.stock RETURNING item.id) UPDATE author SET age = 33 FROM met WHERE author.id = 1;
SELECT id, stock, twice FROM item WHERE id >= 50 ORDER BY id;
SELECT * FROM news();
DELETE FROM item WHERE id >= 50;
SELECT count(*) FROM news();

-- Prepared, in a function, through a view, in a writing CTE, with a subquery
PREPARE see AS UPDATE item SET views = views + $1;
EXECUTE see(1);
EXECUTE see(1);
PREPARE rename AS UPDATE item SET name = $1 WHERE id = 1;
EXECUTE rename('prepared');
DO $$ BEGIN UPDATE item SET views = 0; UPDATE item SET name = 'in a function' WHERE id = 1; END $$;
CREATE VIEW seen AS SELECT id AS number, name AS title, views AS looks FROM item WHERE id < 100;
SELECT fired('UPDATE seen SET looks = 7');
SELECT fired('UPDATE seen SET title = ''through a view'' WHERE number = 1');
WITH found AS (UPDATE item SET views = 8 RETURNING id), named AS (UPDATE author SET name = 'CTE' WHERE id = 1 RETURNING id) SELECT count(*) FROM found, named;
WITH named AS (UPDATE author SET name = 'CTE of an UPDATE' WHERE id = 1 RETURNING id) UPDATE item SET views = 9 FROM named;
UPDATE item SET (views, name) = (SELECT age, 'subquery' FROM author WHERE id = 2) WHERE id = 1;
SELECT * FROM news();

-- ON CONFLICT and MERGE
INSERT INTO item (id, name) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET views = 10;
INSERT INTO item (id, name) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET name = 'conflicting';
MERGE INTO item USING (VALUES (1), (9)) AS s (id) ON item.id = s.id
  WHEN MATCHED THEN UPDATE SET views = 11 WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'merged');
MERGE INTO item USING (VALUES (1)) AS s (id) ON item.id = s.id WHEN MATCHED THEN UPDATE SET name = 'merged';
SELECT * FROM news();

-- What cascades is a statement of its own; other triggers of the table are fired as ever
SELECT fired('UPDATE author SET id = 20 WHERE id = 2');
SELECT fired('UPDATE author SET age = 41 WHERE id = 20');
CREATE FUNCTION says() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER after_row AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION says();
CREATE TRIGGER after_statement AFTER UPDATE ON item REFERENCING NEW TABLE AS changed EXECUTE FUNCTION says();
SELECT fired('UPDATE item SET views = 12');
SELECT fired('UPDATE item SET name = ''fired'' WHERE id = 1');
DROP TRIGGER after_row ON item;
DROP TRIGGER after_statement ON item;
SELECT * FROM news();

-- A BEFORE trigger may change anything
CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := NEW.name || '+'; RETURN NEW; END $$;
CREATE TRIGGER before_row BEFORE UPDATE ON item FOR EACH ROW WHEN (NEW.views > 100) EXECUTE FUNCTION counts();
SELECT fired('UPDATE item SET views = 13 WHERE id = 1');
SELECT fired('UPDATE item SET views = 101 WHERE id = 1');
DROP TRIGGER before_row ON item;
SELECT * FROM news();

-- The trigger renamed, and disabled
ALTER TRIGGER apex_capture ON item RENAME TO other_name;
SELECT fired('UPDATE item SET views = 14');
SELECT fired('UPDATE item SET name = ''renamed trigger'' WHERE id = 1');
ALTER TABLE item DISABLE TRIGGER other_name;
SELECT fired('UPDATE item SET name = ''unseen'' WHERE id = 1');
ALTER TABLE item ENABLE ALWAYS TRIGGER other_name;
SELECT * FROM news();

-- The mapping altered, a column renamed, of another type, dropped
SELECT apex.alter('item', apex.graph('Item', ARRAY['views', 'name']), apex.vector('items', 'embedding', 2), aggregate => 'author_id');
EXECUTE see(1);
SELECT fired('UPDATE item SET stock = 6');
SELECT * FROM news();
ALTER TABLE item RENAME COLUMN views TO looks;
SELECT fired('UPDATE item SET looks = 0 WHERE id = 1');
SELECT fired('UPDATE item SET stock = 7 WHERE id = 1');
DROP VIEW seen;
ALTER TABLE item ALTER COLUMN name TYPE bytea USING name::bytea;
SELECT fired('UPDATE item SET name = ''\x00'' WHERE id = 1');
ALTER TABLE item DROP COLUMN name;
SELECT fired('UPDATE item SET stock = 8 WHERE id = 1');
SELECT * FROM news();

-- Partitions, which may have their columns in another order and triggers of their own
CREATE TABLE visit (id int, day date, name text, note text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE visit_01 PARTITION OF visit FOR VALUES FROM ('2022-01-01') TO ('2022-02-01');
CREATE TABLE visit_02 (note text, gone int, name text, id int NOT NULL, day date NOT NULL);
ALTER TABLE visit_02 DROP COLUMN gone;
ALTER TABLE visit ATTACH PARTITION visit_02 FOR VALUES FROM ('2022-02-01') TO ('2022-03-01');
SELECT apex.attach('visit', apex.graph('Visit', ARRAY['name']));
INSERT INTO visit VALUES (1, '2022-01-01', 'one'), (2, '2022-02-02', 'two');
SELECT fired('UPDATE visit SET note = ''note''');
SELECT fired('UPDATE visit_02 SET note = ''note''');
SELECT fired('UPDATE visit SET name = name || ''!'', note = note');
CREATE TRIGGER before_row BEFORE UPDATE ON visit_02 FOR EACH ROW EXECUTE FUNCTION counts();
SELECT fired('UPDATE visit SET note = ''again''');
DROP TRIGGER before_row ON visit_02;
SELECT fired('UPDATE visit SET day = day + 31 WHERE id = 1');
SELECT * FROM news();

-- A table that inherits is one of its own, and its parent's columns are numbered otherwise there
CREATE TABLE animal (name text, note text);
CREATE TABLE cat (id int PRIMARY KEY, note text, name text);
ALTER TABLE cat INHERIT animal;
SELECT apex.attach('cat', apex.graph('Cat', ARRAY['name']));
INSERT INTO cat VALUES (1, 'n', 'Tom');
SELECT fired('UPDATE animal SET note = ''m''');
SELECT fired('UPDATE animal SET name = ''Tim''');
SELECT * FROM news();

-- Detached, and attached again, in the session that knew it before
SELECT apex.detach('cat');
SELECT fired('UPDATE cat SET name = ''Kit''');
SELECT apex.attach('cat', apex.graph('Cat', ARRAY['note']));
SELECT fired('UPDATE cat SET name = ''Kat''');
SELECT fired('UPDATE cat SET note = ''Kat''');
SELECT * FROM news();

\o /dev/null
SELECT apex.detach(relation) FROM apex.mapping
 WHERE active AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'unmapped_test'::regnamespace) ORDER BY id DESC;
\o
DROP SCHEMA unmapped_test CASCADE;
