-- Columns, tables and schemas of attached tables that are renamed, dropped and moved.
CREATE SCHEMA renames_test;
CREATE SCHEMA renames_new;
SET search_path = renames_test, public;
SET client_min_messages = warning;
\pset null '~'
\pset format unaligned

CREATE TABLE author (id int PRIMARY KEY, name text);
CREATE TABLE item (id int, "odd name" text, a text, b text, unmapped text, embedding real[], author_id int REFERENCES author, PRIMARY KEY (id));
SELECT apex.attach('author', apex.graph('Author', ARRAY['name']));
SELECT apex.attach('item', apex.graph('Item', ARRAY['odd name', 'a', 'b']), apex.vector('items', 'embedding', 2), aggregate => 'author_id');
CREATE FUNCTION renamed() RETURNS TABLE (part text, attached text, now text) LANGUAGE sql AS $$
  SELECT p.part, c ->> 'column', c ->> 'renamed_to' FROM apex.mapping m, unnest(ARRAY['key', 'columns', 'embedding', 'aggregate']) p(part),
    jsonb_path_query(m.spec -> p.part, '$[*] ? (exists (@.renamed_to))') c WHERE m.relation = 'item'::regclass AND m.active ORDER BY 1, 2
$$;

-- Each renamed column is noted with its name of now, two that change places included; unmapped ones are not.
ALTER TABLE item RENAME "odd name" TO plain;
ALTER TABLE item RENAME COLUMN id TO number;
ALTER TABLE item RENAME a TO c;
ALTER TABLE item RENAME b TO a;
ALTER TABLE item RENAME c TO b;
ALTER TABLE item RENAME embedding TO vector;
ALTER TABLE item RENAME author_id TO writer;
ALTER TABLE item RENAME unmapped TO ignored;
SELECT * FROM renamed();
-- One that gets its old name back is no longer renamed, and what is rolled back was not.
ALTER TABLE item RENAME plain TO "odd name";
BEGIN;
ALTER TABLE item RENAME "odd name" TO lost;
ROLLBACK;
SELECT * FROM renamed();
-- Events go on under the names that the stores know.
INSERT INTO author VALUES (7, 'x');
INSERT INTO item VALUES (1, 'odd', 'was a', 'was b', NULL, '{1,2}', 7);
SELECT op, key, aggregate_key, after, encode(embedding, 'hex') AS embedding, error FROM apex.outbox WHERE relation = 'item'::regclass ORDER BY seq DESC LIMIT 1;
SELECT apex.refresh('item', '1') > 0 AS drawn;

-- What a restore does with the mapping: columns have other numbers, and only the names of now are there.
CREATE TABLE restored (ignored text, writer int, vector real[], a text, b text, "odd name" text, number int PRIMARY KEY);
INSERT INTO apex.mapping (relation, relation_oid, pipeline, active, on_failure, spec, aggregate)
  SELECT 'restored', 1, pipeline, false, on_failure, spec, aggregate FROM apex.mapping WHERE relation = 'item'::regclass;
SELECT p.part, c ->> 'column' AS attached, a.attname AS found
  FROM apex.mapping m, unnest(ARRAY['key', 'columns', 'embedding', 'aggregate']) p(part), jsonb_path_query(m.spec -> p.part, '$[*]') c
  LEFT JOIN pg_attribute a ON a.attrelid = 'restored'::regclass AND a.attnum = (c ->> 'attnum')::int2
 WHERE m.relation = 'restored'::regclass ORDER BY 1, 2;
DELETE FROM apex.mapping WHERE relation = 'restored'::regclass;

-- A mapping of before, which events may name, is left as it was; so is everything of other tables.
SELECT apex.detach('item');
SELECT apex.attach('item', apex.graph('Item', ARRAY['odd name']));
ALTER TABLE item RENAME "odd name" TO newest;
SELECT active, jsonb_path_query_array(spec, '$.columns[*].renamed_to') AS renamed FROM apex.mapping WHERE relation = 'item'::regclass ORDER BY id;
CREATE TABLE stranger (id int);
ALTER TABLE stranger RENAME id TO number;

-- Somebody who owns the table and nothing else renames as well.
CREATE ROLE regress_apex_renamer;
GRANT USAGE, CREATE ON SCHEMA renames_test, renames_new TO regress_apex_renamer;
ALTER TABLE item OWNER TO regress_apex_renamer;
SET ROLE regress_apex_renamer;
ALTER TABLE item RENAME newest TO owned;
RESET ROLE;
SELECT * FROM renamed();

-- A dropped column keeps the name that it went under, so that none that comes later under the first one is taken for it.
ALTER TABLE item DROP COLUMN owned;
ALTER TABLE item ADD COLUMN "odd name" text DEFAULT 'another';
SELECT * FROM renamed();
UPDATE item SET "odd name" = 'not this one', number = 2;
SELECT op, key, after, error FROM apex.outbox WHERE relation = 'item'::regclass ORDER BY seq DESC LIMIT 2;

-- The table and its schema: the mapping follows, the stores keep the name of before.
ALTER TABLE item RENAME TO thing;
ALTER TABLE thing SET SCHEMA renames_new;
ALTER SCHEMA renames_new RENAME TO renames_newer;
INSERT INTO renames_newer.thing (number) VALUES (3);
SELECT m.relation, m.relation::oid = m.relation_oid AS same, m.spec ->> 'table' AS attached_as, o.key
  FROM apex.mapping m JOIN apex.outbox o ON o.mapping = m.id WHERE m.spec ->> 'table' ~ '^renames_' AND m.active ORDER BY o.seq DESC LIMIT 1;
SELECT apex.refresh('renames_newer.thing', '3') > 0 AS drawn;

-- The trigger itself: it goes on, and goes with detach.
CREATE TABLE parted (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10);
SELECT apex.attach('parted', apex.graph('Parted', ARRAY['name']));
ALTER TRIGGER apex_capture ON parted RENAME TO "of mine";
INSERT INTO parted VALUES (1, 'x');
DROP TABLE parted_1;
SELECT op, key FROM apex.outbox WHERE relation = 'parted'::regclass ORDER BY seq;
SELECT apex.detach('parted');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'parted'::regclass;

-- A table that is dropped leaves its mapping to the events that name it, and its label to the next.
INSERT INTO renames_newer.thing (number) VALUES (4);
DROP TABLE renames_newer.thing;
CREATE TABLE heir (id int PRIMARY KEY);
SELECT apex.attach('heir', apex.graph('Item'));
SELECT count(*) > 0 AS still_there FROM apex.outbox o WHERE o.key = '[4]' AND o.mapping IN (SELECT id FROM apex.mapping WHERE NOT active);

SELECT apex.detach('heir'), apex.detach('author');
DROP SCHEMA renames_test, renames_newer CASCADE;
DROP OWNED BY regress_apex_renamer;
DROP ROLE regress_apex_renamer;
