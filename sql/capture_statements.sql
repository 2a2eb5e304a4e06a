-- Every way to change a row, and every way to take a change back: after each, the events replayed are what the table holds.
CREATE SCHEMA statements_test;
SET search_path = statements_test, public;
SET client_min_messages = warning;
\pset null '~'

CREATE TABLE item (id int PRIMARY KEY, name text, n int DEFAULT 0, twice int GENERATED ALWAYS AS (n * 2) STORED);
SELECT apex.attach('item', cache => apex.cache('item', 'write'));
SELECT 'item'::regclass::oid AS item \gset

-- The events in the order in which the stores see them, each with the image that its row had before it.
CREATE VIEW history AS
  SELECT o.key, o.op, o.before, o.after, o.xid, o.command, o.seq,
         lag(o.after) OVER (PARTITION BY o.key ORDER BY o.xid, o.command, o.seq) AS was,
         row_number() OVER (PARTITION BY o.key ORDER BY o.xid DESC, o.command DESC, o.seq DESC) AS from_end
    FROM apex.outbox o WHERE o.relation = :item;
-- continues: each event begins where the one before it ended. agrees: the last ones are the table's rows.
CREATE TABLE checked (events bigint);
INSERT INTO checked VALUES (0);
CREATE FUNCTION replay(OUT new_events bigint, OUT continues boolean, OUT agrees boolean) LANGUAGE plpgsql AS $$
BEGIN
  SELECT count(*) - (SELECT events FROM checked), bool_and(h.op = 'R' OR coalesce(h.before, 'null') = coalesce(h.was, 'null'))
    INTO new_events, continues FROM history h;
  SELECT count(*) = 0 INTO agrees FROM
    (SELECT jsonb_build_array(i.id) AS key, to_jsonb(i) AS row FROM item i) now
    FULL JOIN (SELECT h.key, h.after FROM history h WHERE h.from_end = 1 AND h.op <> 'D') last USING (key)
   WHERE now.row IS DISTINCT FROM last.after;
  UPDATE checked SET events = events + new_events;
END
$$;

-- ---- Statements ----

INSERT INTO item SELECT i, 'item ' || i, i FROM generate_series(1, 10) i;
INSERT INTO item (id, name) VALUES (11, DEFAULT), (12, 'returned') RETURNING id;
UPDATE item SET name = name || '!', n = n + 1 WHERE id <= 3;
UPDATE item SET (name, n) = (SELECT 'from ' || o.name, o.n FROM item o WHERE o.id = 5) WHERE id = 4;
UPDATE item SET n = o.n + 100 FROM item o WHERE o.id = item.id - 1 AND item.id IN (6, 7);
DELETE FROM item USING (VALUES (8), (9)) gone(id) WHERE item.id = gone.id;
SELECT * FROM replay();

-- ON CONFLICT: an update, one that its WHERE rejects, nothing, and both kinds of row in one statement
INSERT INTO item VALUES (1, 'conflict') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO item VALUES (1, 'rejected') ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE item.n > 1000;
INSERT INTO item VALUES (1, 'nothing') ON CONFLICT DO NOTHING;
INSERT INTO item SELECT i, 'many' FROM generate_series(1, 20, 5) i ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = item.n + 1;
SELECT * FROM replay();

-- MERGE: every action, and none
MERGE INTO item USING generate_series(1, 24, 3) AS source(id) ON item.id = source.id
  WHEN MATCHED AND item.id = 4 THEN DELETE
  WHEN MATCHED AND item.id = 7 THEN DO NOTHING
  WHEN MATCHED THEN UPDATE SET n = item.n + 1000
  WHEN NOT MATCHED AND source.id > 20 THEN DO NOTHING
  WHEN NOT MATCHED THEN INSERT (id, name) VALUES (source.id, 'merged');
SELECT * FROM replay();

-- COPY, with a filter and frozen
COPY item (id, name) FROM STDIN WHERE id < 50;
40	copied
41	\N
60	filtered out
\.
SELECT * FROM replay();

-- Writing CTEs; one row changed by two of them is changed once
WITH moved AS (DELETE FROM item WHERE id IN (40, 41) RETURNING *), made AS (INSERT INTO item SELECT id + 10, name, n FROM moved RETURNING id)
UPDATE item SET name = 'cte' FROM made WHERE item.id = made.id - 40;
WITH a AS (UPDATE item SET n = 1 WHERE id = 1), b AS (UPDATE item SET n = 2 WHERE id = 1) SELECT;
SELECT * FROM replay();

