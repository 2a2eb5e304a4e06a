-- Backfill: every row that is there is sent, in pieces, while others write.
CREATE SCHEMA backfill_test;
SET search_path = backfill_test, public;
\pset null '~'

CREATE TABLE item (id int PRIMARY KEY, name text);
CREATE TABLE pair (a text COLLATE "C", b bigint, note text, PRIMARY KEY (b, a));
CREATE TABLE word (w text PRIMARY KEY);
CREATE TABLE thing (id uuid PRIMARY KEY);
CREATE DOMAIN stamp AS timestamptz CHECK (value > '2000-01-01');
CREATE TABLE moment (at stamp PRIMARY KEY);
CREATE TABLE parted (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE parted_1 (day date NOT NULL, gone text, id int NOT NULL, PRIMARY KEY (id, day));
ALTER TABLE parted_1 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE empty (id int PRIMARY KEY);
INSERT INTO item SELECT n, 'name ' || n FROM generate_series(1, 25) n;
INSERT INTO pair SELECT chr(97 + n % 7), n / 3, 'note' FROM generate_series(1, 20) n;
INSERT INTO word VALUES ('Zebra'), ('apple'), ('Äpfel'), ('it''s "quoted"'), (''), ('10'), ('9');
INSERT INTO thing SELECT format('00000000-0000-0000-0000-%s', lpad(n::text, 12, '0'))::uuid FROM generate_series(1, 9) n;
INSERT INTO moment SELECT timestamptz '2022-02-22 19:22:22.123456Z' + n * interval '1 microsecond' FROM generate_series(1, 5) n;
INSERT INTO parted SELECT n, date '2022-06-01' + n * 100 FROM generate_series(1, 5) n;

CREATE VIEW events AS SELECT op, relation::regclass, key, after FROM apex.outbox
  WHERE relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'backfill_test'::regnamespace) ORDER BY seq;
CREATE VIEW progress AS
  SELECT b ->> 'table' AS "table", b -> 'rows_sent' AS sent, b -> 'rows_expected' AS expected, b -> 'rows_held' AS held,
         b -> 'rows_per_second' AS rate, b ->> 'finished_at' IS NOT NULL AS finished
    FROM apex.status() s, jsonb_array_elements(s -> 'pipelines') p, jsonb_array_elements(p -> 'backfills') b
   WHERE p ->> 'pipeline' = 'backfill_test';
-- Steps as the leader takes them, until there is nothing left to do.
CREATE PROCEDURE take_steps(rows_max int) LANGUAGE plpgsql AS $$
DECLARE
  led bigint := (SELECT epoch FROM apex.pipeline WHERE name = 'backfill_test');
  step record;
BEGIN
  LOOP
    SELECT * INTO step FROM apex.backfill_step('backfill_test', led, rows_max, clock_timestamp() + interval '1 hour');
    EXIT WHEN step.rows_sent IS NULL;
    COMMIT;
  END LOOP;
END
$$;

-- Attached without: a NOTICE counts the rows. With it: nothing is said and they are sent.
SELECT apex.attach('item', apex.graph('Item', ARRAY['name']), pipeline => 'backfill_test');
SELECT apex.detach('item');
SELECT apex.attach('item', apex.graph('Item', ARRAY['name']), pipeline => 'backfill_test', backfill => true);
SELECT apex.attach('empty', apex.graph('Empty'), pipeline => 'backfill_test', backfill => true);
SELECT * FROM progress;
\set VERBOSITY terse
SELECT apex.backfill_step('backfill_test', 999, 10);
\set VERBOSITY default
SELECT epoch FROM apex.lead('backfill_test', 'regress', 600000) \gset
SELECT rows_sent FROM apex.backfill_step('backfill_test', :epoch, 10);
SELECT * FROM progress;
SELECT count(*), min((key ->> 0)::int), max((key ->> 0)::int) FROM events;

-- What is written meanwhile is captured as ever, and versions follow.
UPDATE item SET name = 'changed' WHERE id IN (5, 20);
DELETE FROM item WHERE id = 21;
CALL take_steps(10);
SELECT * FROM progress;
SELECT op, count(*), count(DISTINCT key) FROM events GROUP BY op ORDER BY op;
SELECT * FROM events WHERE key = '[20]';
SELECT rows_sent FROM apex.backfill_step('backfill_test', :epoch, 10);

