-- Section 3a of the design, cell by cell: how values are written into an image, whatever the session's settings are.
CREATE SCHEMA encoding_test;
SET search_path = encoding_test, public;
SET client_min_messages = warning;

CREATE TYPE mood AS ENUM ('sad', 'happy ☺');
CREATE TYPE pair AS (a int, at timestamptz);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN names AS text[];
CREATE TABLE value_of (
  id int PRIMARY KEY,
  c_bool bool, c_int2 int2, c_int4 int4, c_int8 int8, c_float4 float4, c_float8 float8, c_numeric numeric, c_uuid uuid,
  c_text text, c_varchar varchar(20), c_char char(4), c_json json, c_jsonb jsonb, c_timestamptz timestamptz, c_timestamp timestamp,
  c_date date, c_time time, c_interval interval, c_bytea bytea, c_inet inet, c_money money, c_enum mood, c_pair pair, c_range tstzrange,
  c_positive positive, c_names names, c_bools bool[], c_ints int[], c_floats float8[], c_texts text[], c_uuids uuid[],
  c_numerics numeric[], c_jsonbs jsonb[], c_timestamptzs timestamptz[], c_dates date[], c_matrix int[], c_intervals interval[]);
SELECT apex.attach('value_of', cache => apex.cache('value', 'write'));
SELECT string_agg(c ->> 'kind', ' ' ORDER BY place) AS kinds FROM apex.mapping, jsonb_array_elements(spec -> 'columns') WITH ORDINALITY AS every(c, place)
 WHERE relation = 'value_of'::regclass;

CREATE FUNCTION image(row_id int) RETURNS TABLE (column_name text, value jsonb) LANGUAGE sql AS $$
  SELECT e.key, e.value FROM (SELECT after FROM apex.outbox WHERE relation = 'value_of'::regclass AND key = jsonb_build_array(row_id) ORDER BY seq DESC LIMIT 1) o,
    jsonb_each(o.after) e WHERE e.value <> 'null' OR row_id = 0
$$;

-- NULL
INSERT INTO value_of (id) VALUES (0);
SELECT count(*), bool_and(value = 'null' OR column_name = 'id') AS all_null FROM image(0);

-- One of each
INSERT INTO value_of VALUES (
  1, true, -32768, 2147483647, 9007199254740993, 0.1, 0.1, 1.500, '00000000-0000-0000-0000-000000000001',
  E'line\n"quoted" \\ `back` 漢字 🙂', 'varchar', 'ab', '{"b": 1.0,  "a":[1, 2]}', '{"b": 1.0, "a": [1, 2]}', '2022-02-22 19:22:22.123456+02', '2022-02-22 19:22:22',
  '2022-02-22', '19:22:22.5', '1 mon 2 days 03:04:05', '\x00ff', '10.0.0.1/8', '12.34', 'happy ☺', ROW (1, '2022-02-22 00:00+00'), '[2022-02-22 00:00+00,)',
  7, '{x,NULL}', '{t,f,NULL}', '{1,-2}', '{0.1,NaN,Infinity,-Infinity,1e300}', '{"a,b","",NULL}', '{00000000-0000-0000-0000-000000000001}',
  '{1.10,NaN}', '{"{\"a\": 1}","2"}', '{"2022-02-22 00:00+00",infinity,-infinity}', '{2022-02-22}', '{{1,2},{3,4}}', '{1 day}');
SELECT * FROM image(1);

-- Extremes
INSERT INTO value_of (id, c_int8, c_float4, c_float8, c_numeric, c_text, c_json, c_jsonb, c_timestamptz, c_timestamp, c_date, c_texts) VALUES
  (2, -9223372036854775808, 3.4028235e38, 5e-324, 'NaN', '', 'null', 'null', 'infinity', '-infinity', 'infinity', '{}'),
  (3, 9223372036854775807, 1e-45, 1.7976931348623157e308, '-Infinity', ' ', '"x"', '"x"', '294276-12-31 23:59:59.999999+00', '4713-01-01 00:00:00 BC', '5874897-12-31', '{a}'),
  (4, 0, 'NaN', 'Infinity', 12345678901234567890123456789.0123456789, E'\t', '1e400', '1e40', '0001-01-01 00:00+00', '0001-12-31 23:59:59 BC', '4713-01-01 BC', '[2:3]={p,q}'),
  (5, 1, '-Infinity', '-0', 0.000, '{}', '{}', '{"a": {"b": [null, true, 1e3]}}', '1970-01-01 00:00+00', '1969-12-31 23:59:59.000001', '1999-12-31', '{NULL}');
