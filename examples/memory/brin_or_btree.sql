-- Measures BRIN against btree on a uuid column: psql -v rows=10000000 -f brin_or_btree.sql
--
-- Two tables of about 170 bytes a row: `ordered` has ids of version 7 alone, as they come over a year; in `mixed` every
-- hundredth row has one of version 4, as while an application moves over. Needs the extension; makes and drops schema brin.
\set ON_ERROR_STOP on
\if :{?rows} \else \set rows 10000000 \endif
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS brin CASCADE;
CREATE SCHEMA brin;
SET search_path = brin, public;
SET max_parallel_workers_per_gather = 0;
SET maintenance_work_mem = '512MB';
SET jit = off;

CREATE TABLE ordered AS
  SELECT uuid7(now() - interval '1 year' * (1 - i / :rows::float)) AS uuid, i AS n, repeat(md5(i::text), 3) AS content
    FROM generate_series(1, :rows) AS i;
CREATE TABLE mixed AS
  SELECT CASE WHEN n % 100 = 0 THEN gen_random_uuid() ELSE uuid END AS uuid, n, content FROM ordered;
VACUUM (ANALYZE, FREEZE) ordered, mixed;

CREATE TABLE measured (rows text, index text, bytes bigint, build_s numeric, by_id_ms numeric, last_hour_ms numeric, newest_10_ms numeric);

-- The median of so many runs, in milliseconds.
CREATE FUNCTION median_ms(query text, runs int) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  times float[] := '{}';
  started timestamptz;
BEGIN
  FOR i IN 1..runs LOOP
    started := clock_timestamp();
    EXECUTE query;
    times := times || (extract(epoch FROM clock_timestamp() - started) * 1000)::float;
  END LOOP;
  RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(times) AS t)::numeric(12, 2);
END
$$;

CREATE PROCEDURE measure(rows text, index text, method text) LANGUAGE plpgsql AS $$
DECLARE
  started timestamptz := clock_timestamp();
  build numeric;
  one uuid;
BEGIN
  EXECUTE format('CREATE INDEX measured_idx ON %I USING %s', rows, method);
  build := extract(epoch FROM clock_timestamp() - started);
  EXECUTE format('SELECT uuid FROM %I WHERE n = (SELECT max(n) / 2 + 1 FROM %1$I)', rows) INTO one;
  INSERT INTO measured SELECT rows, index, pg_relation_size('measured_idx'), build::numeric(12, 1),
    median_ms(format('SELECT FROM %I WHERE uuid = %L', rows, one), 11),
    median_ms(format($q$SELECT count(n) FROM %I WHERE uuid7_between(uuid, now() - interval '1 hour', now())$q$, rows), 11),
    -- A BRIN index gives no order: the table is read and sorted, which once is enough to know.
    median_ms(format($q$SELECT n FROM %I WHERE uuid7_between(uuid, '-infinity', now()) ORDER BY uuid DESC LIMIT 10$q$, rows),
              CASE index WHEN 'btree' THEN 11 ELSE 1 END);
  DROP INDEX measured_idx;
END
$$;

SELECT format('CALL measure(%L, %L, %L)', rows, index, method)
  FROM (VALUES ('ordered'), ('mixed')) AS r (rows),
       (VALUES (1, 'btree', 'btree (uuid)'), (2, 'BRIN', 'brin (uuid)'),
               (3, 'BRIN minmax-multi', 'brin (uuid uuid_minmax_multi_ops)')) AS i (place, index, method)
 ORDER BY rows DESC, place
\gexec

SELECT rows, index, pg_size_pretty(bytes) AS size, build_s, by_id_ms, last_hour_ms, newest_10_ms FROM measured;
SELECT relname AS table, pg_size_pretty(pg_table_size(oid)) AS size FROM pg_class WHERE oid IN ('ordered'::regclass, 'mixed'::regclass);
DROP SCHEMA brin CASCADE;
