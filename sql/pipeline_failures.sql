-- What is written down of a saga that failed for good, and how it leaves again. Psql plays the sidecar.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS apex_saga;
RESET client_min_messages;
CREATE TABLE failing (id int PRIMARY KEY, title text, embedding real[]);
SELECT apex.attach('failing', vector => apex.vector('failing', 'embedding', dimensions => 2, payload => ARRAY['title']),
                   pipeline => 'regress_failures');
SELECT epoch FROM apex.lead('regress_failures', 'regress', 60000) \gset

-- The events of the next batch, by their order, with what a failure of all of them would say.
CREATE TEMP TABLE piece (nr int, seq bigint, xid xid8, id int);
CREATE FUNCTION pg_temp.read(epoch bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  n int;
BEGIN
  TRUNCATE piece;
  INSERT INTO piece SELECT row_number() OVER (ORDER BY p.seq), p.seq, p.xid, (p.key ->> 0)::int
    FROM apex.read_piece('regress_failures', read.epoch, 0, 100) p;
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;
CREATE FUNCTION pg_temp.close(epoch bigint, superseded jsonb DEFAULT '[]') RETURNS void LANGUAGE sql AS $$
  SELECT apex.checkpoint('regress_failures', epoch, (SELECT max(seq) FROM piece), superseded, true) $$;
CREATE FUNCTION pg_temp.failure(id text, carried_forward boolean DEFAULT false) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('id', '01890a5d-ac96-774b-bcce-b302099a80' || failure.id, 'relation', 'failing'::regclass::oid,
    'key', jsonb_build_array(min(p.id)), 'xids', jsonb_agg(DISTINCT p.xid::text), 'steps', '["write_neo4j", "write_qdrant"]'::jsonb,
    'failed_step', 'write_qdrant', 'error_type', 'refused', 'native_code', 'INVALID_ARGUMENT', 'error', 'Wrong input: dimension',
    'traceparent', '', 'events', jsonb_agg(p.seq ORDER BY p.seq),
    'rows', (SELECT jsonb_agg(jsonb_build_object('relation', 'failing'::regclass::oid, 'key', jsonb_build_array(r.id),
               'mapping', (SELECT m.id FROM apex.mapping m WHERE m.relation = 'failing'::regclass AND m.active),
               'failed_seq', r.last, 'first_seq', r.first, 'oldest_seq', r.first,
               'carried_forward', failure.carried_forward))
               FROM (SELECT q.id, max(q.seq) AS last, min(q.seq) AS first FROM piece q GROUP BY q.id) r))
    FROM piece p $$;
CREATE VIEW failing_parked AS
  SELECT right(r.saga::text, 2) AS saga, s.state, r.key, r.failed_seq - r.accepted_seq AS versions, r.accepted,
         length(r.accepted_embedding) AS embedding_bytes
    FROM apex.saga_row r JOIN apex.saga s ON s.id = r.saga WHERE s.pipeline = 'regress_failures' ORDER BY r.key;

-- An insert: the row was not there. Two changes of one row count from the first. Repeating it changes nothing.
BEGIN;
INSERT INTO failing VALUES (1, 'one', '{1}'), (2, 'two', '{2}');
UPDATE failing SET title = 'one again' WHERE id = 1;
COMMIT;
SELECT pg_temp.read(:epoch);
SELECT key, accepted, images FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('01'));
SELECT key, accepted, images FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('01'));
SELECT * FROM failing_parked;
SELECT count(*), count(after) AS images FROM apex.saga_event WHERE saga::text LIKE '%01';

-- Parked: its images are erased. Its events are not read again, not even before the batch is closed.
SELECT apex.settle_failure('regress_failures', :epoch, '01890a5d-ac96-774b-bcce-b302099a8001', 'parked');
SELECT state, settled_at IS NOT NULL AS settled FROM apex.saga WHERE id::text LIKE '%01';
SELECT count(*), count(after) AS images FROM apex.saga_event WHERE saga::text LIKE '%01';
SELECT count(*) FROM apex.read_piece('regress_failures', :epoch, 0, 100);
SELECT pg_temp.close(:epoch);

-- Failing again, the parked row takes its accepted image along and leaves the other saga, which keeps its other row.
UPDATE failing SET title = 'one, third', embedding = NULL WHERE id = 1;
SELECT pg_temp.read(:epoch);
SELECT key, accepted FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('02'));
SELECT * FROM failing_parked;
SELECT apex.settle_failure('regress_failures', :epoch, '01890a5d-ac96-774b-bcce-b302099a8002', 'parked');
SELECT pg_temp.close(:epoch);

