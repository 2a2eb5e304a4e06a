-- Everything apex.attach and apex.detach refuse: SQLSTATE, message, detail and hint, and nothing changed.
CREATE SCHEMA refusal_test;
SET search_path = refusal_test, public;
SET client_min_messages = warning;

CREATE FUNCTION refusal(sql text) RETURNS TABLE (state text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE sql;
  message := 'not refused';
  RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN NEXT;
END
$$;
-- Attaches t with one part and says what came of it.
CREATE FUNCTION refused(part text, value jsonb) RETURNS TABLE (state text, message text, detail text, hint text) LANGUAGE sql AS $$
  SELECT * FROM refusal(format('SELECT apex.attach(''t'', %I => %L)', part, value))
$$;

CREATE TABLE target (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE unattached (id int PRIMARY KEY);
CREATE TABLE unlabelled (id int PRIMARY KEY, name text);
CREATE TABLE elsewhere (id int PRIMARY KEY);
CREATE TABLE t (
  id int PRIMARY KEY, name text, numbers int[], embedding real[], target_id int REFERENCES target, other_target_id int REFERENCES target,
  unattached_id int REFERENCES unattached, unlabelled_id int REFERENCES unlabelled, code text REFERENCES target (code),
  elsewhere_id int REFERENCES elsewhere, twice_id int REFERENCES target REFERENCES unlabelled);
SELECT apex.attach('target', apex.graph('Target'), cache => apex.cache('target'));
SELECT apex.attach('unlabelled', cache => apex.cache('unlabelled'));
SELECT apex.attach('elsewhere', apex.graph('Elsewhere'), pipeline => 'elsewhere');
SELECT count(*) AS mappings FROM apex.mapping \gset
\x on

-- The table.
SELECT * FROM refusal($$SELECT apex.attach(NULL, apex.graph('T'))$$);
SELECT * FROM refusal($$SELECT apex.attach('nothing', apex.graph('T'))$$);
SELECT message FROM refusal($$SELECT apex.attach(4294967295::oid::regclass, apex.graph('T'))$$);
CREATE VIEW a_view AS SELECT * FROM t;
SELECT * FROM refusal($$SELECT apex.attach('a_view', apex.graph('T'))$$);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE foreign_table (id int) SERVER nowhere;
SELECT * FROM refusal($$SELECT apex.attach('foreign_table', apex.graph('T'))$$);
CREATE TEMPORARY TABLE temporary_table (id int PRIMARY KEY);
SELECT state, detail, hint FROM refusal($$SELECT apex.attach('temporary_table', apex.graph('T'))$$);
CREATE UNLOGGED TABLE unlogged_table (id int PRIMARY KEY);
SELECT * FROM refusal($$SELECT apex.attach('unlogged_table', apex.graph('T'))$$);
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10);
SELECT * FROM refusal($$SELECT apex.attach('part', apex.graph('T'))$$);
SELECT * FROM refusal($$SELECT apex.attach('apex.mapping', apex.graph('T'))$$);
CREATE TABLE keyless (id int);
SELECT * FROM refusal($$SELECT apex.attach('keyless', apex.graph('T'))$$);
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
SELECT * FROM refusal($$SELECT apex.attach('deferred', apex.graph('T'))$$);
CREATE TABLE reserved (id int PRIMARY KEY, _apex_seq bigint);
SELECT * FROM refusal($$SELECT apex.attach('reserved', apex.graph('T', ARRAY['_apex_seq']))$$);
SELECT * FROM refusal($$SELECT apex.attach('target', apex.graph('Target'))$$);

-- The options.
SELECT * FROM refusal($$SELECT apex.attach('t')$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), on_failure => 'call')$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), on_failure => 'call', handler => 'now'::regproc)$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), handler => 'now'::regproc)$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), on_failure => 'shrug')$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), on_failure => NULL)$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), backfill => NULL)$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), pipeline => '')$$);

-- The graph.
SELECT * FROM refused('graph', '"T"');
SELECT * FROM refused('graph', apex.graph('T') || '{"colour": "red"}');
SELECT * FROM refused('graph', apex.graph(NULL));
SELECT * FROM refused('graph', apex.graph(''));
SELECT * FROM refused('graph', apex.graph(E'T\tT'));
SELECT * FROM refused('graph', apex.graph('_ApexPipeline'));
SELECT * FROM refused('graph', apex.graph('T', ARRAY['titel']));
SELECT * FROM refused('graph', '{"label": "T", "properties": "name"}');
SELECT * FROM refused('graph', '{"kind": "hyperedge", "label": "T"}');
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'name')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'nothing')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('', 'target_id')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'target_id') || '{"to": 1}']));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'unattached_id')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'unlabelled_id')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'elsewhere_id')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'code')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'twice_id')]));
SELECT * FROM refused('graph', apex.graph('T', relations => ARRAY[apex.relation('R', 'target_id'), apex.relation('R', 'other_target_id')]));
SELECT * FROM refused('graph', apex.graph('Target'));
SELECT * FROM refused('graph', apex.edge('', 'target_id', 'other_target_id'));
SELECT * FROM refused('graph', apex.edge('E', 'name', 'other_target_id'));
SELECT * FROM refused('graph', apex.edge('E', 'target_id', 'unattached_id'));
SELECT * FROM refused('graph', apex.edge('E', 'target_id', 'other_target_id', ARRAY['weight']));