-- Through an updatable view, a rule, an INSTEAD OF trigger, and a cursor
CREATE VIEW small AS SELECT id, name FROM item WHERE id < 100;
INSERT INTO small VALUES (70, 'through a view');
UPDATE small SET name = name || ', changed' WHERE id = 70;
CREATE VIEW ruled AS SELECT id AS number FROM item;
CREATE RULE add AS ON INSERT TO ruled DO INSTEAD INSERT INTO item VALUES (NEW.number, 'by a rule'), (NEW.number + 1, 'by a rule');
INSERT INTO ruled VALUES (71);
CREATE VIEW instead AS SELECT 0 AS number;
CREATE FUNCTION add_instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO item VALUES (NEW.number, 'instead'); RETURN NEW; END $$;
CREATE TRIGGER add INSTEAD OF INSERT ON instead FOR EACH ROW EXECUTE FUNCTION add_instead();
INSERT INTO instead VALUES (73);
BEGIN;
DECLARE over CURSOR FOR SELECT * FROM item WHERE id >= 70 ORDER BY id FOR UPDATE;
FETCH 2 FROM over;
UPDATE item SET name = 'at the cursor' WHERE CURRENT OF over;
FETCH 1 FROM over;
DELETE FROM item WHERE CURRENT OF over;
COMMIT;
SELECT * FROM replay();

-- Reading, locking and what does not change a row
SELECT count(*) FROM (SELECT FROM item FOR UPDATE) locked;
UPDATE item SET name = name;
UPDATE item SET name = 'nobody' WHERE false;
DELETE FROM item WHERE id = -1;
SELECT * FROM replay();

-- ---- Actions of foreign keys ----

