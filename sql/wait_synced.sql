-- A database of its own: it waits for the events of every table, and those of other tests are never delivered.
SELECT current_database() AS main \gset
CREATE DATABASE regress_apex_wait;
\c regress_apex_wait
SET client_min_messages = warning;
CREATE EXTENSION apex_saga;
RESET client_min_messages;

-- What the sidecar does to its cursor is done here by hand, in the terms of the contract.
CREATE TABLE waited (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
SELECT apex.attach('waited', cache => apex.cache('waited'), pipeline => 'regress_wait');
SELECT id AS mapping FROM apex.mapping WHERE relation = 'waited'::regclass \gset
SELECT epoch FROM apex.lead('regress_wait', 'regress', 60000) \gset
\set event 'INSERT INTO waited DEFAULT VALUES RETURNING pg_current_xact_id() AS at \\gset'

-- apex.position: the transaction's own id
BEGIN;
SELECT apex.position() = pg_current_xact_id() AS own;
ROLLBACK;

-- apex.wait_synced: synced when there is nothing to deliver
SELECT apex.position() AS before \gset
CALL apex.wait_synced(:'before', '10 seconds');

-- timeout: an event that nobody has read
:event
CALL apex.wait_synced(:'at', '30 milliseconds');
CALL apex.wait_synced(:'at', '0');
CALL apex.wait_synced(:'at', '-1 hour');
CALL apex.wait_synced("position" => :'at', timeout => '0', result => NULL);

-- a position before it does not wait for it
CALL apex.wait_synced(:'before', '0');

-- timeout: read, not settled
SELECT seq FROM apex.read_piece('regress_wait', :epoch, 0, 100) \gset
CALL apex.wait_synced(:'at', '0');

-- synced: settled inside the open batch
SELECT apex.checkpoint('regress_wait', :epoch, :seq, '[]', false);
CALL apex.wait_synced(:'at', '10 seconds');

-- synced: the batch is closed
SELECT apex.checkpoint('regress_wait', :epoch, :seq, '[]', true);
CALL apex.wait_synced(:'at', '10 seconds');

-- an event of a transaction that is rolled back is no reason to wait
BEGIN;
:event
ROLLBACK;
CALL apex.wait_synced(:'at', '10 seconds');

-- a transaction that has not been is not finished
CALL apex.wait_synced('9223372036854775807', '0');

-- parked: a saga of this very transaction failed for good; others only have to wait for its compensation
:event
SELECT seq FROM apex.read_piece('regress_wait', :epoch, 0, 100) \gset
SELECT FROM apex.record_failure('regress_wait', :epoch, jsonb_build_object('id', '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
  'relation', 'waited'::regclass::oid::bigint, 'key', '[1]'::jsonb, 'xids', jsonb_build_array(:'at'), 'steps', '["write_neo4j"]'::jsonb,
  'failed_step', 'write_qdrant', 'error_type', 'permanent', 'native_code', 'INVALID_ARGUMENT', 'error', 'wrong dimension',
  'events', jsonb_build_array(:seq),
  'rows', jsonb_build_array(jsonb_build_object('relation', 'waited'::regclass::oid::bigint, 'key', '[1]'::jsonb, 'mapping', :mapping,
                                               'failed_seq', :seq, 'first_seq', :seq, 'oldest_seq', :seq))));
SELECT apex.checkpoint('regress_wait', :epoch, :seq, '[]', true);
SELECT apex.position() AS after \gset
CALL apex.wait_synced(:'at', '0');
CALL apex.wait_synced(:'after', '0');
SELECT apex.settle_failure('regress_wait', :epoch, '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', 'parked');
CALL apex.wait_synced(:'at', '10 seconds');
CALL apex.wait_synced(:'after', '10 seconds');

-- refused: inside a transaction block or a function, with NULL
BEGIN;
CALL apex.wait_synced(:'at', '0');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE FUNCTION waits() RETURNS void LANGUAGE plpgsql AS $$ DECLARE said text; BEGIN CALL apex.wait_synced('1', '0', said); END $$;
SELECT waits();
CALL apex.wait_synced(NULL, '0');
CALL apex.wait_synced(:'at', NULL);
\echo :LAST_ERROR_SQLSTATE

-- an ordinary user may wait, and sees nothing of the outbox
CREATE ROLE regress_apex_waiter;
SET ROLE regress_apex_waiter;
CALL apex.wait_synced(:'before', '10 seconds');
SELECT count(*) FROM apex.outbox;
RESET ROLE;
DROP ROLE regress_apex_waiter;

-- interruptible
-- Where it is caught is a matter of luck.
\set SHOW_CONTEXT never
SET statement_timeout = '50ms';
CALL apex.wait_synced('9223372036854775807', '1 hour');
RESET statement_timeout;
\set SHOW_CONTEXT errors

\c :main
DROP DATABASE regress_apex_wait;
