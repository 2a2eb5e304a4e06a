-- (command, seq) orders a row's events inside a transaction by what happened to the row, and not by when it was captured.
CREATE SCHEMA order_test;
SET search_path = order_test, public;
SET client_min_messages = warning;

CREATE TABLE item (id int PRIMARY KEY, n int, name text);
SELECT apex.attach('item', apex.graph('Item', ARRAY['n', 'name']));

-- The history of each row as the reader puts it together: each event begins where the one before it ended, and the last
-- one is what the table holds. Version: the highest seq.
CREATE VIEW history AS
  SELECT o.key, o.op, o.before -> 'n' AS was, o.after -> 'n' AS is,
         coalesce(o.before, 'null') IS NOT DISTINCT FROM
           coalesce(lag(o.after) OVER (PARTITION BY o.key ORDER BY o.xid, o.command, o.seq), 'null') AS continues,
         o.seq <> max(o.seq) OVER (PARTITION BY o.key, o.xid ORDER BY o.command, o.seq) AS captured_early,
         row_number() OVER (PARTITION BY o.key ORDER BY o.xid, o.command, o.seq) AS place
    FROM apex.outbox o WHERE o.relation = 'item'::regclass;
CREATE FUNCTION check_history() RETURNS TABLE (key jsonb, events bigint, continues boolean, ends_right boolean) LANGUAGE sql AS $$
  SELECT h.key, count(*), bool_and(h.continues),
         (array_agg(h.is ORDER BY h.place DESC))[1] IS NOT DISTINCT FROM (SELECT to_jsonb(i.n) FROM item i WHERE jsonb_build_array(i.id) = h.key)
    FROM history h GROUP BY h.key ORDER BY h.key
$$;

-- An AFTER trigger that is fired before ours and updates the same row: its later image is captured first
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.n < 10 THEN
    UPDATE item SET n = n + 1 WHERE id = NEW.id;
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER a_first AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION count_up();
INSERT INTO item VALUES (1, 7, 'x');
SELECT place, op, was, "is", continues FROM history WHERE key = '[1]' ORDER BY place;
SELECT captured_early, count(*) FROM history WHERE key = '[1]' GROUP BY 1;
UPDATE item SET n = 8 WHERE id = 1;
INSERT INTO item VALUES (2, 9, 'y'), (3, 5, 'z');
BEGIN;
UPDATE item SET n = 6;
SAVEPOINT s;
UPDATE item SET n = 7 WHERE id = 2;
ROLLBACK TO s;
UPDATE item SET n = 9 WHERE id = 2;
COMMIT;
SELECT * FROM check_history();
DROP TRIGGER a_first ON item;

-- The same with one fired after ours, and with both
CREATE TRIGGER z_last AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION count_up();
INSERT INTO item VALUES (10, 7, 'x');
CREATE TRIGGER a_first AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION count_up();
INSERT INTO item VALUES (11, 6, 'x');
SELECT * FROM check_history() WHERE key IN ('[10]', '[11]');
DROP TRIGGER z_last ON item;
DROP TRIGGER a_first ON item;

-- A trigger that deletes the row it was fired for, or moves it to another key
CREATE FUNCTION remove_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM item WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER a_first AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION remove_it();
INSERT INTO item VALUES (20, 1, 'gone');
DROP TRIGGER a_first ON item;
CREATE FUNCTION move_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE item SET id = id + 1, n = 2 WHERE id = NEW.id AND NEW.n = 1; RETURN NULL; END $$;
CREATE TRIGGER a_first AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION move_it();
INSERT INTO item VALUES (21, 1, 'moved');
DROP TRIGGER a_first ON item;
SELECT key, place, op, was, "is", continues FROM history WHERE key IN ('[20]', '[21]', '[22]') ORDER BY key, place;

-- Functions called in a statement that update rows which the statement updated before
CREATE FUNCTION bump(row_id int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  was int;
BEGIN
  UPDATE item SET n = n + 100 WHERE id = row_id AND n < 1000 RETURNING n INTO was;
  RETURN coalesce(was, 0);
END
$$;
INSERT INTO item VALUES (30, 1, 'a'), (31, 2, 'b');
WITH ordered AS MATERIALIZED (SELECT id FROM item WHERE id IN (30, 31) ORDER BY id)
UPDATE item SET n = 50 + CASE WHEN item.id = 31 THEN 0 * bump(30) ELSE 0 END FROM ordered WHERE item.id = ordered.id;
SELECT * FROM check_history() WHERE key IN ('[30]', '[31]');
INSERT INTO item VALUES (32, 3, 'c');
SELECT bump(32), bump(32);
SELECT * FROM check_history() WHERE key = '[32]';

-- Several changes of one row in one transaction and inside one function, with subtransactions: combo command ids
DO $$
BEGIN
  INSERT INTO item VALUES (40, 1, 'a');
  FOR i IN 2..6 LOOP
    BEGIN
      UPDATE item SET n = i WHERE id = 40;
      IF i % 2 = 0 THEN
        RAISE EXCEPTION 'undo';
      END IF;
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
  DELETE FROM item WHERE id = 40;
  INSERT INTO item VALUES (40, 9, 'again');
END
$$;
SELECT * FROM check_history() WHERE key = '[40]';

-- A delete and an insert of one key by one command
WITH gone AS (DELETE FROM item WHERE id = 40 RETURNING *) INSERT INTO item SELECT id, n + 1, name FROM gone;
SELECT place, op, was, "is", continues FROM history WHERE key = '[40]' AND place > 5 ORDER BY place;

SELECT bool_and(continues) AS all_continue, bool_and(ends_right) AS all_end_right FROM check_history();
SELECT apex.detach('item');
DROP SCHEMA order_test CASCADE;