-- Relationship types: one join table each, and none that a node table replaces.
CREATE TABLE joined (id int PRIMARY KEY, a int REFERENCES target, b int REFERENCES target);
SELECT apex.attach('joined', apex.edge('JOINED', 'a', 'b'));
SELECT * FROM refused('graph', apex.edge('JOINED', 'target_id', 'other_target_id'));
CREATE TABLE tree (id int PRIMARY KEY, parent_id int REFERENCES tree);
CREATE TABLE tree_edge (id int PRIMARY KEY, a int REFERENCES tree, b int REFERENCES tree);
SELECT apex.attach('tree', apex.graph('Tree', relations => ARRAY[apex.relation('CHILD_OF', 'parent_id')]));
SELECT * FROM refusal($$SELECT apex.attach('tree_edge', apex.edge('CHILD_OF', 'a', 'b'))$$);

-- The vectors.
SELECT * FROM refused('vector', apex.vector('', 'embedding', 3));
SELECT * FROM refused('vector', apex.vector('a/b', 'embedding', 3));
SELECT * FROM refused('vector', apex.vector('c', 'embeding', 3));
SELECT * FROM refused('vector', apex.vector('c', 'numbers', 3));
SELECT * FROM refused('vector', apex.vector('c', 'embedding'));
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 0));
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 65537));
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3) || '{"dimensions": "3"}');
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3) || '{"dimensions": 2.5}');
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3, 'hamming'));
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3, payload => ARRAY['nothing']));
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3, payload => ARRAY['embedding']));
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3) || '{"dimension": 3}');
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3, name => ''));
SELECT * FROM refused('vector', apex.vector('c', 'embedding', 3) || '{"name": 5}');
CREATE TABLE collected (id int PRIMARY KEY, embedding real[]);
SELECT apex.attach('collected', vector => apex.vector('taken', 'embedding', 3));
SELECT * FROM refused('vector', apex.vector('taken', 'embedding', 3));

-- The cache.
SELECT * FROM refused('cache', apex.cache(''));
SELECT * FROM refused('cache', apex.cache('a b'));
SELECT * FROM refused('cache', apex.cache('e', 'forget'));
SELECT * FROM refused('cache', apex.cache('e', ttl => '1 hour'));
SELECT * FROM refused('cache', apex.cache('e', 'write', entry => ''));
SELECT * FROM refused('cache', apex.cache('e', entry => 'e:*{id}'));
SELECT * FROM refused('cache', apex.cache('e', 'write', ttl => '0'));
SELECT * FROM refused('cache', apex.cache('e', 'write', ttl => '-1 hour'));
SELECT * FROM refused('cache', apex.cache('e', 'write', ttl => '1.5 seconds'));
SELECT * FROM refused('cache', apex.cache('e', 'write', ttl => '1000 years'));
SELECT * FROM refused('cache', apex.cache('e', 'write') || '{"ttl": "soon"}');
SELECT * FROM refused('cache', apex.cache('e', entry => 'e:{nothing}'));
SELECT * FROM refused('cache', apex.cache('e', entry => 'e:{id'));
SELECT * FROM refused('cache', apex.cache('e', invalidate => ARRAY['q:*{nothing}*']));
SELECT * FROM refused('cache', apex.cache('e', invalidate => ARRAY['']));
SELECT * FROM refused('cache', apex.cache('e', columns => ARRAY['nothing']));
SELECT * FROM refused('cache', apex.cache('e', events => ARRAY['a b']));
SELECT * FROM refused('cache', apex.cache('e') || '{"expires": 1}');
SELECT * FROM refused('cache', apex.cache('e', entry => 'target:{id}'));

-- The aggregate.
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), aggregate => 'nothing')$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), aggregate => 'name')$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), aggregate => 'unattached_id')$$);
SELECT * FROM refusal($$SELECT apex.attach('t', apex.graph('T'), aggregate => 'elsewhere_id')$$);

-- Detaching.
SELECT * FROM refusal($$SELECT apex.detach('t')$$);
SELECT * FROM refusal($$SELECT apex.detach('target', purge => NULL)$$);
SELECT * FROM refusal($$SELECT apex.detach('target')$$);

-- Nothing was changed.
SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal;
SELECT count(*) - :mappings AS mappings_made_on_purpose FROM apex.mapping;

\x off
\o /dev/null
SELECT apex.detach(relation) FROM apex.mapping
 WHERE active AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'refusal_test'::regnamespace) ORDER BY id DESC;
\o
DELETE FROM apex.pipeline WHERE name = 'elsewhere';
DROP SCHEMA refusal_test CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