-- Keys of every kind, in the order of their index, whatever the piece; leaf partitions one after the other.
SELECT apex.attach(t, apex.graph(initcap(t::text)), pipeline => 'backfill_test', backfill => true)
  FROM unnest(ARRAY['pair', 'word', 'thing', 'moment', 'parted']::regclass[]) t;
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Asia/Tokyo';
CALL take_steps(2);
RESET DateStyle;
RESET TimeZone;
SELECT * FROM progress WHERE "table" NOT LIKE '%.item' ORDER BY 1;
SELECT relation, count(*), count(DISTINCT key) FROM events WHERE op = 'R' GROUP BY relation ORDER BY relation::text;
SELECT key, after FROM events WHERE op = 'R' AND relation = 'parted'::regclass;
SELECT key FROM events WHERE op = 'R' AND relation = 'moment'::regclass;
SELECT array_agg(key ->> 0 ORDER BY (key ->> 0) COLLATE "C") FROM events WHERE op = 'R' AND relation = 'word'::regclass;

-- A limited rate: a quarter of a second's rows a step, and no step before its time.
SELECT apex.backfill('item', rows_per_second => 8);
SELECT clock_timestamp() AS t \gset
SELECT * FROM apex.backfill_step('backfill_test', :epoch, 1000, :'t');
SELECT * FROM apex.backfill_step('backfill_test', :epoch, 1000, :'t');
SELECT * FROM apex.backfill_step('backfill_test', :epoch, 1000, :'t'::timestamptz + interval '200 ms');
SELECT * FROM apex.backfill_step('backfill_test', :epoch, 1000, :'t'::timestamptz + interval '250 ms');
-- However often the leader asks in ten seconds, and whoever leads, no more than their share goes.
SELECT apex.backfill('item', rows_per_second => 2);
SELECT sum(rows_sent), max(rows_sent) FROM generate_series(0, 10000, 100) ms,
  apex.backfill_step('backfill_test', :epoch, 1000, :'t'::timestamptz + ms * interval '1 ms');
SELECT sent, rate, finished FROM progress WHERE "table" LIKE '%.item';

-- Begun anew; ended by a detach; refused without a mapping or a right.
SELECT apex.backfill('item');
SELECT sent, expected, rate, finished FROM progress WHERE "table" LIKE '%.item';
SELECT apex.detach('item');
SELECT count(*) FROM apex.backfill_progress WHERE relation = 'item'::regclass;
SELECT apex.backfill('item');
SELECT apex.backfill('word', 0);
SELECT apex.backfill(NULL);
CREATE ROLE regress_apex_user;
GRANT USAGE ON SCHEMA backfill_test TO regress_apex_user;
SET ROLE regress_apex_user;
SELECT apex.backfill('word');
RESET ROLE;
CREATE ROLE regress_apex_sidecar;
GRANT USAGE ON SCHEMA backfill_test TO regress_apex_sidecar;
SELECT apex.grant_sidecar('regress_apex_sidecar');
SET ROLE regress_apex_sidecar;
SELECT apex.backfill('word');
SELECT rows_sent FROM apex.backfill_step('backfill_test', :epoch, 10);
SELECT count(*) FROM word;
RESET ROLE;

-- A table that is dropped is not in the way of the others.
SELECT apex.backfill('empty'), apex.backfill('thing');
DROP TABLE empty;
CALL take_steps(100);
SELECT "table", sent, finished FROM progress ORDER BY 1;

-- Another history: everything is sent anew.
UPDATE apex.pipeline SET system_identifier = 0 WHERE name = 'backfill_test';
SELECT another_history, epoch FROM apex.lead('backfill_test', 'regress', 600000) \gset
SELECT :'another_history';
SELECT "table", sent, finished FROM progress ORDER BY 1;

DROP OWNED BY regress_apex_sidecar;
DROP OWNED BY regress_apex_user;
DROP ROLE regress_apex_sidecar, regress_apex_user;
SELECT apex.detach(t) FROM unnest(ARRAY['pair', 'word', 'thing', 'moment', 'parted']::regclass[]) t;
DELETE FROM apex.pipeline WHERE name = 'backfill_test';
SET client_min_messages = warning;
DROP SCHEMA backfill_test CASCADE;
