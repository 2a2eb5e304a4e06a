-- Invalidation by hand: what is written into the outbox, for whom, and what is refused.
CREATE SCHEMA invalidate_test;
SET search_path = invalidate_test, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_apex_app;
GRANT USAGE ON SCHEMA invalidate_test TO regress_apex_app;

CREATE TABLE pages (id bigint PRIMARY KEY, user_id text, body text);
SELECT apex.attach('pages', cache => apex.cache('page', entry => 'own:{id}', invalidate => ARRAY['page:{id}:parts', 'by:{user_id}', 'query:*{id}*', 'all'],
                                                 events => ARRAY['page', 'paper']),
                   pipeline => 'invalidate_test');
CREATE TABLE other (id bigint PRIMARY KEY, body text);
SELECT apex.attach('other', cache => apex.cache('other', entry => 'other_own:{id}', columns => ARRAY['body']), pipeline => 'invalidate_second');

-- Of a table's own templates those that the key alone fills in, and of an entity without a table the usual ones.
BEGIN;
SELECT apex.invalidate('page_updated', '7');
SELECT apex.invalidate('paper_deleted', '7');
SELECT apex.invalidate('document_updated', 'a*[b]\?');
SELECT apex.invalidate_user('u1');
SELECT apex.invalidate('cleared', 'x');
SELECT apex.invalidate_query_cache('query:*');
SELECT apex.invalidate_query_cache('query:1');
COMMIT;
SELECT m.spec ->> 'table' AS carrier, o.op, o.key, o.after - 'event' - 'document_id' AS names, o.after ->> 'event' AS event, o.after ->> 'document_id' AS id
  FROM apex.outbox o JOIN apex.mapping m ON m.id = o.mapping WHERE m.pipeline LIKE 'invalidate\_%' ORDER BY m.pipeline, o.seq;

-- A rollback leaves nothing.
BEGIN;
SELECT apex.invalidate('page_updated', '8');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT apex.invalidate('page_updated', '9');
ROLLBACK TO s;
COMMIT;
SELECT count(*) FROM apex.outbox WHERE op = 'V' AND key ->> 2 IN ('8', '9');

-- What would match every key is refused.
SELECT apex.invalidate_query_cache('*');
SELECT apex.invalidate_query_cache('**?');
SELECT apex.invalidate_query_cache('');
SELECT apex.invalidate_query_cache(NULL);
SELECT apex.invalidate('page_updated', NULL);
SELECT apex.invalidate('page_updated', '');
SELECT apex.invalidate('page updated', '1');

-- It takes a right that is given.
SET ROLE regress_apex_app;
SELECT apex.invalidate('page_updated', '7');
SELECT apex.invalidate_user('7');
SELECT apex.invalidate_query_cache('query:*');
SELECT apex.capture_invalidation('pages', '[]', '{}');
RESET ROLE;
GRANT EXECUTE ON FUNCTION apex.invalidate(text, text) TO regress_apex_app;
SET ROLE regress_apex_app;
SELECT apex.invalidate('page_updated', '7');
RESET ROLE;

SELECT apex.detach('pages');
SELECT apex.detach('other');
DROP OWNED BY regress_apex_app;
DROP ROLE regress_apex_app;