SELECT * FROM image(2);
SELECT column_name, CASE WHEN length(value::text) > 60 THEN to_jsonb(value::text::float8 = 1.7976931348623157e308) ELSE value END AS value FROM image(3);
SELECT * FROM image(4);
SELECT * FROM image(5);
-- What a JSON reader gets for the smallest floats is what was stored.
SELECT value::text::float8 = 5e-324 AS same FROM image(2) WHERE column_name = 'c_float8';
SELECT value::text::float4 = '1e-45'::float4 AS same FROM image(3) WHERE column_name = 'c_float4';

-- Floats of every size, as PostgreSQL itself makes a number of their text; whole ones keep a fraction.
CREATE TABLE floats (id int PRIMARY KEY, four float4, eight float8, fours float4[]);
SELECT apex.attach('floats', cache => apex.cache('floats', 'write'));
INSERT INTO floats
  SELECT i, number::float4, number, ARRAY[number, -number]::float4[] FROM generate_series(1, 5000) i
   CROSS JOIN LATERAL (SELECT (('0.' || abs(hashint8(i)))::numeric * sign(hashint4(i)) * 10 ^ (i % 60 - 30))::float8) made(number);
INSERT INTO floats SELECT 5100 + i, i, i * 10000, ARRAY[i * 100, i / 10000.0] FROM generate_series(-3, 3) i;
INSERT INTO floats VALUES (6000, '1e-45', '5e-324', '{3.4028235e38,-0,NULL}'), (6001, '9.999999e9', '123456789012345680', '{}');
CREATE FUNCTION number_of(text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN $1::numeric = trunc($1::numeric) THEN round($1::numeric, 1) ELSE $1::numeric END::text $$;
SELECT count(*), count(*) FILTER (WHERE after ->> 'four' <> number_of(four::text) OR after ->> 'eight' <> number_of(eight::text)
                                     OR after -> 'fours' <> to_jsonb(fours)) AS differ,
       count(*) FILTER (WHERE after #>> '{fours,0}' <> number_of(fours[1]::text)) AS differ_in_arrays
  FROM floats f JOIN apex.outbox o ON o.relation = 'floats'::regclass AND o.key = jsonb_build_array(f.id);
SELECT f.id, after ->> 'four' AS four, after ->> 'fours' AS fours
  FROM floats f JOIN apex.outbox o ON o.relation = 'floats'::regclass AND o.key = jsonb_build_array(f.id) WHERE f.id BETWEEN 4999 AND 5097 OR f.id >= 6000 ORDER BY f.id;

-- No setting changes any of it
CREATE TABLE plain AS SELECT * FROM image(1);
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'iso_8601';
SET timezone = 'Asia/Kathmandu';
SET extra_float_digits = -15;
SET bytea_output = 'escape';
SET lc_monetary = 'C';
SET quote_all_identifiers = on;
UPDATE value_of SET c_int2 = 0 WHERE id = 1;
UPDATE value_of SET c_int2 = -32768 WHERE id = 1;
-- They are the session's again afterwards.
SELECT current_setting('datestyle') AS datestyle, current_setting('timezone') AS timezone, current_setting('extra_float_digits') AS digits;
RESET ALL;
SET client_min_messages = warning;
SET search_path = encoding_test, public;
SELECT * FROM (SELECT * FROM image(1) EXCEPT SELECT * FROM plain) a UNION ALL SELECT * FROM (SELECT * FROM plain EXCEPT SELECT * FROM image(1)) b;

-- Large values, compressed and out of line; an UPDATE that does not touch them
ALTER TABLE value_of ALTER c_varchar TYPE text;
ALTER TABLE value_of ALTER c_text SET STORAGE EXTERNAL;
INSERT INTO value_of (id, c_text, c_varchar) VALUES (6, repeat('0123456789', 100000), repeat('x', 1000000));
SELECT column_name, length(value::text) FROM image(6);
UPDATE value_of SET c_bool = true WHERE id = 6;
SELECT column_name, length(value::text) FROM image(6);
UPDATE value_of SET c_text = c_text, c_varchar = c_varchar WHERE id = 6;
SELECT count(*) FROM apex.outbox WHERE relation = 'value_of'::regclass AND key = '[6]';

-- Too large for an image: the event has the key and the reason, the write goes on
INSERT INTO value_of (id, c_text) VALUES (7, repeat('x', 70 * 1024 * 1024));
INSERT INTO value_of (id, c_text, c_varchar) VALUES (8, repeat('x', 40 * 1024 * 1024), repeat('x', 40 * 1024 * 1024));
INSERT INTO value_of (id, c_ints) SELECT 9, array_fill(NULL::int, ARRAY[5000000]);
UPDATE value_of SET c_bool = true WHERE id = 7;
UPDATE value_of SET c_text = 'small again' WHERE id = 7;
DELETE FROM value_of WHERE id IN (7, 8);
SELECT op, key, before IS NULL AS no_before, after IS NULL AS no_after, error FROM apex.outbox
 WHERE relation = 'value_of'::regclass AND key IN ('[7]', '[8]', '[9]') ORDER BY key, seq;

-- A type whose own output function raises: likewise. (This one takes any number for a label of an enum.)
CREATE TYPE broken;
CREATE FUNCTION broken_in(cstring) RETURNS broken LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION broken_out(broken) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'enum_out';
CREATE TYPE broken (INPUT = broken_in, OUTPUT = broken_out, INTERNALLENGTH = 4, PASSEDBYVALUE);
CREATE TYPE around_broken AS (b broken);
CREATE TABLE breaking (id int PRIMARY KEY, name text, value broken, around around_broken, many broken[]);
SELECT apex.attach('breaking', cache => apex.cache('breaking', 'write'));
BEGIN;
INSERT INTO breaking VALUES (1, 'NULLs are fine');
INSERT INTO breaking VALUES (2, 'direct', '7', NULL, NULL), (3, 'inside', NULL, ROW ('7'::broken), NULL), (4, 'array', NULL, NULL, ARRAY['7'::broken]);
UPDATE breaking SET name = 'still' WHERE id = 2;
UPDATE breaking SET value = NULL WHERE id = 2;
DELETE FROM breaking WHERE id = 3;
COMMIT;
SELECT op, key, before, after, error FROM apex.outbox WHERE relation = 'breaking'::regclass ORDER BY seq;

-- The same values in a table without those other types, whose blocks keep rows as they are until they are read: the images are the same.
CREATE TABLE kept_of (LIKE value_of INCLUDING INDEXES);
ALTER TABLE kept_of DROP c_time, DROP c_interval, DROP c_bytea, DROP c_inet, DROP c_money, DROP c_enum, DROP c_pair, DROP c_range, DROP c_intervals;
SELECT apex.attach('kept_of', cache => apex.cache('kept', 'write'));
DO $$
DECLARE
  columns text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                    WHERE attrelid = 'encoding_test.kept_of'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN
  EXECUTE format('INSERT INTO encoding_test.kept_of SELECT %s FROM encoding_test.value_of WHERE id <= 6', columns);
END
$$;
CREATE FUNCTION images(relation regclass) RETURNS TABLE (id int, op "char", before jsonb, after jsonb) LANGUAGE sql AS $$
  SELECT DISTINCT ON (o.key) (o.key ->> 0)::int, o.op, o.before, o.after FROM apex.outbox o
   WHERE o.relation = images.relation AND (o.key ->> 0)::int <= 6 ORDER BY o.key, o.seq DESC
$$;
SELECT k.id, k.after = v.after - '{c_time,c_interval,c_bytea,c_inet,c_money,c_enum,c_pair,c_range,c_intervals}'::text[] AS same
  FROM images('kept_of') k JOIN images('value_of') v USING (id) ORDER BY id;
-- What an update leaves as it is comes from the new row
UPDATE kept_of SET c_int2 = coalesce(c_int2, 0) + 1, c_text = NULL;
SELECT op, id, before - '{c_int2,c_text}'::text[] = after - '{c_int2,c_text}'::text[] AS rest_same, before ->> 'c_int2' AS old_int2, after ->> 'c_int2' AS new_int2,
       length(before ->> 'c_text') AS old_text, after ->> 'c_text' AS new_text, length(after ->> 'c_varchar') AS untouched FROM images('kept_of') ORDER BY id;
DELETE FROM kept_of WHERE id IN (1, 6);
SELECT op, id, before ->> 'c_texts' AS old_texts, length(before ->> 'c_varchar') AS old_varchar, after FROM images('kept_of') WHERE op = 'D' ORDER BY id;
-- Too large for an image, whether that shows when it is captured or only when it is read
INSERT INTO kept_of (id, c_text) VALUES (7, repeat('x', 70 * 1024 * 1024));
INSERT INTO kept_of (id, c_ints) SELECT 9, array_fill(NULL::int, ARRAY[5000000]);
SELECT op, key, after IS NULL AS no_after, error FROM apex.outbox WHERE relation = 'kept_of'::regclass AND key IN ('[7]', '[9]') ORDER BY seq;

-- Keys and images are laid out byte for byte as PostgreSQL lays them out.
SELECT count(*) > 10 AS many, bool_and(record_image_eq(ROW (key, before, after), ROW (key::text::jsonb, before::text::jsonb, after::text::jsonb))) AS same
  FROM apex.outbox WHERE relation IN ('value_of'::regclass, 'breaking'::regclass, 'kept_of'::regclass);

SELECT apex.detach('value_of'), apex.detach('breaking'), apex.detach('kept_of');
DROP SCHEMA encoding_test CASCADE;
