-- Values of every kind of type, in rows of every size: each is captured as its type prints it, or the event says why not.
CREATE SCHEMA values_test;
SET search_path = values_test, public;
SET client_min_messages = warning;
\pset null '~'
\pset format unaligned

-- What was captured last of a table, column by column.
CREATE FUNCTION captured(relation regclass) RETURNS TABLE (column_name text, value jsonb) LANGUAGE sql AS $$
  SELECT e.key, e.value FROM (SELECT o.after FROM apex.outbox o WHERE o.relation = captured.relation ORDER BY o.seq DESC LIMIT 1) o, jsonb_each(o.after) e
   WHERE e.key <> 'id' ORDER BY e.key COLLATE "C"
$$;

-- ---- Types that only their own output function can print ----

CREATE TYPE colour AS ENUM ('red', 'deep "blue"');
CREATE TYPE point_in AS (x int, at timestamptz, c colour, path text[]);
CREATE TYPE nested AS (p point_in, many point_in[], j jsonb);
CREATE TYPE floats AS RANGE (subtype = float8);
CREATE DOMAIN colours AS colour[];
CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);
CREATE DOMAIN more_positive AS positive CHECK (VALUE > 1);
CREATE DOMAIN placed AS point_in CHECK ((VALUE).x > 0);
CREATE TABLE kinds (
  id int PRIMARY KEY, e colour, es colour[], c point_in, cs point_in[], n nested, r int4range, rs int4range[], rt tstzrange, rf floats, m int4multirange,
  mt tstzmultirange, d colours, p more_positive, ps more_positive[], pl placed, b bit(4), bv varbit, mac macaddr, net cidr, pt point, bx box,
  pg polygon, lsn pg_lsn, xid xid8, o oid, nm name, ch "char", tsv tsvector, tsq tsquery, jp jsonpath, tz timetz, mo money, by bytea[], ty regtype, cl regclass,
  cf regproc, iv interval[], touched int);
SELECT apex.attach('kinds', cache => apex.cache('kind', 'write'));
INSERT INTO kinds VALUES (
  1, 'deep "blue"', '{red,NULL,"deep \"blue\""}', ROW (1, '2022-02-22 00:00+02', 'red', '{a,"b,c"}'), ARRAY[ROW (NULL, NULL, NULL, NULL), NULL]::point_in[],
  ROW (ROW (2, 'infinity', NULL, '{}'), '{}', '{"a": [1]}'), '[1,5]', '{"[1,2)",empty}', '(,2022-02-22 00:00+02]', '[0.1,1e300)', '{[1,2),[5,9)}',
  '{(,2022-02-22 00:00+02)}', '{red}', 1.50, '{1.1,2}', ROW (1, NULL, NULL, NULL), '1010', '101', '08:00:2b:01:02:03',
  '10.0.0.0/8', '(0.1,2)', '((0,0),(1,1))', '((0,0),(1,1),(2,0))', '16/B374D848', '9223372036854775808', 4294967295, 'name', 'x', 'fat:1A cat:2', 'fat & !cat',
  '$.a[*] ? (@ > 1)', '19:22:22+02', 1234.5, '{"\\x00","\\xff"}', 'int4[]', 'kinds', 'now', '{1 day -1 hour,1 mon}');
SELECT * FROM captured('kinds');
CREATE TABLE plain AS SELECT * FROM captured('kinds');

