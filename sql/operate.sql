-- refresh, retry, discard, the views, status, rotate and grant_sidecar.
CREATE SCHEMA operate_test;
SET search_path = operate_test, public;
SET client_min_messages = warning;
\pset null '~'

CREATE TABLE item (id int PRIMARY KEY, name text, embedding real[]);
CREATE TABLE pair (a text, b bigint, item_id int REFERENCES item, PRIMARY KEY (b, a));
CREATE TABLE parted (id uuid, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
INSERT INTO item VALUES (1, 'there before', '{1,2}');
SELECT apex.attach('item', apex.graph('Item', ARRAY['name']), apex.vector('items', 'embedding', 2), pipeline => 'operate_test');
SELECT apex.attach('pair', apex.graph('Pair'), aggregate => 'item_id', pipeline => 'operate_test');
SELECT apex.attach('parted', apex.graph('Parted'), pipeline => 'operate_test');

CREATE VIEW events AS SELECT op, relation::regclass, key, aggregate_key, before, after, embedding, error FROM apex.outbox
  WHERE relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'operate_test'::regnamespace) ORDER BY seq;

-- apex.refresh: a full image as a new version; one that is not there is a delete
SELECT apex.refresh('item', '1') AS refreshed \gset
SELECT :refreshed = last_value AS newest FROM apex.outbox_seq;
SELECT apex.refresh('item', '2') > 0 AS drawn;
INSERT INTO pair VALUES ('x"y', 7, 1);
SELECT apex.refresh('pair', '7', 'x"y') > 0, apex.refresh('pair', VARIADIC ARRAY['8', 'x"y']) > 0;
INSERT INTO parted VALUES ('00000000-0000-0000-0000-000000000001', '2023-05-05');
SELECT apex.refresh('parted', id::text, day::text) > 0 FROM parted;
SELECT apex.refresh('parted', '00000000-0000-0000-0000-000000000001', '2022-05-05') > 0;
SELECT * FROM events;

-- A row that the transaction itself has changed
BEGIN;
UPDATE item SET name = 'changed' WHERE id = 1;
SELECT apex.refresh('item', '1') > 0 AS drawn;
DELETE FROM pair;
SELECT apex.refresh('pair', '7', 'x"y') > 0 AS drawn;
COMMIT;
SELECT op, relation, key, after FROM events OFFSET 8;

-- What it refuses
CREATE TABLE stranger (id int PRIMARY KEY);
DO $$
DECLARE
  call text;
  state text;
  message text;
  hint text;
BEGIN
  FOREACH call IN ARRAY ARRAY['''stranger'', ''1''', '''item''', '''item'', ''1'', ''2''', '''item'', NULL', '''item'', ''one''', '4294967295::oid::regclass, ''1'''] LOOP
    BEGIN
      EXECUTE format('SELECT apex.refresh(%s)', call);
      RAISE WARNING '%: not refused', call;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
      RAISE INFO '%: % % (%)', call, state, message, hint;
    END;
  END LOOP;
END
$$;

-- Failed sagas, as the sidecar writes them down
SELECT epoch FROM apex.lead('operate_test', 'regress', 60000) \gset
CREATE FUNCTION fail(id uuid, epoch bigint, state text) RETURNS void LANGUAGE sql AS $$
  WITH newest AS (SELECT max(seq) AS seq, (array_agg(mapping ORDER BY seq DESC))[1] AS mapping, max(xid) AS xid FROM apex.outbox
                   WHERE relation = 'item'::regclass AND key = '[1]')
  SELECT apex.record_failure('operate_test', epoch, jsonb_build_object(
      'id', id, 'relation', 'item'::regclass::oid::bigint, 'key', '[1]'::jsonb, 'xids', jsonb_build_array(n.xid::text), 'steps', '["write_neo4j"]'::jsonb,
      'failed_step', 'write_qdrant', 'error_type', 'permanent', 'native_code', 'INVALID_ARGUMENT', 'error', 'Wrong input', 'events', jsonb_build_array(n.seq),
      'rows', jsonb_build_array(jsonb_build_object('relation', 'item'::regclass::oid::bigint, 'key', '[1]'::jsonb, 'mapping', n.mapping,
                                                   'failed_seq', n.seq, 'first_seq', n.seq, 'oldest_seq', n.seq)))) FROM newest n;
  SELECT apex.settle_failure('operate_test', epoch, id, state) WHERE state <> 'compensating';
$$;
SELECT fail('00000000-0000-0000-0000-00000000000a', :epoch, 'compensating');
SELECT id, pipeline, state, relation, key, failed_step, error_type, native_code, error, steps FROM apex.sagas WHERE pipeline = 'operate_test';
SELECT count(*) FROM apex.failed_sagas WHERE pipeline = 'operate_test';
SELECT apex.retry('00000000-0000-0000-0000-00000000000a');
\echo :LAST_ERROR_SQLSTATE
SELECT apex.discard('00000000-0000-0000-0000-00000000000a');
\echo :LAST_ERROR_SQLSTATE
SELECT apex.settle_failure('operate_test', :epoch, '00000000-0000-0000-0000-00000000000a', 'parked');
SELECT count(*) FROM apex.sagas WHERE pipeline = 'operate_test';
SELECT id, pipeline, state, relation, key, failed_step, error_type, native_code, error, rows FROM apex.failed_sagas WHERE pipeline = 'operate_test';

