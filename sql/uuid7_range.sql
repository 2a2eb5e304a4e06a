SET TimeZone = 'UTC';

-- bounds: first and last id of the millisecond
SELECT uuid7_lower_bound('2022-02-22 19:22:22.000999+00'), uuid7_upper_bound('2022-02-22 19:22:22+00');
SELECT count(*) FILTER (WHERE uuid7(at) NOT BETWEEN uuid7_lower_bound(at) AND uuid7_upper_bound(at)) AS outside
FROM generate_series('2022-02-22 19:22:21.99+00'::timestamptz, '2022-02-22 19:22:22.01+00', '1 microsecond') AS at;

-- bounds: clamped, never an error
SELECT at, uuid7_lower_bound(at), uuid7_upper_bound(at)
FROM unnest(ARRAY['-infinity', '4713-01-01 00:00:00+00 BC', '1969-12-31 23:59:59.999999+00', '1970-01-01 00:00:00+00',
                  '10889-08-02 05:31:50.655+00', '10889-08-02 05:31:50.656+00', '294276-12-31 23:59:59.999999+00', 'infinity', NULL]::timestamptz[]) AS at;

-- a table with ids of version 7 and 4, some of which fall between the bounds by chance
CREATE TABLE ranged (id uuid PRIMARY KEY, n int);
INSERT INTO ranged SELECT uuid7('2024-01-01 00:00:00+00'::timestamptz + n * interval '1 minute'), n FROM generate_series(1, 20000) AS n;
INSERT INTO ranged SELECT gen_random_uuid(), -n FROM generate_series(1, 2000) AS n;
INSERT INTO ranged
SELECT overlay(overlay(uuid7('2024-01-01 00:00:00+00'::timestamptz + n * interval '7 minutes')::text PLACING '4' FROM 15) PLACING 'a' FROM 20)::uuid, -n
FROM generate_series(1, 2000) AS n;
INSERT INTO ranged VALUES ('00000000-0000-7000-8000-000000000000', 0), ('ffffffff-ffff-7fff-bfff-ffffffffffff', 0),
  ('00000000-0000-0000-0000-000000000000', 0), ('ffffffff-ffff-ffff-ffff-ffffffffffff', 0);
ANALYZE ranged;

