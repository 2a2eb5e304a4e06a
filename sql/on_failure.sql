-- What on_failure does in PostgreSQL once a saga has been undone in the stores. Psql plays the sidecar.
SET client_min_messages = warning;
CREATE ROLE regress_apex_library;
CREATE SCHEMA failure_test AUTHORIZATION regress_apex_library;
SET search_path = failure_test, public;

SET ROLE regress_apex_library;
CREATE TABLE book (
  id int PRIMARY KEY, title text, pages int, price numeric(8,2), tags text[], data jsonb, raw json, read_at timestamptz,
  grid real[], embedding double precision[], doubled int GENERATED ALWAYS AS (pages * 2) STORED, nr int GENERATED ALWAYS AS IDENTITY,
  secret bytea);
CREATE TABLE page (id int PRIMARY KEY, book_id int REFERENCES book ON DELETE CASCADE ON UPDATE CASCADE, body text);
CREATE TABLE note (id int PRIMARY KEY, book_id int REFERENCES book ON DELETE CASCADE);
SELECT apex.attach('book', vector => apex.vector('book', 'embedding', dimensions => 2, payload => ARRAY['title']),
                   cache => apex.cache('book'), on_failure => 'revert', pipeline => 'regress_on_failure');
SELECT apex.attach('page', cache => apex.cache('page'), aggregate => 'book_id', on_failure => 'revert', pipeline => 'regress_on_failure');
RESET ROLE;
SELECT jsonb_path_query_array(spec, '$.columns[*].column') AS captured, spec #> '{cache,columns}' AS cached, on_failure
  FROM apex.mapping WHERE relation = 'book'::regclass;
SELECT epoch FROM apex.lead('regress_on_failure', 'regress', 60000) \gset

-- Everything since the last batch fails as one saga, is undone in the stores, and settled. What came of it.
CREATE FUNCTION pg_temp.fail(nr int, state text DEFAULT 'parked') RETURNS TABLE (resolution text, resolution_error text) LANGUAGE plpgsql AS $$
DECLARE
  failed CONSTANT text := '01890a5d-ac96-774b-bcce-b302099a8' || lpad(nr::text, 3, '0');
  epoch CONSTANT bigint := (SELECT p.epoch FROM apex.pipeline p WHERE p.name = 'regress_on_failure');
  last bigint;
BEGIN
  CREATE TEMP TABLE piece ON COMMIT DROP AS SELECT * FROM apex.read_piece('regress_on_failure', epoch, 0, 100);
  PERFORM apex.record_failure('regress_on_failure', epoch, (
    SELECT jsonb_build_object('id', failed, 'relation', min(p.relation), 'key', min(p.key::text)::jsonb,
      'xids', jsonb_agg(DISTINCT p.xid::text), 'steps', '["write_qdrant"]'::jsonb, 'failed_step', 'write_qdrant',
      'error_type', 'refused', 'native_code', '3', 'error', 'wrong dimension', 'events', jsonb_agg(p.seq),
      'rows', (SELECT jsonb_agg(jsonb_build_object('relation', r.relation, 'key', r.key, 'mapping', r.mapping, 'failed_seq', r.last,
                                                   'first_seq', r.first, 'oldest_seq', r.first, 'carried_forward', false))
                 FROM (SELECT q.relation, q.key, q.mapping, max(q.seq) AS last, min(q.seq) AS first FROM piece q GROUP BY 1, 2, 3) r))
      FROM piece p));
  SELECT max(p.seq) INTO last FROM piece p;
  PERFORM apex.settle_failure('regress_on_failure', epoch, failed::uuid, state);
  PERFORM apex.checkpoint('regress_on_failure', epoch, last, '[]', true);
  RETURN QUERY SELECT s.resolution, s.resolution_error FROM apex.failed_sagas s WHERE s.id = failed::uuid;
END $$;
-- Everything since the last batch arrives, and supersedes what was parked.
CREATE FUNCTION pg_temp.arrive() RETURNS TABLE (op "char", key jsonb, title text) LANGUAGE plpgsql AS $$
DECLARE
  epoch CONSTANT bigint := (SELECT p.epoch FROM apex.pipeline p WHERE p.name = 'regress_on_failure');
BEGIN
  CREATE TEMP TABLE piece ON COMMIT DROP AS SELECT * FROM apex.read_piece('regress_on_failure', epoch, 0, 100);
  PERFORM apex.checkpoint('regress_on_failure', epoch, max(p.seq), jsonb_agg(jsonb_build_object('relation', p.relation, 'key', p.key, 'seq', p.seq)), true)
     FROM piece p HAVING count(*) > 0;
  RETURN QUERY SELECT p.op, p.key, coalesce(p.after, p.before) ->> 'title' FROM piece p ORDER BY p.seq;
