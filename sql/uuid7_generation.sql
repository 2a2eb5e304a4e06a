-- uuid7: version and variant
SELECT uuid_version(uuid7()), substr(uuid7()::text, 15, 1) AS version, substr(uuid7()::text, 20, 1) IN ('8', '9', 'a', 'b') AS variant;
SELECT count(*) FROM generate_series(1, 10000) WHERE NOT is_uuid7(uuid7());

-- uuid7: alias
SELECT is_uuid7(generate_uuid7()) AS generate_uuid7, is_uuid7(generate_id()) AS generate_id;
WITH made AS MATERIALIZED (SELECT uuid7() AS a, generate_uuid7() AS b, generate_id() AS c, uuid7() AS d)
SELECT a < b AND b < c AND c < d AS one_order FROM made;
CREATE TABLE keyed (id uuid PRIMARY KEY DEFAULT generate_id(), n int);
INSERT INTO keyed (n) SELECT generate_series(1, 5);
SELECT array_agg(n ORDER BY id) FROM keyed;

-- uuid7: uniqueness over 1,000,000
SELECT count(DISTINCT id) FROM (SELECT uuid7() AS id FROM generate_series(1, 1000000)) AS made;

-- uuid7: text format
SELECT bool_and(uuid7()::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') FROM generate_series(1, 1000);

-- uuid7: sortable, as uuid, as text and as bytes
CREATE TEMP TABLE made AS SELECT n, uuid7() AS id FROM generate_series(1, 10000) AS n;
SELECT array_agg(n ORDER BY id) = array_agg(n ORDER BY n) AS as_uuid,
       array_agg(n ORDER BY id::text COLLATE "C") = array_agg(n ORDER BY n) AS as_text,
       array_agg(n ORDER BY uuid_send(id)) = array_agg(n ORDER BY n) AS as_bytes
FROM made;

-- uuid7: monotonic over 1,000,000 in one statement; timestamps non-decreasing
SELECT count(*) FILTER (WHERE id <= previous) AS not_rising,
       count(*) FILTER (WHERE uuid7_to_ms(id) < uuid7_to_ms(previous)) AS time_runs_back
FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous
      FROM (SELECT n, uuid7() AS id FROM generate_series(1, 1000000) AS n) AS made) AS pairs;

-- uuid7: monotonic from statement to statement of one session
CREATE TEMP TABLE one AS SELECT uuid7() AS id;
SELECT uuid7() > id AS rises FROM one;

-- uuid7: 1,000 rapid calls
DO $$
DECLARE
  last uuid := uuid7();
  made uuid;
BEGIN
  FOR i IN 1..1000 LOOP
    made := uuid7();
    IF made <= last THEN RAISE EXCEPTION 'call %: % after %', i, made, last; END IF;
    last := made;
  END LOOP;
END $$;

-- uuid7: agreement with clock_timestamp()
SELECT count(*) FILTER (WHERE uuid7_to_timestamp(id) NOT BETWEEN date_trunc('milliseconds', before) AND after) AS off
FROM (SELECT clock_timestamp() AS before, uuid7() AS id, clock_timestamp() AS after FROM generate_series(1, 10000)) AS made;

-- uuid7: a million in one statement do not run ahead of the clock
WITH made AS MATERIALIZED (SELECT max(uuid7_to_timestamp(uuid7())) AS last FROM generate_series(1, 1000000))
SELECT last <= clock_timestamp() AS not_ahead FROM made;

-- uuid7_batch: rising, unique, of one reading of the clock
SELECT count(*), count(DISTINCT id), max(uuid7_to_ms(id)) - min(uuid7_to_ms(id)) <= 1 AS one_moment FROM uuid7_batch(100000) AS id;
SELECT bool_and(id > previous) AS rises FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous FROM uuid7_batch(1000) WITH ORDINALITY AS made (id, n)) AS pairs;
SELECT count(*) FROM uuid7_batch(0);
SELECT count(*) FROM uuid7_batch(NULL);
SELECT count(*) FROM (SELECT uuid7_batch(3) LIMIT 2) AS first_two;
SELECT uuid7_batch(-1);
\echo :LAST_ERROR_SQLSTATE

-- uuid7(at): time of the caller, random for the rest
SELECT uuid7_to_timestamp(uuid7('2022-02-22 19:22:22+00')) AT TIME ZONE 'UTC' AS at, count(DISTINCT uuid7('2022-02-22 19:22:22+00')) FROM generate_series(1, 1000);
SELECT bool_and(uuid7(at) > uuid7(at - interval '1 microsecond')) AS microseconds_in_order
FROM generate_series('2022-02-22 19:22:22+00'::timestamptz, '2022-02-22 19:22:22.002+00', '1 microsecond') AS at;
SELECT uuid7(NULL);

-- uuid7(at): epoch boundary and year 10889
SELECT left(uuid7('1970-01-01 00:00:00+00')::text, 18), left(uuid7('10889-08-02 05:31:50.655999+00')::text, 18);
SELECT uuid7('1969-12-31 23:59:59.999999+00');
\echo :LAST_ERROR_SQLSTATE
SELECT uuid7('10889-08-02 05:31:50.656+00');
\echo :LAST_ERROR_SQLSTATE
SELECT uuid7('infinity');
\echo :LAST_ERROR_SQLSTATE
SELECT uuid7('-infinity');
\echo :LAST_ERROR_SQLSTATE

-- labels: volatile ones make new values, extractors may stand in an index, a security barrier or a worker
SELECT p.oid::regprocedure AS function, provolatile AS volatile, proisstrict AS strict, proleakproof AS leakproof, proparallel AS parallel
FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'apex_saga'
WHERE pronamespace <> 'apex'::regnamespace
ORDER BY p.proname COLLATE "C", 1;

DROP TABLE keyed;
