-- Embeddings: packed little-endian float4, from real[], double precision[] and pgvector's vector.
CREATE SCHEMA embedding_test;
SET search_path = embedding_test, public;
SET client_min_messages = warning;
\pset null '~'

CREATE TABLE reals (id int PRIMARY KEY, embedding real[]);
CREATE TABLE doubles (id int PRIMARY KEY, embedding double precision[]);
SELECT apex.attach('reals', vector => apex.vector('reals', 'embedding', 2));
SELECT apex.attach('doubles', vector => apex.vector('doubles', 'embedding', 2));
INSERT INTO reals VALUES (1, '{1,-2.5}'), (2, NULL), (3, '{NaN,Infinity}'), (4, '{}'), (5, '{1,2,3}');
INSERT INTO doubles VALUES (1, '{1,-2.5}'), (2, '{0.1,1e300}'), (3, '[5:6]={1,2}');
-- The old one comes along where it differs; a NULL that differs is there but empty.
UPDATE reals SET embedding = '{3,4}' WHERE id = 1;
UPDATE reals SET embedding = embedding WHERE id = 1;
UPDATE reals SET embedding = '{5,6}' WHERE id = 2;
UPDATE reals SET embedding = NULL WHERE id = 1;
UPDATE reals SET id = 20 WHERE id = 2;
DELETE FROM reals WHERE id = 20;
-- Not an embedding: the event has the key and the reason.
INSERT INTO reals VALUES (6, '{1,NULL}'), (7, '{{1,2},{3,4}}');
SELECT relation::regclass, op, key, after, embedding, old_embedding, error FROM apex.outbox
 WHERE relation IN ('reals'::regclass, 'doubles'::regclass) ORDER BY seq;

-- The column holds none any more: that is said when anything of it changes.
CREATE TABLE former (id int PRIMARY KEY, embedding real[], other int);
SELECT apex.attach('former', vector => apex.vector('former', 'embedding', 2));
ALTER TABLE former ALTER COLUMN embedding TYPE text;
INSERT INTO former VALUES (1, 'a');
UPDATE former SET embedding = 'b';
UPDATE former SET other = 1;
SELECT op, key, after, embedding, error FROM apex.outbox WHERE relation = 'former'::regclass ORDER BY seq;

-- A stand-in for pgvector: an extension of its name with a type of its layout (length word, int16 dimensions, int16
-- spare, float4 elements), read and written as bytea is. It is taken for pgvector's by the extension that owns it.
SET allow_system_table_mods = on;
CREATE TYPE vector;
CREATE FUNCTION vector_in(cstring) RETURNS vector LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
CREATE FUNCTION vector_out(vector) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'bittypmodin';
CREATE TYPE vector (INPUT = vector_in, OUTPUT = vector_out, TYPMOD_IN = vector_typmod_in, STORAGE = extended);
CREATE TABLE vectors (id int PRIMARY KEY, embedding vector(2));
\set VERBOSITY terse
SELECT apex.attach('vectors', vector => apex.vector('vectors', 'embedding'));
SELECT count(*) = 0 AS no_pgvector FROM pg_extension WHERE extname = 'vector' \gset
\if :no_pgvector
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) VALUES (99999, 'vector', 10, 'embedding_test'::regnamespace, true, '0');
INSERT INTO pg_depend VALUES ('pg_type'::regclass, 'vector'::regtype, 0, 'pg_extension'::regclass, 99999, 0, 'e');
\else
INSERT INTO pg_depend SELECT 'pg_type'::regclass, 'embedding_test.vector'::regtype, 0, 'pg_extension'::regclass, oid, 0, 'e' FROM pg_extension WHERE extname = 'vector';
\endif
-- Dimensions are those of the type.
SELECT apex.attach('vectors', vector => apex.vector('vectors', 'embedding', 3));
SELECT apex.attach('vectors', vector => apex.vector('vectors', 'embedding'));
SELECT spec #> '{vector,dimensions}' AS dimensions FROM apex.mapping WHERE relation = 'vectors'::regclass;
INSERT INTO vectors VALUES (1, '\x020000000000803f000020c0'), (2, NULL), (3, '\x0200000000');
SELECT format('INSERT INTO vectors VALUES (4, %L)', '\x00100000' || repeat('0000803f', 4096)) \gexec
UPDATE vectors SET embedding = '\x010000000000803f' WHERE id = 1;
SELECT op, key, left(embedding::text, 40) AS embedding, octet_length(embedding) AS bytes, old_embedding, error FROM apex.outbox WHERE relation = 'vectors'::regclass ORDER BY seq;

SELECT apex.detach(t) FROM unnest(ARRAY['reals', 'doubles', 'vectors']::regclass[]) t;
DELETE FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = 'vector'::regtype AND deptype = 'e';
DELETE FROM pg_extension WHERE oid = 99999;
RESET allow_system_table_mods;
DROP SCHEMA embedding_test CASCADE;