END $$;
CREATE VIEW parked AS SELECT s.state, s.relation, s.key, s.resolution, s.resolution_error FROM apex.failed_sagas s WHERE s.pipeline = 'regress_on_failure';

-- An insert is deleted again. The delete is captured, and its arrival takes the saga away.
INSERT INTO book (id, title) VALUES (1, 'refused');
SELECT * FROM pg_temp.fail(1);
SELECT id FROM book;
SELECT * FROM parked;
SELECT * FROM pg_temp.arrive();
SELECT * FROM parked;

-- An update is put back whole, unmapped columns, every kind of value and a generated column included.
INSERT INTO book (id, title, pages, price, tags, data, raw, read_at, grid, embedding, secret)
  VALUES (1, 'it''s', 100, 1.50, '{a,"b c",NULL}', '{"n": 1.0, "s": "x"}', ' {"b":1,  "a":2} ', '2022-02-22 19:22:22.123456+02',
          '{{1,NaN},{0.25,1e-10}}', '{0.1,0.30000000000000004}', '\xdeadbeef'),
         (2, 'plain', NULL, NULL, NULL, '"text"', 'null', 'infinity', NULL, NULL, NULL);
SELECT * FROM pg_temp.arrive();
CREATE TEMP TABLE before AS SELECT b.*, b::text AS text FROM book b;
UPDATE book SET title = title || ' refused', pages = 7, price = 0, tags = '{}', data = '[1]', raw = '{}', read_at = now(), grid = '{1}',
                embedding = '{1}', secret = '\x00' WHERE id = 1;
SELECT * FROM pg_temp.fail(2);
SELECT * FROM pg_temp.arrive();
UPDATE book SET title = 'also', data = '{}', raw = '1', read_at = NULL, pages = 1, embedding = '{1,2,3}' WHERE id = 2;
SELECT * FROM pg_temp.fail(3);
SELECT b.id, b::text = before.text AS as_before FROM book b JOIN before USING (id) ORDER BY id;
SELECT * FROM pg_temp.arrive();
SELECT * FROM parked;

-- A delete is inserted again, with its number of the identity.
DELETE FROM book WHERE id = 1;
SELECT * FROM pg_temp.fail(4);
SELECT b.id, b::text = before.text AS as_before FROM book b JOIN before USING (id) ORDER BY id;

-- An aggregate goes back whole, the newest row first, or not at all.
SELECT count(*) FROM pg_temp.arrive();
BEGIN;
INSERT INTO book (id, title) VALUES (3, 'with pages');
INSERT INTO page VALUES (31, 3, 'one'), (32, 3, 'two');
COMMIT;
SELECT * FROM pg_temp.fail(5);
SELECT (SELECT count(*) FROM book WHERE id = 3) AS books, (SELECT count(*) FROM page) AS pages;
SELECT * FROM pg_temp.arrive();
BEGIN;
INSERT INTO book (id, title) VALUES (3, 'with pages');
INSERT INTO page VALUES (31, 3, 'one'), (32, 3, 'two');
COMMIT;
INSERT INTO note VALUES (1, 3);
SELECT * FROM pg_temp.fail(6);
SELECT (SELECT count(*) FROM book WHERE id = 3) AS books, (SELECT count(*) FROM page) AS pages;
DELETE FROM note;
DELETE FROM book WHERE id = 3;
SELECT count(*) FROM pg_temp.arrive();
SELECT * FROM parked;

-- What is not taken back: a row that has changed since, in whatever column.
UPDATE book SET title = 'refused' WHERE id = 1;
ALTER TABLE book DISABLE TRIGGER apex_capture;
UPDATE book SET secret = '\x01' WHERE id = 1;
ALTER TABLE book ENABLE ALWAYS TRIGGER apex_capture;
SELECT * FROM pg_temp.fail(7);
SELECT title FROM book WHERE id = 1;
-- One whose key has changed, which is two rows here.
UPDATE book SET id = 4 WHERE id = 2;
SELECT * FROM pg_temp.fail(8);
SELECT id, title FROM book ORDER BY id;
-- One that was only sent again.
SELECT apex.refresh('book', '1') > 0 AS sent;
SELECT * FROM pg_temp.fail(9);
INSERT INTO book (id, title) VALUES (5, 'five');
SELECT count(*) FROM pg_temp.arrive();
-- One that a trigger makes something else of.
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := upper(NEW.title); RETURN NEW; END $$;
UPDATE book SET title = 'refused' WHERE id = 5;
CREATE TRIGGER shout BEFORE UPDATE ON book FOR EACH ROW EXECUTE FUNCTION shout();
SELECT * FROM pg_temp.fail(10);
DROP TRIGGER shout ON book;
SELECT title FROM book WHERE id = 5;
UPDATE book SET title = 'after all' WHERE id = 5;
SELECT count(*) FROM pg_temp.arrive();