CREATE TABLE part (id int PRIMARY KEY, item_id int DEFAULT 1 REFERENCES item ON DELETE SET DEFAULT ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
SELECT apex.attach('part', cache => apex.cache('part'), aggregate => 'item_id');
BEGIN;
INSERT INTO part VALUES (1, 500), (2, 70);
INSERT INTO item VALUES (500, 'after its part');
COMMIT;
UPDATE item SET id = 501 WHERE id = 500;
DELETE FROM item WHERE id IN (70, 501);
SELECT op, key, aggregate_key, after FROM apex.outbox WHERE relation = 'part'::regclass ORDER BY seq;
SELECT * FROM replay();
SELECT apex.detach('part');
DROP TABLE part;

-- ---- Transactions ----

-- Savepoints: released, rolled back, rolled back twice, nested, of one name
BEGIN;
INSERT INTO item VALUES (100, 'kept');
SAVEPOINT a;
INSERT INTO item VALUES (101, 'lost');
UPDATE item SET name = 'lost' WHERE id = 100;
SAVEPOINT b;
UPDATE item SET name = 'lost, too' WHERE id IN (100, 101);
RELEASE b;
ROLLBACK TO a;
UPDATE item SET name = 'kept, second' WHERE id = 100;
ROLLBACK TO a;
SAVEPOINT a;
INSERT INTO item VALUES (102, 'kept');
SAVEPOINT b;
DELETE FROM item WHERE id = 100;
RELEASE a;
SAVEPOINT c;
DELETE FROM item;
ROLLBACK TO c;
COMMIT;
SELECT * FROM replay();

-- One that fails inside, one that is rolled back whole, and one that is empty
BEGIN;
INSERT INTO item VALUES (110, 'lost');
SAVEPOINT a;
INSERT INTO item VALUES (1, 'duplicate');
ROLLBACK TO a;
INSERT INTO item VALUES (111, 'lost as well');
ROLLBACK;
BEGIN;
SAVEPOINT a;
RELEASE a;
COMMIT;
BEGIN;
INSERT INTO item VALUES (112, 'lost');
SELECT 1 / 0;
COMMIT;
SELECT * FROM replay();

-- Exceptions in a loop, to a depth, and more subtransactions than a snapshot lists
CREATE FUNCTION nest(depth int, row_id int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE item SET n = depth WHERE id = row_id;
  IF depth < 20 THEN
    PERFORM nest(depth + 1, row_id);
  END IF;
  IF depth % 3 = 0 THEN
    RAISE EXCEPTION 'undo';
  END IF;
EXCEPTION WHEN raise_exception THEN
  UPDATE item SET name = name || depth WHERE id = row_id;
END
$$;
SELECT nest(1, 102);
DO $$
BEGIN
  FOR i IN 1..300 LOOP
    BEGIN
      INSERT INTO item VALUES (1000 + i % 100, 'loop', i);
      IF i % 7 = 0 THEN
        RAISE EXCEPTION 'undo';
      END IF;
    EXCEPTION
      WHEN unique_violation THEN UPDATE item SET n = i WHERE id = 1000 + i % 100;
      WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END
$$;
SELECT * FROM replay();

-- Many rows of which the first half is taken back, and a savepoint after them
BEGIN;
SAVEPOINT a;
INSERT INTO item SELECT i, 'lost' FROM generate_series(2001, 3000) i;
ROLLBACK TO a;
INSERT INTO item SELECT i, 'kept' FROM generate_series(2501, 3500) i;
SAVEPOINT b;
UPDATE item SET n = 7 WHERE id BETWEEN 2501 AND 2600;
RELEASE b;
SAVEPOINT c;
DELETE FROM item WHERE id BETWEEN 2601 AND 3400;
ROLLBACK TO c;
COMMIT;
SELECT * FROM replay();

-- A procedure that commits and rolls back on its way
CREATE PROCEDURE in_steps() LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..6 LOOP
    UPDATE item SET n = n + i WHERE id = 1;
    INSERT INTO item VALUES (4000 + i, 'step');
    IF i % 2 = 0 THEN
      COMMIT;
    ELSE
      ROLLBACK;
    END IF;
  END LOOP;
END
$$;
CALL in_steps();
SELECT * FROM replay();

-- Two-phase commit, with a savepoint inside, and taken back
SELECT current_setting('max_prepared_transactions')::int > 0 AS two_phase \gset
\if :two_phase
BEGIN;
INSERT INTO item VALUES (5000, 'prepared');
SAVEPOINT a;
INSERT INTO item VALUES (5001, 'lost');
ROLLBACK TO a;
UPDATE item SET n = 1 WHERE id = 5000;
PREPARE TRANSACTION 'statements_test';
INSERT INTO item VALUES (5002, 'between');
COMMIT PREPARED 'statements_test';
BEGIN;
UPDATE item SET n = 2 WHERE id = 5000;
PREPARE TRANSACTION 'statements_test';
ROLLBACK PREPARED 'statements_test';
\else
INSERT INTO item VALUES (5000, 'prepared', 1), (5002, 'between');
UPDATE item SET n = 1 WHERE id = 5000;
\endif
SELECT continues, agrees FROM replay();

-- Levels of isolation, asynchronous commit, and roles of replication
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE item SET n = n + 1 WHERE id < 10;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE item SET n = n + 1 WHERE id < 10;
COMMIT AND CHAIN;
UPDATE item SET n = n + 1 WHERE id < 10;
ROLLBACK;
SET synchronous_commit = off;
UPDATE item SET n = n + 1 WHERE id < 10;
RESET synchronous_commit;
SET session_replication_role = replica;
INSERT INTO item VALUES (5100, 'replica');
UPDATE item SET n = 1 WHERE id = 5100;
DELETE FROM item WHERE id = 5002;
SET session_replication_role = local;
UPDATE item SET n = 2 WHERE id = 5100;
RESET session_replication_role;
SELECT * FROM replay();

-- ---- Definitions ----

-- Rewriting and moving a table changes no row, and capture goes on in it
DROP VIEW small, ruled, instead;
ALTER TABLE item ALTER COLUMN id TYPE bigint, ALTER COLUMN name TYPE varchar(200);
VACUUM FULL item;
CLUSTER item USING item_pkey;
REINDEX TABLE item;
ALTER TABLE item SET (fillfactor = 50);
ALTER TABLE item ADD COLUMN unmapped text DEFAULT 'x', ALTER COLUMN name SET STORAGE EXTERNAL;
ALTER TABLE item DROP COLUMN unmapped;
SELECT new_events FROM replay();
UPDATE item SET n = n + 1 WHERE id < 10;
INSERT INTO item VALUES (5200, 'after the rewrite');
SELECT * FROM replay();
-- In one transaction with changes before and after
BEGIN;
UPDATE item SET name = 'before' WHERE id = 5200;
ALTER TABLE item ALTER COLUMN name TYPE text;
UPDATE item SET name = 'after' WHERE id = 5200;
COMMIT;
SELECT * FROM replay();

-- A copy of the table, and one that inherits from it, are tables of their own
CREATE TABLE copied AS SELECT * FROM item;
SELECT * INTO copied_too FROM item;
CREATE TABLE alike (LIKE item INCLUDING ALL);
INSERT INTO alike VALUES (1, 'not attached');
CREATE TABLE child () INHERITS (item);
INSERT INTO child VALUES (9000, 'not attached');
UPDATE item SET name = 'not attached either' WHERE id = 9000;
SELECT new_events FROM replay();
DROP TABLE child;

-- While the trigger is disabled nothing is captured, as somebody has asked for
BEGIN;
ALTER TABLE item DISABLE TRIGGER apex_capture;
UPDATE item SET n = -1 WHERE id = 5200;
ALTER TABLE item ENABLE ALWAYS TRIGGER apex_capture;
ROLLBACK;

-- Everything at once
DELETE FROM item;
SELECT * FROM replay();
SELECT count(*) FROM item;

SELECT apex.detach('item');
DROP SCHEMA statements_test CASCADE;
