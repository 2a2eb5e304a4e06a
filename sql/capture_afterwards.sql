-- What was captured stays what it was, whatever becomes of the table, its columns and its types before the event is read.
CREATE SCHEMA afterwards_test;
SET search_path = afterwards_test, public;
SET client_min_messages = warning;
\pset null '~'
\pset format unaligned

CREATE TYPE colour AS ENUM ('red', 'blue');
CREATE TYPE place AS (x int, y text, c colour);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE owner (id int PRIMARY KEY);
CREATE TABLE item (
  id int PRIMARY KEY, gone int, name text, c colour, cs colour[], p place, r int4range, d positive, at timestamptz, j jsonb, big text,
  owner_id int REFERENCES owner, embedding real[]);
ALTER TABLE item DROP COLUMN gone;
ALTER TABLE item ALTER big SET STORAGE EXTERNAL;
SELECT apex.attach('owner', apex.graph('Owner'));
SELECT apex.attach('item', apex.graph('Item', ARRAY['name', 'c', 'cs', 'p', 'r', 'd', 'at', 'j', 'big'], ARRAY[apex.relation('OF', 'owner_id')]),
                   apex.vector('items', 'embedding', 2), aggregate => 'owner_id');
CREATE TABLE parted (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 (name text, id int NOT NULL);
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES FROM (1) TO (10);
SELECT apex.attach('parted', apex.graph('Parted', ARRAY['name']));
SELECT 'item'::regclass::oid AS item, 'parted'::regclass::oid AS parted \gset
INSERT INTO owner VALUES (1);
INSERT INTO item VALUES (1, 'one', 'red', '{red,blue}', ROW (1, 'y', 'blue'), '[1,5)', 3, '2022-02-22 00:00+00', '{"a": [1]}', repeat('big', 5000), 1, '{1,2}');
UPDATE item SET name = 'uno', c = 'blue', embedding = '{3,4}';
INSERT INTO item (id) VALUES (2);
UPDATE item SET id = 3 WHERE id = 2;
DELETE FROM item WHERE id = 3;
INSERT INTO parted VALUES (1, 'in a partition');

CREATE VIEW event AS
  SELECT seq, op, key, aggregate_key, before, after, encode(embedding, 'hex') AS embedding, encode(old_embedding, 'hex') AS old, error
    FROM apex.outbox WHERE relation IN (:item, :parted);
CREATE TABLE captured AS SELECT * FROM event;
CREATE FUNCTION changed() RETURNS TABLE (op "char", key jsonb, after jsonb, error text) LANGUAGE sql AS $$
  SELECT e.op, e.key, e.after, e.error FROM captured c LEFT JOIN event e USING (seq) WHERE e IS DISTINCT FROM ROW (c.*)::event ORDER BY c.seq
$$;
SELECT op, key, aggregate_key, before - 'big' AS before, after - 'big' AS after, embedding, old, error FROM captured ORDER BY seq;

-- Columns that are renamed, dropped, added and of another type
ALTER TABLE item RENAME name TO title;
SELECT * FROM changed();
ALTER TABLE item DROP COLUMN j, ADD COLUMN j text DEFAULT 'another', DROP COLUMN embedding;
SELECT * FROM changed();
ALTER TABLE item ALTER d TYPE text, ALTER at TYPE date, ALTER id TYPE bigint;
SELECT * FROM changed();
-- Types that grow
ALTER TYPE colour ADD VALUE 'green' BEFORE 'blue';
ALTER TABLE item DROP COLUMN p;
ALTER TYPE place ADD ATTRIBUTE z int;
SELECT * FROM changed();
-- Without its mapping, and attached anew in another way
SELECT apex.detach('item');
SELECT * FROM changed();
SELECT apex.attach('item', apex.graph('Item', ARRAY['title']));
INSERT INTO item (id, title) VALUES (5, 'newer');
SELECT * FROM changed();
SELECT op, key, before, after, error FROM event WHERE seq > (SELECT max(seq) FROM captured) ORDER BY seq;
-- Rewritten, without what was out of line
UPDATE item SET big = NULL;
VACUUM FULL item;
SELECT * FROM changed();
-- A partition that goes, and its table
DROP TABLE parted_1;
SELECT * FROM changed();
DROP TABLE parted;
SELECT * FROM changed();
-- The table, and its types
DROP TABLE item;
SELECT * FROM changed();
DROP TYPE place, positive;
SELECT * FROM changed();
DROP TYPE colour;
SELECT * FROM changed();

SELECT apex.detach('owner');
DROP SCHEMA afterwards_test CASCADE;