-- The table's triggers run as its owner, who cannot become anybody else; a deferred one runs at once.
CREATE TABLE seen (what text);
GRANT INSERT ON seen TO regress_apex_library;
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO failure_test.seen VALUES (format('%s %s %s as %s', TG_OP, TG_WHEN, NEW.title, current_user));
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER look AFTER UPDATE ON book DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();
UPDATE book SET title = 'refused' WHERE id = 5;
SELECT * FROM pg_temp.fail(11);
TABLE seen;
CREATE FUNCTION climb() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET ROLE postgres; RETURN NULL; END $$;
CREATE TRIGGER climb AFTER UPDATE ON book FOR EACH ROW WHEN (OLD.title = 'refused') EXECUTE FUNCTION climb();
SELECT count(*) FROM pg_temp.arrive();
UPDATE book SET title = 'refused' WHERE id = 5;
SELECT * FROM pg_temp.fail(12);
SELECT current_user = session_user AS back;
DROP TRIGGER climb ON book;

-- A handler is called for each row, as the owner, in the transaction that settles the saga; what it writes is captured.
SET ROLE regress_apex_library;
CREATE TABLE item (id int PRIMARY KEY, title text);
CREATE TABLE told (saga uuid, relation regclass, key jsonb, error text, who text);
CREATE FUNCTION tell(saga uuid, relation regclass, key jsonb, error text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO failure_test.told VALUES (saga, relation, key, error, current_user);
  UPDATE failure_test.item SET title = 'mended' WHERE id = (key ->> 0)::int AND title <> 'broken';
  IF NOT FOUND THEN RAISE 'item % cannot be mended', key; END IF;
END $$;
SELECT apex.attach('item', cache => apex.cache('item'), on_failure => 'call', handler => 'tell(uuid, regclass, jsonb, text)', pipeline => 'regress_on_failure');
RESET ROLE;
SELECT count(*) FROM pg_temp.arrive();
INSERT INTO item VALUES (1, 'one'), (2, 'two');
SELECT * FROM pg_temp.fail(13);
SELECT right(saga::text, 3) AS saga, relation, key, error, who FROM told ORDER BY key;
SELECT * FROM pg_temp.arrive();
SELECT count(*) FROM parked WHERE relation = 'item'::regclass;
-- Its failure takes back what it did, for every row, and parks the saga.
INSERT INTO item VALUES (3, 'three'), (4, 'broken');
SELECT * FROM pg_temp.fail(14);
SELECT count(*) AS told FROM told;
SELECT * FROM item ORDER BY id;
-- A handler that takes too long is ended by the sidecar's time limit, and the saga is settled.
CREATE OR REPLACE FUNCTION tell(saga uuid, relation regclass, key jsonb, error text) RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(3600) $$;
UPDATE item SET title = 'five' WHERE id = 3;
SET statement_timeout = '200ms';
SELECT * FROM pg_temp.fail(15);
RESET statement_timeout;
-- A handler that was dropped.
DROP FUNCTION tell(uuid, regclass, jsonb, text);
UPDATE item SET title = 'six' WHERE id = 3;
SELECT * FROM pg_temp.fail(16);

-- A saga that could not be undone is parked and nothing else.
UPDATE book SET title = 'refused again' WHERE id = 5;
SELECT * FROM pg_temp.fail(17, 'compensation_failed');
SELECT title FROM book WHERE id = 5;

-- Refused at attach: a handler of another shape, one the owner may not call, and another wish than the aggregate's.
\set VERBOSITY terse
CREATE TABLE other (id int PRIMARY KEY, book_id int REFERENCES book);
ALTER TABLE other OWNER TO regress_apex_library;
CREATE FUNCTION secret(uuid, regclass, jsonb, text) RETURNS void LANGUAGE sql AS '';
REVOKE ALL ON FUNCTION secret(uuid, regclass, jsonb, text) FROM PUBLIC;
SELECT apex.attach('other', cache => apex.cache('other'), on_failure => 'call', handler => 'now()');
SELECT apex.attach('other', cache => apex.cache('other'), on_failure => 'call', handler => 'secret(uuid, regclass, jsonb, text)');
SELECT apex.attach('other', cache => apex.cache('other'), aggregate => 'book_id', pipeline => 'regress_on_failure');
SELECT apex.attach('other', cache => apex.cache('other'), on_failure => 'call');
SELECT apex.attach('other', cache => apex.cache('other'), handler => 'now()');

\set VERBOSITY default

-- A table that was detached meanwhile: nothing would tell the stores.
UPDATE book SET title = 'last' WHERE id = 5;
SELECT apex.detach('page'), apex.detach('item');
SELECT apex.detach('book');
SELECT * FROM pg_temp.fail(18);

DELETE FROM apex.saga WHERE pipeline = 'regress_on_failure';
DELETE FROM apex.pipeline WHERE name = 'regress_on_failure';
DROP SCHEMA failure_test CASCADE;
DROP ROLE regress_apex_library;
