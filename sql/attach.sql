-- What apex.attach makes of what it is asked for, and apex.detach.
CREATE SCHEMA attach_test;
SET search_path = attach_test, public;
SET client_min_messages = warning;
\pset format unaligned

-- The spec without what differs from run to run.
CREATE FUNCTION spec_of(attached regclass) RETURNS TABLE (member text, value jsonb) LANGUAGE sql AS $$
  SELECT key, CASE key WHEN 'aggregate' THEN coalesce(nullif(value, 'null') - 'relation', 'null') ELSE value END
    FROM apex.mapping, jsonb_each(spec) WHERE relation = attached AND active
$$;

CREATE TABLE authors (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE documents (
  id uuid PRIMARY KEY, title varchar(80), source text, user_id uuid, tags text[], embedding real[], author_id bigint REFERENCES authors,
  unmapped text);
CREATE TABLE chunks (id uuid PRIMARY KEY, document_id uuid NOT NULL REFERENCES documents, body text, embedding double precision[]);
CREATE TABLE packages (name text, version text, parent_name text, parent_version text, PRIMARY KEY (version, name),
  FOREIGN KEY (parent_name, parent_version) REFERENCES packages (name, version));
CREATE TABLE depends (id int PRIMARY KEY, package_name text, package_version text, document_id uuid REFERENCES documents, optional bool,
  FOREIGN KEY (package_name, package_version) REFERENCES packages (name, version));

-- A node, with positional arguments.
SELECT apex.attach('authors', apex.graph('Author', ARRAY['name']));
SELECT * FROM spec_of('authors');

-- Node, vectors and cache, as the design's example.
SELECT apex.attach('documents',
  graph  => apex.graph(label => 'Document', properties => ARRAY['title','source'],
                       relations => ARRAY[apex.relation('AUTHORED_BY', via => 'author_id')]),
  vector => apex.vector(collection => 'documents', embedding => 'embedding', dimensions => 384,
                        distance => 'cosine', payload => ARRAY['title','user_id']),
  cache  => apex.cache(entity => 'document', mode => 'write', entry => 'doc:{id}', ttl => '1 hour',
                       invalidate => ARRAY['doc:{id}:chunks', 'query:*{id}*', 'search:*{id}*']),
  on_failure => 'park');
SELECT * FROM spec_of('documents');

-- A part of an aggregate; the defaults of the cache name its document, too.
SELECT apex.attach('chunks', aggregate => 'document_id', graph => apex.graph('Chunk', ARRAY['body'], ARRAY[apex.relation('PART_OF', 'document_id')]),
                   vector => apex.vector('chunks', 'embedding', 384, 'dot', name => 'body'), cache => apex.cache('chunk'));
SELECT * FROM spec_of('chunks');
SELECT aggregate, relation_oid = relation::oid AS same_oid, pipeline, active, on_failure, handler FROM apex.mapping WHERE relation = 'chunks'::regclass;

-- A reference to itself, over two columns whose order differs from the primary key's.
SELECT apex.attach('packages', apex.graph('Package', relations => ARRAY[apex.relation('PARENT', 'parent_name')]));
SELECT * FROM spec_of('packages');

-- A join table.
SELECT apex.attach('depends', apex.edge('DEPENDS_ON', from_column => 'package_name', to_column => 'document_id', properties => ARRAY['optional']));
SELECT * FROM spec_of('depends');

-- A table that is only cached is cached whole; columns narrow it.
CREATE TABLE users (id int PRIMARY KEY, name text, born date, avatar bytea);
SELECT apex.attach('users', cache => apex.cache('user', 'write'));
SELECT * FROM spec_of('users');
SELECT apex.detach('users');
SELECT apex.attach('users', cache => apex.cache('user', 'write', entry => 'u:{id}', columns => ARRAY['name'], events => ARRAY['user', 'entity']));
SELECT * FROM spec_of('users');

-- The first of a pipeline makes its row.
CREATE TABLE other (id int PRIMARY KEY);
SELECT apex.attach('other', apex.graph('Other'), pipeline => 'attach_test');
SELECT name FROM apex.pipeline WHERE name = 'attach_test';

-- Rows that were there before are counted.
CREATE TABLE loaded (id int PRIMARY KEY);
INSERT INTO loaded SELECT generate_series(1, 3);
SET client_min_messages = notice;
SELECT apex.attach('loaded', apex.graph('Loaded'));
SET client_min_messages = warning;

-- Nothing is left of an attach that is rolled back.
CREATE TABLE undone (id int PRIMARY KEY);
BEGIN;
SELECT apex.attach('undone', apex.graph('Undone'));
ROLLBACK;
SELECT count(*) FROM apex.mapping WHERE relation = 'undone'::regclass;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'undone'::regclass;

-- Triggers are there, fire in every replication role, and go with detach; the mapping stays for events that name it.
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'users'::regclass ORDER BY tgname;
SELECT apex.detach('users');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass;
SELECT active, count(*) FROM apex.mapping WHERE relation = 'users'::regclass GROUP BY active;

-- A dropped table frees its label.
DROP TABLE other;
CREATE TABLE heir (id int PRIMARY KEY);
SELECT apex.attach('heir', apex.graph('Other'));

-- A mapping that comes from a dump: other oids, other column numbers.
CREATE TABLE restored (note text, name text, id bigint PRIMARY KEY);
INSERT INTO apex.mapping (relation, relation_oid, pipeline, on_failure, spec)
  SELECT 'restored', 1, pipeline, on_failure, jsonb_set(spec, '{columns,2}', '{"kind": "text", "attnum": 3, "column": "gone"}')
    FROM apex.mapping WHERE relation = 'authors'::regclass;
SELECT relation_oid = relation::oid AS same_oid FROM apex.mapping WHERE relation = 'restored'::regclass;
SELECT * FROM spec_of('restored') WHERE member IN ('key', 'columns');
DELETE FROM apex.mapping WHERE relation = 'restored'::regclass;

-- Names that need quoting.
CREATE TABLE "Odd ""Table""" ("Key" int PRIMARY KEY, "a b" text);
SELECT apex.attach('"Odd ""Table"""', apex.graph('Odd `Label`', ARRAY['a b']), cache => apex.cache('odd'));
SELECT * FROM spec_of('"Odd ""Table"""');

\o /dev/null
SELECT apex.detach(relation) FROM apex.mapping
 WHERE active AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'attach_test'::regnamespace) ORDER BY id DESC;
\o
DELETE FROM apex.pipeline WHERE name = 'attach_test';
DROP SCHEMA attach_test CASCADE;