-- uuid7_between: two index conditions on id, and a filter for other versions
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT * FROM ranged WHERE uuid7_between(id, '2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
EXPLAIN (COSTS OFF) SELECT * FROM ranged WHERE uuid7_between(id, now() - interval '1 hour', now());

-- uuid7_between: prepared, with parameters
PREPARE of_period (timestamptz, timestamptz) AS SELECT count(*) FROM ranged WHERE uuid7_between(id, $1, $2);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE of_period ('2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
EXECUTE of_period ('2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
RESET plan_cache_mode;

-- uuid7_between: prepared, every odd bound, never an error
SET plan_cache_mode = force_generic_plan;
EXECUTE of_period ('-infinity', 'infinity');
EXECUTE of_period ('infinity', '-infinity');
EXECUTE of_period (NULL, 'infinity');
EXECUTE of_period ('294276-12-31 23:59:59.999999+00', NULL);
RESET plan_cache_mode;

-- uuid7_between: with parameters of a function, through a view, and behind a row security that must see every row first
CREATE VIEW of_january AS SELECT id, n FROM ranged WHERE uuid7_between(id, '2024-01-01 00:00:00+00', '2024-01-31 23:59:59.999+00');
EXPLAIN (COSTS OFF) SELECT id FROM of_january ORDER BY id DESC LIMIT 10;
CREATE FUNCTION counted(low timestamptz, high timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT count(*) FROM ranged WHERE uuid7_between(id, low, high));
END
$$;
SELECT counted('2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
CREATE ROLE regress_apex_reader;
GRANT SELECT ON ranged TO regress_apex_reader;
ALTER TABLE ranged ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION is_allowed(n int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN n % 2 = 0; END';
CREATE POLICY even ON ranged USING (is_allowed(n));
SET ROLE regress_apex_reader;
EXPLAIN (COSTS OFF) SELECT n FROM ranged WHERE uuid7_between(id, '2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
SELECT count(*) FROM ranged WHERE uuid7_between(id, '2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
RESET ROLE;
ALTER TABLE ranged DISABLE ROW LEVEL SECURITY;
DROP POLICY even ON ranged;
REVOKE ALL ON ranged FROM regress_apex_reader;
DROP ROLE regress_apex_reader;

-- uuid7_between: what is changed and removed is found by the index too
EXPLAIN (COSTS OFF) UPDATE ranged SET n = n WHERE uuid7_between(id, '2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
EXPLAIN (COSTS OFF) DELETE FROM ranged WHERE uuid7_between(id, '2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');

-- uuid7_between: behind another column of an index
CREATE INDEX ranged_by_remainder ON ranged ((n % 10), id);
ANALYZE ranged;
EXPLAIN (COSTS OFF) SELECT n FROM ranged WHERE n % 10 = 3 AND uuid7_between(id, '2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00');
DROP INDEX ranged_by_remainder;

-- uuid7_between: as the inner side of a join
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
EXPLAIN (COSTS OFF)
SELECT day, count(*) FROM generate_series('2024-01-02'::timestamptz, '2024-01-04', '1 day') AS day
JOIN ranged ON uuid7_between(id, day, day + interval '1 hour') GROUP BY day;
SELECT day, count(*) FROM generate_series('2024-01-02'::timestamptz, '2024-01-04', '1 day') AS day
JOIN ranged ON uuid7_between(id, day, day + interval '1 hour') GROUP BY day ORDER BY day;

-- uuid7_between: the bounds are columns of the outer row, among them infinite ones and none
CREATE TABLE periods (name text, low timestamptz, high timestamptz);
INSERT INTO periods VALUES ('an hour', '2024-01-02 00:00:00+00', '2024-01-02 01:00:00+00'), ('a day', '2024-01-03 00:00:00+00', '2024-01-03 23:59:59.999+00'),
  ('all', '-infinity', 'infinity'), ('none', 'infinity', '-infinity'), ('unknown', NULL, '2024-01-02 01:00:00+00');
EXPLAIN (COSTS OFF) SELECT name, n FROM periods LEFT JOIN ranged ON uuid7_between(id, low, high);
SELECT name, count(n) AS by_key,
       (SELECT count(*) FROM ranged WHERE uuid7_to_timestamp(id) BETWEEN date_trunc('milliseconds', low) AND high) AS by_time
FROM periods LEFT JOIN ranged ON uuid7_between(id, low, high) GROUP BY name, low, high ORDER BY name;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
RESET enable_bitmapscan;

-- uuid7_between: the planner's guess is near the rows that pass
CREATE FUNCTION rows_planned(query text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
  RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END $$;
SELECT rows_planned($$SELECT FROM ranged WHERE uuid7_between(id, '2024-01-02 00:00:00+00', '2024-01-09 00:00:00+00')$$)
       BETWEEN 10080 * 0.7 AND 10080 * 1.5 AS near;
DROP FUNCTION rows_planned;

-- uuid7_between: equal results to filtering by time, whatever the bounds
SELECT low, high,
       (SELECT count(*) FROM ranged WHERE uuid7_between(id, low, high)) AS by_key,
       (SELECT count(*) FROM ranged WHERE uuid7_to_timestamp(id) BETWEEN date_trunc('milliseconds', low) AND high) AS by_time
FROM (VALUES ('2024-01-02 00:00:00+00'::timestamptz, '2024-01-02 01:00:00+00'::timestamptz),
             ('2024-01-02 00:00:00.0005+00', '2024-01-02 00:00:59.9999+00'),
             ('2024-01-02 01:00:00+00', '2024-01-02 00:00:00+00'),
             ('-infinity', 'infinity'), ('-infinity', '1969-12-31 23:59:59.999+00'), ('-infinity', '1970-01-01 00:00:00+00'),
             ('10889-08-02 05:31:50.655+00', 'infinity'), ('10889-08-02 05:31:50.656+00', 'infinity'), ('infinity', '-infinity')) AS bounds (low, high);
SELECT count(*) AS differ FROM ranged,
  LATERAL (SELECT '2023-12-25 00:00:00+00'::timestamptz + n * interval '11:17:31.777' AS low FROM generate_series(1, 40) AS n) AS lows
WHERE uuid7_between(id, low, low + interval '3 days')
      IS DISTINCT FROM coalesce(uuid7_to_timestamp(id) BETWEEN date_trunc('milliseconds', low) AND low + interval '3 days', false);
SELECT uuid7_between(NULL, now(), now()), uuid7_between(uuid7(), NULL, now() + interval '1 hour'), uuid7_between(uuid7(), now() - interval '1 hour', NULL);

-- uuid7_between: monthly partitions by bounds are pruned
CREATE TABLE parted (id uuid PRIMARY KEY DEFAULT uuid7()) PARTITION BY RANGE (id);
DO $$
BEGIN
  FOR month IN 1..3 LOOP
    EXECUTE format('CREATE TABLE parted_%s PARTITION OF parted FOR VALUES FROM (%L) TO (%L)', month,
                   uuid7_lower_bound(make_timestamptz(2024, month, 1, 0, 0, 0, 'UTC')), uuid7_lower_bound(make_timestamptz(2024, month + 1, 1, 0, 0, 0, 'UTC')));
  END LOOP;
END $$;
INSERT INTO parted SELECT uuid7(at) FROM generate_series('2024-01-01 00:00:00+00'::timestamptz, '2024-03-31 23:00:00+00', '1 hour') AS at;
EXPLAIN (COSTS OFF) SELECT count(*) FROM parted WHERE uuid7_between(id, '2024-02-10 00:00:00+00', '2024-02-20 00:00:00+00');
SELECT count(*) FROM parted WHERE uuid7_between(id, '2024-02-10 00:00:00+00', '2024-02-20 00:00:00+00');


-- uuid7_between: pruned when the query starts, by parameters and by the clock
CREATE TABLE parted_other PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT gen_random_uuid() FROM generate_series(1, 500);
INSERT INTO parted
SELECT overlay(overlay(uuid7('2024-01-01 00:00:00+00'::timestamptz + n * interval '97 minutes')::text PLACING '4' FROM 15) PLACING 'a' FROM 20)::uuid
FROM generate_series(1, 1000) AS n;
ANALYZE parted;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM parted WHERE uuid7_between(id, now() - interval '1 hour', now());
PREPARE in_parts (timestamptz, timestamptz) AS SELECT count(*) FROM parted WHERE uuid7_between(id, $1, $2);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE in_parts ('2024-02-10 00:00:00+00', '2024-02-20 00:00:00+00');
RESET enable_bitmapscan;
EXECUTE in_parts ('2024-02-10 00:00:00+00', '2024-02-20 00:00:00+00');
EXECUTE in_parts ('2024-01-31 23:00:00+00', '2024-02-01 00:00:00+00');
EXECUTE in_parts ('-infinity', 'infinity');
EXECUTE in_parts (NULL, 'infinity');
RESET plan_cache_mode;

-- uuid7_between: pruned for each outer row
CREATE FUNCTION parts_read(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
  RETURN QUERY SELECT DISTINCT part #>> '{}' FROM jsonb_path_query(plan, '$.** ? (@."Actual Loops" > 0)."Relation Name"') AS part
               WHERE part #>> '{}' LIKE 'parted%' ORDER BY 1;
END
$$;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT parts_read($$SELECT count(*) FROM periods JOIN parted ON uuid7_between(id, low, high) WHERE name IN ('an hour', 'a day')$$);
SELECT name, count(*) FROM periods JOIN parted ON uuid7_between(id, low, high) GROUP BY name ORDER BY name;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;

DROP FUNCTION counted, parts_read, is_allowed;
DROP VIEW of_january;
DROP TABLE periods;
DROP TABLE ranged, parted;