-- Failing once more after a change in between was accepted, whose checkpoint is yet to come, it starts anew from that change.
UPDATE failing SET title = 'one, accepted' WHERE id = 1;
SELECT pg_temp.read(:epoch);
SELECT pg_temp.close(:epoch);
UPDATE failing SET title = 'one, fifth' WHERE id = 1;
SELECT pg_temp.read(:epoch);
SELECT key, accepted FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('06', true));
SELECT * FROM failing_parked;
SELECT apex.settle_failure('regress_failures', :epoch, '01890a5d-ac96-774b-bcce-b302099a8006', 'parked');
SELECT pg_temp.close(:epoch);

-- An older version supersedes nothing, a newer one does; a saga without rows goes, with its events.
SELECT pg_temp.close(:epoch, jsonb_build_array(jsonb_build_object('relation', 'failing'::regclass::oid, 'key', '[2]'::jsonb, 'seq', 1)));
SELECT saga, key FROM failing_parked;
UPDATE failing SET embedding = '{1,2}';
SELECT pg_temp.read(:epoch);
SELECT pg_temp.close(:epoch, (SELECT jsonb_agg(jsonb_build_object('relation', 'failing'::regclass::oid, 'key', jsonb_build_array(id), 'seq', seq)) FROM piece));
SELECT saga, key FROM failing_parked;
SELECT count(*) AS sagas FROM apex.saga WHERE pipeline = 'regress_failures';
SELECT count(*) AS events FROM apex.saga_event WHERE saga::text LIKE '01890a5d-ac96-774b-bcce-b302099a80%';

-- The accepted image of an update is the one before it, its embedding the old one where that differs.
UPDATE failing SET title = 'title only' WHERE id = 1;
UPDATE failing SET embedding = '{1,2,3}' WHERE id = 2;
SELECT pg_temp.read(:epoch);
SELECT key, accepted, length(accepted_embedding) FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('03'));
SELECT apex.settle_failure('regress_failures', :epoch, '01890a5d-ac96-774b-bcce-b302099a8003', 'compensation_failed');
SELECT pg_temp.close(:epoch);

-- Where the old embedding was none, none is put back. A compensation that failed keeps its images.
SELECT count(*), count(after) AS images FROM apex.saga_event WHERE saga::text LIKE '%03';
INSERT INTO failing VALUES (3, 'three', NULL);
SELECT pg_temp.read(:epoch);
SELECT pg_temp.close(:epoch);
UPDATE failing SET embedding = '{1}' WHERE id = 3;
SELECT pg_temp.read(:epoch);
SELECT key, accepted, accepted_embedding FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('04'));
SELECT pg_temp.close(:epoch);

-- A delete had an image before it.
DELETE FROM failing WHERE id = 1;
SELECT pg_temp.read(:epoch);
DELETE FROM apex.saga WHERE pipeline = 'regress_failures';
SELECT key, accepted, length(accepted_embedding) FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('05'));
SELECT pg_temp.close(:epoch);

-- A row that was only sent again is left as it is: no version of it is undone. What changed it after that knows what was before.
INSERT INTO failing VALUES (7, 'seven', '{1,2}');
SELECT pg_temp.read(:epoch);
SELECT pg_temp.close(:epoch);
SELECT apex.refresh('failing', '7') > 0 AS sent;
SELECT pg_temp.read(:epoch);
SELECT key, accepted, accepted_seq = failed_seq AS left_alone FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('07'));
SELECT apex.settle_failure('regress_failures', :epoch, '01890a5d-ac96-774b-bcce-b302099a8007', 'parked');
SELECT pg_temp.close(:epoch);
UPDATE failing SET title = 'seven again' WHERE id = 7;
SELECT pg_temp.read(:epoch);
SELECT key, accepted, length(accepted_embedding) AS embedding_bytes, accepted_seq = failed_seq AS left_alone
  FROM apex.record_failure('regress_failures', :epoch, pg_temp.failure('08'));
SELECT pg_temp.close(:epoch);

-- A leader that was replaced is refused.
\set VERBOSITY sqlstate
SELECT apex.settle_failure('regress_failures', 0, '01890a5d-ac96-774b-bcce-b302099a8005', 'parked');
\set VERBOSITY default

DELETE FROM apex.saga WHERE pipeline = 'regress_failures';
SELECT apex.detach('failing');
DROP VIEW failing_parked;
DROP TABLE failing;