-- apex.retry sends each row as it is now; the saga stays until that has arrived
SELECT apex.retry('00000000-0000-0000-0000-00000000000a');
SELECT op, relation, key, after FROM events OFFSET 12;
SELECT count(*) FROM apex.failed_sagas WHERE pipeline = 'operate_test';

-- apex.status
SELECT jsonb_array_length(s -> 'outbox_bytes') AS slots, p ->> 'pipeline' AS pipeline, p ->> 'leader' AS leader, (p ->> 'epoch')::bigint = :epoch AS epoch,
       (p ->> 'heartbeat_age_seconds')::numeric BETWEEN 0 AND 60 AS heartbeat, p -> 'backlog' AS backlog,
       (p ->> 'oldest_event_age_seconds')::numeric BETWEEN 0 AND 60 AS age, p -> 'compensating' AS compensating, p -> 'parked' AS parked,
       p -> 'compensation_failed' AS compensation_failed, p -> 'tables' AS tables
  FROM apex.status() s, jsonb_array_elements(s -> 'pipelines') p WHERE p ->> 'pipeline' = 'operate_test';

-- apex.discard forgets it; a saga that is not there is an error
SELECT apex.discard('00000000-0000-0000-0000-00000000000a');
SELECT (SELECT count(*) FROM apex.saga) + (SELECT count(*) FROM apex.saga_row) + (SELECT count(*) FROM apex.saga_event) AS left_over;
SELECT apex.discard('00000000-0000-0000-0000-00000000000a');
\echo :LAST_ERROR_SQLSTATE
SELECT apex.retry('00000000-0000-0000-0000-00000000000a');

-- apex.rotate: empties the slot before the current one, if every cursor has passed it
CREATE FUNCTION put_into_previous_slot() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('INSERT INTO apex.outbox_%s SELECT * FROM apex.outbox_blocks', (apex.outbox_slot() + 2) % 3);
END
$$;
CREATE FUNCTION previous_slot_rows() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  n bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM apex.outbox_%s', (apex.outbox_slot() + 2) % 3) INTO n;
  RETURN n;
END
$$;
SELECT apex.outbox_slot() BETWEEN 0 AND 2 AS slot;
TRUNCATE apex.outbox_0, apex.outbox_1, apex.outbox_2;
SELECT apex.rotate();
INSERT INTO item VALUES (100);
SELECT put_into_previous_slot();
-- There is something to deliver, so that nothing happens.
SELECT apex.rotate();
SELECT previous_slot_rows();
-- Everything is delivered.
SELECT count(*) FROM apex.read_piece('operate_test', :epoch, 0, 1000);
SELECT apex.checkpoint('operate_test', :epoch, (SELECT last_value FROM apex.outbox_seq), '[]', true);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT apex.rotate();
ROLLBACK;
SELECT apex.rotate() = ARRAY[(apex.outbox_slot() + 2) % 3] AS emptied;
SELECT previous_slot_rows();

-- apex.grant_sidecar: all that apex run needs, and nothing on the user's tables
CREATE ROLE regress_apex_sidecar;
CREATE ROLE regress_apex_user;
GRANT USAGE ON SCHEMA operate_test TO regress_apex_sidecar, regress_apex_user;
SELECT apex.grant_sidecar('regress_apex_sidecar');
SET ROLE regress_apex_sidecar;
SELECT count(*) >= 0 AS reads FROM apex.outbox;
SELECT count(*) >= 0 AS reads FROM apex.mapping;
SELECT count(*) >= 0 AS reads FROM apex.failed_sagas;
SELECT apex.refresh('item', '1') > 0 AS drawn;
SELECT apex.status() IS NOT NULL AS status;
SELECT epoch > 0 AS leads FROM apex.lead('operate_test', 'regress', 60000);
SELECT apex.resign('operate_test', epoch) FROM apex.pipeline WHERE name = 'operate_test';
SELECT p ->> 'leader' AS leader, p ->> 'heartbeat_age_seconds' AS age
  FROM apex.status() s, jsonb_array_elements(s -> 'pipelines') p WHERE p ->> 'pipeline' = 'operate_test';
SELECT apex.rotate();
SELECT count(*) FROM item;
INSERT INTO apex.outbox_0 SELECT * FROM apex.outbox_0;
DELETE FROM apex.mapping;
UPDATE apex.pipeline SET epoch = 0;
SELECT apex.attach('stranger', apex.graph('Stranger'));
RESET ROLE;
-- And nobody else has any of it.
SET ROLE regress_apex_user;
SELECT count(*) FROM apex.outbox;
SELECT count(*) FROM apex.outbox_0;
SELECT count(*) FROM apex.unpack('apex.outbox_0'::regclass, '(0,1)');
SELECT count(*) FROM apex.mapping;
SELECT count(*) FROM apex.failed_sagas;
SELECT nextval('apex.outbox_seq');
SELECT apex.refresh('item', '1');
SELECT apex.retry('00000000-0000-0000-0000-00000000000a');
SELECT apex.discard('00000000-0000-0000-0000-00000000000a');
SELECT apex.status();
SELECT apex.rotate();
SELECT apex.grant_sidecar('regress_apex_user');
RESET ROLE;
DROP OWNED BY regress_apex_sidecar;
DROP OWNED BY regress_apex_user;
DROP ROLE regress_apex_sidecar, regress_apex_user;

SELECT apex.detach(t) FROM unnest(ARRAY['pair', 'parted', 'item']::regclass[]) t;
DELETE FROM apex.pipeline WHERE name = 'operate_test';
DROP SCHEMA operate_test CASCADE;
