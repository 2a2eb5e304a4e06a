-- What a table's owner may do who is no superuser, and what nobody may.
CREATE ROLE regress_apex_owner;
CREATE ROLE regress_apex_other;
CREATE SCHEMA owner_test;
GRANT USAGE, CREATE ON SCHEMA owner_test TO regress_apex_owner, regress_apex_other;
SET search_path = owner_test, public;
SET client_min_messages = warning;

-- An owner attaches, captures, refreshes and detaches.
SET ROLE regress_apex_owner;
CREATE TABLE item (id int PRIMARY KEY, name text, secret text);
SELECT apex.attach('item', apex.graph('Item', ARRAY['name']));
SELECT current_user;
INSERT INTO item VALUES (1, 'mine');
SELECT apex.refresh('item', '1') > 0 AS drawn;
-- A refusal leaves the caller who they are.
SELECT apex.attach('item', apex.graph('Item'));
SELECT current_user;

-- The mapping is out of reach.
CREATE TABLE own (id int PRIMARY KEY);
INSERT INTO apex.mapping (relation, relation_oid, pipeline, on_failure, spec) VALUES ('own', 'own'::regclass, 'default', 'park', '{}');
SELECT apex.attach_table('own', '{}', NULL, NULL, NULL, 'park', NULL, false, 'default');
SELECT apex.detach_table('item', false);
GRANT INSERT, UPDATE ON item TO regress_apex_other;
RESET ROLE;

-- Somebody else writes, which is captured, but can neither attach, detach nor refresh.
SET ROLE regress_apex_other;
INSERT INTO item VALUES (2, 'theirs');
SELECT apex.attach('own', apex.graph('Own'));
SELECT apex.detach('item');
SELECT apex.refresh('item', '1');
RESET ROLE;
SELECT op, key, after FROM apex.outbox WHERE relation = 'item'::regclass ORDER BY seq;

-- Row security hides nothing from a refresh, and rules and defaults of the caller's search_path are not run.
ALTER TABLE item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SET ROLE regress_apex_owner;
SELECT count(*) FROM item;
SELECT apex.refresh('item', '2') > 0 AS drawn;
CREATE FUNCTION owner_test.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'run as %', current_user; END $$;
SET search_path = owner_test, pg_catalog;
SELECT apex.detach('item');
SELECT apex.attach('item', apex.graph('Item', ARRAY['name']));
RESET search_path;
RESET ROLE;
SET search_path = owner_test, public;
SELECT op, key, after FROM apex.outbox WHERE relation = 'item'::regclass ORDER BY seq DESC LIMIT 1;

-- A domain in a key does not run its check as somebody else.
SET ROLE regress_apex_owner;
CREATE FUNCTION who() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'check run as %', current_user; RETURN true; END $$;
CREATE DOMAIN spy AS int CHECK (who());
CREATE TABLE spied (id spy PRIMARY KEY);
SELECT apex.attach('spied', apex.graph('Spied'));
SET client_min_messages = error;
INSERT INTO spied VALUES (1);
SET client_min_messages = warning;
RESET ROLE;
SELECT apex.refresh('spied', '1') > 0 AS drawn;

-- Every function of ours that can be called by everybody, and every one that pins no search_path.
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apex_saga'
 WHERE p.pronamespace = 'apex'::regnamespace AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)) ORDER BY 1::text;
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname IN ('sql', 'plpgsql')
 WHERE p.pronamespace = 'apex'::regnamespace AND NOT coalesce(p.proconfig::text LIKE '%search_path%', false);
-- Every object of ours has a comment.
SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apex_saga'
 WHERE d.deptype = 'e' AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass)
   AND obj_description(d.objid, d.classid::regclass::name) IS NULL AND pg_describe_object(d.classid, d.objid, 0) !~ '^(index|toast)' ORDER BY 1;

SELECT apex.detach(t) FROM unnest(ARRAY['item', 'spied']::regclass[]) t;
DROP SCHEMA owner_test CASCADE;
DROP OWNED BY regress_apex_owner, regress_apex_other;
DROP ROLE regress_apex_owner, regress_apex_other;
