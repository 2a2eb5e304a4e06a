-- Another mapping for an attached table, and taking its rows out of the stores.
CREATE SCHEMA alter_test;
SET search_path = alter_test, public;
\pset null '~'

CREATE TABLE author (id int PRIMARY KEY, name text, country text);
CREATE TABLE book (id int PRIMARY KEY, author_id int REFERENCES author, title text, embedding real[]);
INSERT INTO author VALUES (1, 'Ann', 'Malta');
CREATE VIEW events AS SELECT o.op, o.relation::regclass, o.key, o.after, o.mapping = m.id AS present_mapping
  FROM apex.outbox o LEFT JOIN apex.mapping m ON m.relation_oid = o.relation AND m.active
  WHERE o.relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'alter_test'::regnamespace) ORDER BY o.seq;
CREATE VIEW mappings AS SELECT relation, active, on_failure, pipeline, spec #>> '{graph,label}' AS label, spec #> '{graph,properties}' AS properties,
    spec #>> '{vector,collection}' AS collection FROM apex.mapping
  WHERE relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'alter_test'::regnamespace) ORDER BY id;

SELECT apex.alter('author', apex.graph('Author'));
SELECT apex.attach('author', apex.graph('AlterAuthor', ARRAY['name']), on_failure => 'revert', pipeline => 'alter_test', backfill => true);
SELECT apex.attach('book', apex.graph('AlterBook', ARRAY['title'], ARRAY[apex.relation('BY', 'author_id')]), pipeline => 'alter_test');
UPDATE author SET name = 'Anne';

-- The new mapping holds from the end of the transaction on; on_failure and the pipeline stay; rows are counted.
SELECT apex.alter('author', apex.graph('AlterAuthor', ARRAY['name', 'country']));
UPDATE author SET country = 'Cyprus';
SELECT * FROM mappings;
SELECT op, key, present_mapping FROM events WHERE relation = 'author'::regclass;
SELECT count(*) FROM apex.backfill_progress WHERE relation = 'author'::regclass;

-- With backfill nothing is said, and every row is sent.
SELECT apex.alter('author', apex.graph('AlterAuthor', ARRAY['country']), on_failure => 'park', backfill => true);
SELECT rows_expected, rows_sent FROM apex.backfill_progress WHERE relation = 'author'::regclass;

-- What is not given is no longer mapped; a rolled back alter has not been.
BEGIN;
SELECT apex.alter('book', vector => apex.vector('alter_books', 'embedding', 2));
INSERT INTO book VALUES (1, 1, 'rolled back', '{1,2}');
ROLLBACK;
INSERT INTO book VALUES (1, 1, 'first', '{1,2}');
SELECT apex.alter('book', apex.graph('AlterBook', ARRAY['title'], ARRAY[apex.relation('BY', 'author_id')]), apex.vector('alter_books', 'embedding', 2));
UPDATE book SET embedding = '{3,4}';
SELECT * FROM mappings WHERE active;
SELECT op, key, after, present_mapping FROM events WHERE relation = 'book'::regclass;

-- What another table refers to cannot change, and a wrong mapping changes nothing.
SELECT apex.alter('author', apex.graph('AlterPerson', ARRAY['country']));
SELECT apex.alter('author', apex.graph('AlterAuthor', ARRAY['nothing']));
SELECT apex.alter('author', apex.graph('AlterBook'));
SELECT apex.alter('author');
SELECT apex.alter('author', apex.graph('AlterAuthor'), backfill => NULL);
SELECT apex.alter(NULL, apex.graph('AlterAuthor'));
CREATE ROLE regress_apex_user;
GRANT USAGE ON SCHEMA alter_test TO regress_apex_user;
SET ROLE regress_apex_user;
SELECT apex.alter('author', apex.graph('AlterAuthor'));
RESET ROLE;
SELECT * FROM mappings WHERE active;
CREATE TABLE note (id int PRIMARY KEY, author_id int NOT NULL REFERENCES author);
SELECT apex.attach('note', apex.graph('AlterNote'), aggregate => 'author_id', pipeline => 'alter_test');
SELECT apex.alter('author', apex.graph('AlterAuthor', ARRAY['country']), on_failure => 'revert');
SELECT apex.detach('note');

-- Detached with purge, the stores lose the rows, which stay in the table.
SELECT apex.detach('author', purge => true);
SELECT apex.detach('book', purge => NULL);
SELECT apex.detach('book', purge => true);
SELECT apex.detach('author');
SELECT op, relation, key, after FROM events WHERE op = 'D';
SELECT count(*) FROM book;
SELECT * FROM mappings WHERE active;

DROP OWNED BY regress_apex_user;
DROP ROLE regress_apex_user;
DELETE FROM apex.pipeline WHERE name = 'alter_test';
SET client_min_messages = warning;
DROP SCHEMA alter_test CASCADE;