-- No setting of the session changes any of it, the search_path of names included.
CREATE FUNCTION under(settings text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  setting text;
BEGIN
  FOREACH setting IN ARRAY string_to_array(settings, ';') LOOP
    EXECUTE 'SET LOCAL ' || setting;
  END LOOP;
  UPDATE values_test.kinds SET touched = 1;
  UPDATE values_test.kinds SET touched = NULL;
  RETURN (SELECT count(*) FROM values_test.captured('values_test.kinds') c
           WHERE NOT EXISTS (SELECT FROM values_test.plain p WHERE (p.column_name, p.value) = (c.column_name, c.value)));
END
$$;
SELECT under('datestyle = "German"; intervalstyle = sql_standard; timezone = "Asia/Kathmandu"; extra_float_digits = -15; bytea_output = escape');
SELECT under('lc_monetary = "C"; lc_numeric = "C"; lc_time = "C"; xmloption = document; xmlbinary = hex; array_nulls = off');
SELECT under('quote_all_identifiers = on; standard_conforming_strings = off; escape_string_warning = off; transform_null_equals = on');
SELECT under('search_path = pg_catalog');
SELECT under('search_path = "$user"; role = none');
SET client_encoding = 'LATIN1';
SELECT under('work_mem = "64kB"');
RESET client_encoding;

-- ---- Keys ----

CREATE FUNCTION keys_of(relation regclass) RETURNS SETOF text LANGUAGE sql AS $$ SELECT o.op::text || ' ' || o.key::text FROM apex.outbox o WHERE o.relation = keys_of.relation ORDER BY o.seq $$;
CREATE TABLE keyed_many (e colour, c point_in, r int4range, b bytea, ts text[], n numeric, f float8, j jsonb, at timestamptz, iv interval, "K" varchar(5),
  PRIMARY KEY (e, c, r, b, ts, n, f, j, at, iv, "K"));
SELECT apex.attach('keyed_many', apex.graph('Keyed'));
INSERT INTO keyed_many VALUES ('red', ROW (1, '2022-02-22 00:00+02', 'red', '{}'), '[1,2]', '\xdead', '{a,"b\"c"}', 1.50, 0.1, '{"a": 1.0}', '-infinity', '1 day', 'k''');
UPDATE keyed_many SET n = 1.5;
UPDATE keyed_many SET n = n, f = f;
DELETE FROM keyed_many;
SELECT * FROM keys_of('keyed_many');
CREATE TABLE keyed_long (id text PRIMARY KEY);
SELECT apex.attach('keyed_long', apex.graph('KeyedLong'));
INSERT INTO keyed_long VALUES (''), (repeat('x', 8000)), (E'\x01\n"\\');
SELECT left(k, 20), length(k) FROM keys_of('keyed_long') k;

-- ---- Documents ----

CREATE TABLE document (id int PRIMARY KEY, j json, b jsonb, t text, n numeric);
SELECT apex.attach('document', cache => apex.cache('document', 'write'));
-- json is text that nobody has looked into: what jsonb would refuse goes through.
INSERT INTO document VALUES (1, '{"a": 1, "a": 2, "nul": "\u0000", "half": "\ud800", "n": 1e999999}', '{"a": 1, "a": 2}', E'\x01\x7f\u2028\ufeff\U0001F642', '1e131071');
SELECT column_name, CASE WHEN length(value::text) > 200 THEN to_jsonb(length(value::text)) ELSE value END AS value FROM captured('document');
SELECT (value #>> '{}')::numeric = 1e131071 AS same FROM captured('document') WHERE column_name = 'n';
-- As deep as PostgreSQL reads it, and as long as an array gets
INSERT INTO document (id, b, j) SELECT 2, d::jsonb, d::json FROM (SELECT repeat('[', 3000) || repeat(']', 3000)) deep(d);
SELECT column_name, length(value::text) FROM captured('document') WHERE value <> 'null';
INSERT INTO document (id, b) SELECT 3, jsonb_agg(i) FROM generate_series(1, 30000) i;
SELECT column_name, jsonb_array_length(value), value -> 29999 AS last FROM captured('document') WHERE value <> 'null';
UPDATE document SET b = jsonb_set(b, '{29999}', '"changed"') WHERE id = 3;
SELECT value -> 29999 AS last FROM captured('document') WHERE column_name = 'b';

-- ---- Sizes ----

CREATE TABLE large (id int PRIMARY KEY, a text, b text, c bytea, small int, embedding real[]);
ALTER TABLE large ALTER a SET STORAGE EXTERNAL, ALTER c SET STORAGE MAIN;
SELECT apex.attach('large', cache => apex.cache('large', 'write', columns => ARRAY['a', 'b', 'c', 'small']), vector => apex.vector('large', 'embedding', 65536));
-- Rows of 10 MB, compressible and not; what is out of line and unchanged is not read for comparing, and still is in the image.
INSERT INTO large SELECT 1, string_agg(md5(i::text), ''), repeat('x', 5000000), decode(string_agg(md5(i::text), ''), 'hex'), 1, array_fill(0.5::real, ARRAY[65536])
  FROM generate_series(1, 80000) i;
UPDATE large SET a = a, b = b || '', c = c || ''::bytea;
UPDATE large SET small = 2, embedding[65536] = 0.25;
DELETE FROM large;
SELECT op, length(before ->> 'a') AS a_before, length(after ->> 'a') AS a, length(after ->> 'b') AS b, length(after ->> 'c') AS c, after -> 'small' AS small,
       length(embedding) AS embedding, length(old_embedding) AS old, error FROM apex.outbox WHERE relation = 'large'::regclass ORDER BY seq;
-- Many columns
DO $$
BEGIN
  EXECUTE format('CREATE TABLE wide (id int PRIMARY KEY, %s)', (SELECT string_agg(format('c%s int', i), ', ') FROM generate_series(1, 1500) i));
END
$$;
SELECT apex.attach('wide', cache => apex.cache('wide', 'write'));
INSERT INTO wide (id, c1500) VALUES (1, 1500);
UPDATE wide SET c1500 = 0;
SELECT op, (SELECT count(*) FROM jsonb_object_keys(after)) AS columns, after -> 'c1500' AS last FROM apex.outbox WHERE relation = 'wide'::regclass ORDER BY seq;

-- ---- A write never fails because of capture ----

CREATE TABLE sturdy (id int PRIMARY KEY, a text, b text);
SELECT apex.attach('sturdy', apex.graph('Sturdy', ARRAY['a', 'b']));
CREATE FUNCTION says(relation regclass) RETURNS TABLE (op "char", key jsonb, after jsonb, error text) LANGUAGE sql AS $$
  SELECT o.op, o.key, o.after, o.error FROM apex.outbox o WHERE o.relation = says.relation ORDER BY o.seq DESC LIMIT 1 $$;
-- The key column is of another type, of another kind, or dropped with the primary key
ALTER TABLE sturdy ALTER COLUMN id TYPE bigint;
INSERT INTO sturdy VALUES (9223372036854775807, 'x', 'y');
SELECT * FROM says('sturdy');
ALTER TABLE sturdy DROP CONSTRAINT sturdy_pkey;
UPDATE sturdy SET a = 'no primary key';
SELECT * FROM says('sturdy');
ALTER TABLE sturdy ALTER COLUMN id DROP NOT NULL;
UPDATE sturdy SET id = NULL;
SELECT * FROM says('sturdy');
ALTER TABLE sturdy ALTER COLUMN id TYPE text USING 'a text';
UPDATE sturdy SET a = 'key of another kind';
SELECT * FROM says('sturdy');
ALTER TABLE sturdy DROP COLUMN id;
INSERT INTO sturdy VALUES ('key', 'dropped');
DELETE FROM sturdy WHERE a = 'key';
SELECT * FROM says('sturdy');
-- Everything mapped is gone, and so is the mapping
ALTER TABLE sturdy DROP COLUMN a, DROP COLUMN b;
INSERT INTO sturdy DEFAULT VALUES;
SELECT * FROM says('sturdy');
BEGIN;
DELETE FROM apex.mapping WHERE relation = 'sturdy'::regclass;
SET LOCAL client_min_messages = error;
ALTER TABLE sturdy ADD COLUMN c int;
INSERT INTO sturdy DEFAULT VALUES;
ROLLBACK;

\o /dev/null
SELECT apex.detach(relation) FROM apex.mapping
 WHERE active AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'values_test'::regnamespace) ORDER BY id DESC;
\o
DROP SCHEMA values_test CASCADE;
