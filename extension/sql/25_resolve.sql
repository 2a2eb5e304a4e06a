-- From what a user asked of apex.attach to a spec with everything resolved, or an error that says how to mend it.
--
-- All of it runs as the extension's owner, called by apex.attach_table: nothing here evaluates an expression, a default
-- or a function of the user's.

CREATE FUNCTION apex.column_kind(type oid) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_column_kind';
COMMENT ON FUNCTION apex.column_kind(oid) IS
  'How values of a type are encoded: bool, int, float, numeric, uuid, text, json, jsonb, timestamptz, timestamp, date or other, with [] for arrays';

CREATE FUNCTION apex.holds_embedding(type oid) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_holds_embedding';
COMMENT ON FUNCTION apex.holds_embedding(oid) IS
  'array for real[] and double precision[], vector for pgvector''s type, which is known by the extension that owns it; NULL for any other type';

CREATE FUNCTION apex.refuse(code text, message text, detail text, hint text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
END
$$;
COMMENT ON FUNCTION apex.refuse(text, text, text, text) IS 'Raises an error with everything a user needs to mend it';

-- ---- Reading what the builders wrote ----

CREATE FUNCTION apex.check_members(part jsonb, what text, known text[]) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  unknown text;
BEGIN
  IF jsonb_typeof(part) <> 'object' THEN
    PERFORM apex.refuse('22023', format('%s has to be a JSON object', what), format('It is: %s', left(part::text, 200)),
                        'Write it with apex.graph, apex.edge, apex.relation, apex.vector or apex.cache.');
  END IF;
  SELECT k INTO unknown FROM jsonb_object_keys(part) k WHERE k <> ALL (known) ORDER BY k LIMIT 1;
  IF FOUND THEN
    PERFORM apex.refuse('22023', format('unknown key "%s" in %s', unknown, what),
                        format('It can have: %s.', array_to_string(known, ', ')),
                        'Write it with apex.graph, apex.edge, apex.relation, apex.vector or apex.cache.');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_members(jsonb, text, text[]) IS 'Refuses a part of a mapping with a key that nothing would read';

CREATE FUNCTION apex.text_member(part jsonb, member text, what text) RETURNS text
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  value text := part ->> member;
BEGIN
  IF jsonb_typeof(part -> member) IS DISTINCT FROM 'string' OR btrim(value) = '' THEN
    PERFORM apex.refuse('22023', format('%s has no %s', what, member),
                        format('%s is %s.', member, coalesce(part ->> member, 'NULL') || CASE WHEN value = '' THEN 'empty' ELSE '' END),
                        format('Give a text that is not empty as %s.', member));
  END IF;
  RETURN value;
END
$$;
COMMENT ON FUNCTION apex.text_member(jsonb, text, text) IS 'A text that has to be there and not be empty';

CREATE FUNCTION apex.text_list(part jsonb, member text, what text) RETURNS text[]
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF part -> member IS NULL OR jsonb_typeof(part -> member) = 'null' THEN
    RETURN NULL;
  END IF;
  IF jsonb_typeof(part -> member) <> 'array'
     OR EXISTS (SELECT FROM jsonb_array_elements(part -> member) e WHERE jsonb_typeof(e) <> 'string' OR e #>> '{}' = '') THEN
    PERFORM apex.refuse('22023', format('%s of %s has to be an array of texts that are not empty', member, what),
                        format('It is: %s', left((part -> member)::text, 200)), 'Write it as ARRAY[''...''].');
  END IF;
  RETURN ARRAY(SELECT e FROM jsonb_array_elements_text(part -> member) WITH ORDINALITY AS every(e, place) ORDER BY place);
END
$$;
COMMENT ON FUNCTION apex.text_list(jsonb, text, text) IS 'An array of texts; NULL when it is left out';

-- A name that another system has to take as it is.
CREATE FUNCTION apex.check_name(name text, what text, forbidden text, hint text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF name ~ '[[:cntrl:]]' OR name ~ forbidden OR length(name) > 255 THEN
    PERFORM apex.refuse('42602', format('"%s" cannot be a %s', name, what), 'It is longer than 255 characters, or has one that is not allowed there, or begins with what is reserved.', hint);
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_name(text, text, text, text) IS 'Refuses a name with control characters, or with those the store would refuse';

-- ---- The table ----

-- What a table and each of its partitions has to be, so that its rows can be captured, and read again.
CREATE FUNCTION apex.check_storage(relation regclass) RETURNS void
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  class pg_class;
BEGIN
  FOR class IN SELECT c.* FROM pg_class c WHERE c.oid IN (SELECT relation UNION SELECT relid FROM pg_partition_tree(relation)) ORDER BY c.oid LOOP
    IF class.relkind NOT IN ('r', 'p') THEN
      PERFORM apex.refuse('42809', format('%s is not a table', class.oid::regclass),
                          'Only ordinary and partitioned tables have the row triggers that capture needs.',
                          'Attach the tables behind it.');
    ELSIF class.relpersistence = 't' THEN
      PERFORM apex.refuse('0A000', format('temporary table %s cannot be attached', class.oid::regclass),
                          'Its rows end with the session, before they could be read again for a compensation.', 'Use an ordinary table.');
    ELSIF class.relpersistence = 'u' THEN
      PERFORM apex.refuse('0A000', format('unlogged table %s cannot be attached', class.oid::regclass),
                          'A crash empties it, and no event would tell the stores.',
                          format('ALTER TABLE %s SET LOGGED.', class.oid::regclass));
    ELSIF class.relkind = 'r' AND class.relam <> (SELECT oid FROM pg_am WHERE amname = 'heap') THEN
      PERFORM apex.refuse('0A000', format('table %s is not stored as a heap', class.oid::regclass),
                          'The order of events inside a transaction is read from heap tuples.', 'ALTER TABLE ... SET ACCESS METHOD heap.');
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.check_storage(regclass) IS 'Refuses a table of which any part is no logged heap';

CREATE FUNCTION apex.check_table(relation regclass) RETURNS void
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  class pg_class;
BEGIN
  SELECT * INTO class FROM pg_class WHERE oid = relation;
  IF NOT FOUND THEN
    PERFORM apex.refuse('42P01', format('relation %s does not exist', relation), 'Nothing has this oid.', 'Name a table.');
  END IF;
  PERFORM apex.check_storage(relation);
  IF class.relispartition THEN
    PERFORM apex.refuse('0A000', format('partition %s cannot be attached alone', relation), 'Its rows are the partitioned table''s.',
                        format('Attach the partitioned table: %s.', (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = relation)));
  ELSIF class.relnamespace IN ('pg_catalog'::regnamespace, 'apex'::regnamespace) THEN
    PERFORM apex.refuse('42501', format('%s belongs to the system and cannot be attached', relation), 'Its schema is pg_catalog or apex.', 'Attach tables of your own.');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_table(regclass) IS 'Refuses what cannot be attached';

CREATE FUNCTION apex.column_spec(relation regclass, column_name text, what text) RETURNS jsonb
  LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  attribute pg_attribute;
BEGIN
  SELECT * INTO attribute FROM pg_attribute
   WHERE attrelid = relation AND attname = column_name AND attnum > 0 AND NOT attisdropped;
  IF NOT FOUND THEN
    PERFORM apex.refuse('42703', format('column "%s" of %s does not exist in table %s', column_name, what, relation),
                        (SELECT format('The table has: %s.', string_agg(attname, ', ' ORDER BY attnum)) FROM pg_attribute
                          WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped), 'Name one of these.');
  ELSIF attribute.attgenerated = 'v' THEN
    PERFORM apex.refuse('0A000', format('column "%s" of %s is a virtual generated column', column_name, what),
                        'It is not stored, so that a trigger does not see it.', 'Make it STORED, or leave it out.');
  ELSIF column_name = '_apex_seq' THEN
    PERFORM apex.refuse('42939', 'column "_apex_seq" cannot be mapped', 'The stores keep a row''s version under this name.', 'Rename the column.');
  END IF;
  RETURN jsonb_build_object('column', column_name, 'kind', apex.column_kind(attribute.atttypid), 'attnum', attribute.attnum)
         || CASE WHEN attribute.attnotnull THEN '{"not_null": true}'::jsonb ELSE '{}'::jsonb END;
END
$$;
COMMENT ON FUNCTION apex.column_spec(regclass, text, text) IS 'A mapped column as the spec names it';

CREATE FUNCTION apex.key_spec(relation regclass) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  key pg_index;
BEGIN
  SELECT * INTO key FROM pg_index WHERE indrelid = relation AND indisprimary;
  IF NOT FOUND THEN
    PERFORM apex.refuse('55000', format('table %s has no primary key', relation),
                        'The stores find a row by its primary key.', format('ALTER TABLE %s ADD PRIMARY KEY (...).', relation));
  ELSIF NOT key.indimmediate THEN
    PERFORM apex.refuse('55000', format('the primary key of table %s is deferrable', relation),
                        'Two rows could have the same key inside a transaction, and their events could not be told apart.',
                        'Make the primary key NOT DEFERRABLE.');
  ELSIF key.indisexclusion THEN
    PERFORM apex.refuse('0A000', format('the primary key of table %s is WITHOUT OVERLAPS', relation), 'A row is then known by a range, and not by equality.',
                        'Give the table a primary key of plain columns.');
  END IF;
  RETURN (SELECT jsonb_agg(apex.column_spec(relation, a.attname, 'the primary key') - 'not_null' ORDER BY place)
            FROM unnest(key.indkey::int2[]) WITH ORDINALITY AS every(attnum, place)
            JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = every.attnum
           WHERE place <= key.indnkeyatts);
END
$$;
COMMENT ON FUNCTION apex.key_spec(regclass) IS 'The primary key''s columns as the spec names them, in key order';

-- ---- Foreign keys ----

CREATE FUNCTION apex.foreign_key(relation regclass, column_name text, what text) RETURNS pg_constraint
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  attnum int2 := apex.column_spec(relation, column_name, what) ->> 'attnum';
  found_keys pg_constraint[];
BEGIN
  -- One on the column alone is meant before one that only has the column among others.
  SELECT array_agg(c ORDER BY cardinality(c.conkey)) INTO found_keys FROM pg_constraint c
   WHERE c.conrelid = relation AND c.contype = 'f' AND attnum = ANY (c.conkey);
  IF found_keys IS NULL THEN
    PERFORM apex.refuse('42830', format('column "%s" of %s has no foreign key', column_name, what),
                        'The node or row it points at is known from its foreign key.',
                        format('ALTER TABLE %s ADD FOREIGN KEY (%I) REFERENCES ....', relation, column_name));
  ELSIF cardinality(found_keys) > 1 AND cardinality(found_keys[2].conkey) = cardinality(found_keys[1].conkey) THEN
    PERFORM apex.refuse('42830', format('column "%s" of %s has several foreign keys', column_name, what),
                        format('They reference %s and %s.', found_keys[1].confrelid::regclass, found_keys[2].confrelid::regclass),
                        'Leave one of them.');
  END IF;
  RETURN found_keys[1];
END
$$;
COMMENT ON FUNCTION apex.foreign_key(regclass, text, text) IS 'The foreign key that a column stands for';

-- The mapping of the referenced table. For a reference to the table itself, which is just being attached, `own` stands for it.
CREATE FUNCTION apex.referenced_spec(foreign_key pg_constraint, own jsonb, pipeline text, what text) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  referenced regclass := foreign_key.confrelid;
  mapping apex.mapping;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = foreign_key.conindid AND i.indisprimary) THEN
    PERFORM apex.refuse('42830', format('the foreign key of %s does not reference the primary key of %s', what, referenced),
                        'The stores find a row by its primary key alone.', 'Reference the primary key.');
  END IF;
  IF referenced = foreign_key.conrelid::regclass THEN
    RETURN own;
  END IF;
  SELECT * INTO mapping FROM apex.mapping m WHERE m.relation = referenced AND m.active;
  IF NOT FOUND THEN
    PERFORM apex.refuse('55000', format('table %s, referenced by %s, is not attached', referenced, what),
                        'The row would point at one that never arrives.',
                        format('Call apex.attach for %s first.', referenced));
  ELSIF mapping.pipeline <> pipeline THEN
    PERFORM apex.refuse('55000', format('table %s, referenced by %s, is in pipeline "%s"', referenced, what, mapping.pipeline),
                        'Tables joined by an aggregate or a relationship have to share one pipeline.',
                        format('Attach both with pipeline => ''%s''.', mapping.pipeline));
  END IF;
  RETURN mapping.spec;
END
$$;
COMMENT ON FUNCTION apex.referenced_spec(pg_constraint, jsonb, text, text) IS 'The spec of the attached table that a foreign key references';

CREATE FUNCTION apex.endpoint(relation regclass, column_name text, own jsonb, pipeline text, what text) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  foreign_key pg_constraint := apex.foreign_key(relation, column_name, what);
  referenced jsonb := apex.referenced_spec(foreign_key, own, pipeline, what);
BEGIN
  IF referenced #>> '{graph,kind}' IS DISTINCT FROM 'node' THEN
    PERFORM apex.refuse('55000', format('table %s, referenced by %s, has no label', foreign_key.confrelid::regclass, what),
                        'It is attached without graph => apex.graph(...).', 'Attach it with a label first.');
  END IF;
  RETURN jsonb_build_object(
    'columns', (SELECT jsonb_agg(a.attname ORDER BY place) FROM unnest(foreign_key.conkey) WITH ORDINALITY AS k(attnum, place)
                  JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k.attnum),
    'label', referenced #> '{graph,label}',
    'key', (SELECT jsonb_agg(c -> 'column' ORDER BY place) FROM unnest(foreign_key.confkey) WITH ORDINALITY AS k(attnum, place)
              JOIN jsonb_array_elements(referenced -> 'key') c ON (c ->> 'attnum')::int2 = k.attnum));
END
$$;
COMMENT ON FUNCTION apex.endpoint(regclass, text, jsonb, text, text) IS 'The node at the far end of a foreign key: columns that point, label, and key properties in the same order';

CREATE FUNCTION apex.aggregate_spec(relation regclass, column_name text, own jsonb, pipeline text) RETURNS jsonb
  LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  what CONSTANT text := 'aggregate';
  foreign_key pg_constraint := apex.foreign_key(relation, column_name, what);
  referenced jsonb := apex.referenced_spec(foreign_key, own, pipeline, what);
BEGIN
  IF cardinality(foreign_key.conkey) <> 1 THEN
    PERFORM apex.refuse('0A000', format('the foreign key of aggregate column "%s" has several columns', column_name),
                        'An aggregate is named by one column.', 'Attach the table without aggregate.');
  END IF;
  RETURN apex.column_spec(relation, column_name, what) - 'not_null'
         || jsonb_build_object('relation', foreign_key.confrelid::bigint, 'table', referenced -> 'table');
END
$$;
COMMENT ON FUNCTION apex.aggregate_spec(regclass, text, jsonb, text) IS 'The aggregate as the spec names it';

-- ---- The three parts ----

CREATE FUNCTION apex.relations_spec(relation regclass, relations jsonb, own jsonb, pipeline text) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part jsonb;
  what text;
  type text;
  spec jsonb := '[]';
BEGIN
  FOR part IN SELECT jsonb_array_elements(relations) LOOP
    PERFORM apex.check_members(part, 'a relation of graph', ARRAY['type', 'via']);
    type := apex.text_member(part, 'type', 'a relation of graph');
    what := format('relation "%s"', type);
    PERFORM apex.check_name(type, 'relationship type', '^_Apex', 'Names that begin with _Apex are taken.');
    IF spec @> jsonb_build_array(jsonb_build_object('type', type)) THEN
      PERFORM apex.refuse('42710', format('%s is given twice', what), 'A row''s relationships are replaced type by type.', 'Give each foreign key a type of its own.');
    END IF;
    part := apex.endpoint(relation, apex.text_member(part, 'via', what), own, pipeline, what);
    spec := spec || jsonb_build_object('type', type, 'via', part -> 'columns', 'label', part -> 'label', 'key', part -> 'key');
  END LOOP;
  RETURN spec;
END
$$;
COMMENT ON FUNCTION apex.relations_spec(regclass, jsonb, jsonb, text) IS 'The relations of a node as the spec names them';

CREATE FUNCTION apex.properties_spec(relation regclass, graph jsonb) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  properties text[] := coalesce(apex.text_list(graph, 'properties', 'graph'), '{}');
BEGIN
  PERFORM apex.column_spec(relation, p, 'graph') FROM unnest(properties) p;
  RETURN to_jsonb(properties);
END
$$;
COMMENT ON FUNCTION apex.properties_spec(regclass, jsonb) IS 'The property columns of a node or relationship';

CREATE FUNCTION apex.graph_spec(relation regclass, graph jsonb, own jsonb, pipeline text) RETURNS jsonb
  LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text;
BEGIN
  IF graph ->> 'kind' = 'edge' THEN
    PERFORM apex.check_members(graph, 'graph', ARRAY['kind', 'type', 'from_column', 'to_column', 'properties']);
    name := apex.text_member(graph, 'type', 'graph');
    PERFORM apex.check_name(name, 'relationship type', '^_Apex', 'Names that begin with _Apex are taken.');
    RETURN jsonb_build_object(
      'kind', 'edge', 'type', name, 'properties', apex.properties_spec(relation, graph),
      'from', apex.endpoint(relation, apex.text_member(graph, 'from_column', 'graph'), own, pipeline, 'from_column'),
      'to', apex.endpoint(relation, apex.text_member(graph, 'to_column', 'graph'), own, pipeline, 'to_column'));
  END IF;
  PERFORM apex.check_members(graph, 'graph', ARRAY['kind', 'label', 'properties', 'relations']);
  IF coalesce(graph ->> 'kind', 'node') <> 'node' OR jsonb_typeof(coalesce(graph -> 'relations', '[]')) <> 'array' THEN
    PERFORM apex.refuse('22023', 'graph is neither a node nor an edge', format('It is: %s', left(graph::text, 200)), 'Write it with apex.graph or apex.edge.');
  END IF;
  name := apex.text_member(graph, 'label', 'graph');
  PERFORM apex.check_name(name, 'label', '^_Apex', 'Names that begin with _Apex are taken.');
  RETURN jsonb_build_object(
    'kind', 'node', 'label', name, 'properties', apex.properties_spec(relation, graph),
    'relations', apex.relations_spec(relation, coalesce(graph -> 'relations', '[]'),
                                     jsonb_set(own, '{graph}', jsonb_build_object('kind', 'node', 'label', name)), pipeline));
END
$$;
COMMENT ON FUNCTION apex.graph_spec(regclass, jsonb, jsonb, text) IS 'The graph part as the spec names it';

-- The dimensions that were said, or that vector(n) implies.
CREATE FUNCTION apex.vector_dimensions(relation regclass, vector jsonb, attribute pg_attribute) RETURNS int
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  dimensions_max CONSTANT int := 65536;
  implied int := CASE WHEN apex.holds_embedding(attribute.atttypid) = 'vector' THEN nullif(attribute.atttypmod, -1) END;
  said numeric;
BEGIN
  IF jsonb_typeof(vector -> 'dimensions') = 'number' THEN
    said := vector ->> 'dimensions';
  ELSIF vector -> 'dimensions' IS NOT NULL OR implied IS NULL THEN
    PERFORM apex.refuse('22023', 'vector needs dimensions',
                        format('Column "%s" of %s is %s, which does not say how many.', attribute.attname, relation,
                               format_type(attribute.atttypid, attribute.atttypmod)),
                        'Say dimensions => 384, or whatever the model gives.');
  END IF;
  IF said <> implied THEN
    PERFORM apex.refuse('22023', format('vector says %s dimensions, column "%s" has %s', said, attribute.attname, implied),
                        'The column''s type says how many its embeddings have.', 'Leave dimensions out.');
  ELSIF said NOT BETWEEN 1 AND dimensions_max OR said <> trunc(said) THEN
    PERFORM apex.refuse('22023', format('%s is no number of dimensions', said), format('It has to be a whole number from 1 to %s.', dimensions_max),
                        'Say as many as the model gives.');
  END IF;
  RETURN coalesce(said, implied);
END
$$;
COMMENT ON FUNCTION apex.vector_dimensions(regclass, jsonb, pg_attribute) IS 'How many elements the embeddings have';

CREATE FUNCTION apex.vector_spec(relation regclass, vector jsonb) RETURNS jsonb
  LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  distances CONSTANT text[] := ARRAY['cosine', 'dot', 'euclid', 'manhattan'];
  collection text;
  distance text := coalesce(vector ->> 'distance', 'cosine');
  payload text[] := coalesce(apex.text_list(vector, 'payload', 'vector'), '{}');
  name text := vector ->> 'name';
  attribute pg_attribute;
BEGIN
  PERFORM apex.check_members(vector, 'vector', ARRAY['collection', 'embedding', 'dimensions', 'distance', 'payload', 'name']);
  collection := apex.text_member(vector, 'collection', 'vector');
  PERFORM apex.check_name(collection, 'collection', '[<>:"/\\|?*]', 'Qdrant takes no < > : " / \ | ? * in the name of a collection.');
  IF name IS NOT NULL THEN
    PERFORM apex.check_name(apex.text_member(vector, 'name', 'vector'), 'vector name', '^$', 'Leave the name out for the unnamed vector.');
  END IF;
  IF distance <> ALL (distances) THEN
    PERFORM apex.refuse('22023', format('"%s" is no distance', distance), format('There are: %s.', array_to_string(distances, ', ')), 'Choose the one the model was trained for; cosine as a rule.');
  END IF;
  PERFORM apex.column_spec(relation, apex.text_member(vector, 'embedding', 'vector'), 'vector');
  SELECT * INTO attribute FROM pg_attribute WHERE attrelid = relation AND attname = vector ->> 'embedding';
  IF apex.holds_embedding(attribute.atttypid) IS NULL THEN
    PERFORM apex.refuse('42804', format('column "%s" of table %s cannot hold an embedding', attribute.attname, relation),
                        format('It is of type %s.', format_type(attribute.atttypid, attribute.atttypmod)),
                        'It can be real[], double precision[] or pgvector''s vector.');
  END IF;
  PERFORM apex.column_spec(relation, p, 'vector') FROM unnest(payload) p;
  RETURN jsonb_build_object('collection', collection, 'embedding', attribute.attname, 'distance', distance,
                            'dimensions', apex.vector_dimensions(relation, vector, attribute), 'payload', to_jsonb(payload))
         || CASE WHEN name IS NULL THEN '{}' ELSE jsonb_build_object('name', name) END;
END
$$;
COMMENT ON FUNCTION apex.vector_spec(regclass, jsonb) IS 'The vector part as the spec names it';

-- ---- The cache part ----

CREATE FUNCTION apex.template_columns(template text) RETURNS SETOF text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT m[1] FROM regexp_matches(template, '\{([^{}]+)\}', 'g') m;
END;
COMMENT ON FUNCTION apex.template_columns(text) IS 'The columns that a template of cache keys names in braces';

CREATE FUNCTION apex.check_template(relation regclass, template text) RETURNS void
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF regexp_replace(template, '\{[^{}]+\}', '', 'g') ~ '[{}]' THEN
    PERFORM apex.refuse('22023', format('braces of template "%s" do not pair up', template), 'Braces stand around the name of a column.', 'Write a column as {column}.');
  END IF;
  PERFORM apex.column_spec(relation, c, format('template "%s"', template)) FROM apex.template_columns(template) c;
END
$$;
COMMENT ON FUNCTION apex.check_template(regclass, text) IS 'Refuses a template that names an unknown column';

-- The keys and queries that name a row of this entity; a part of a document also stands in what is kept of its document,
-- and a row with a user in what is kept of the user.
CREATE FUNCTION apex.default_invalidate(relation regclass, entity text, key jsonb, aggregate jsonb) RETURNS text[]
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(array_agg(template ORDER BY place, template), '{}') FROM (
    SELECT 1, format('doc:{%s}:chunks', key #>> '{0,column}') WHERE entity = 'document' AND jsonb_array_length(key) = 1
    UNION SELECT 1, format('user:docs:{%s}', key #>> '{0,column}') WHERE entity = 'user' AND jsonb_array_length(key) = 1
    UNION SELECT 1, format('doc:{%s}:chunks', aggregate ->> 'column') WHERE entity = 'chunk' AND aggregate IS NOT NULL
    UNION SELECT 1, 'user:docs:{user_id}' FROM pg_attribute
           WHERE attrelid = relation AND attname = 'user_id' AND NOT attisdropped
    UNION SELECT 2, format('%s:*{%s}*', kind, c)
            FROM unnest(ARRAY['query', 'search']) kind,
                 (SELECT k ->> 'column' FROM jsonb_array_elements(key) k
                  UNION SELECT aggregate ->> 'column' WHERE aggregate IS NOT NULL
                  UNION SELECT 'user_id' FROM pg_attribute
                         WHERE attrelid = relation AND attname = 'user_id' AND NOT attisdropped) names(c)
  ) every(place, template);
END;
COMMENT ON FUNCTION apex.default_invalidate(regclass, text, jsonb, jsonb) IS 'What apex.cache(invalidate) is when it is left out';

CREATE FUNCTION apex.ttl_seconds(cache jsonb) RETURNS bigint
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ttl_max CONSTANT interval := '100 years';
  ttl interval;
  seconds numeric;
BEGIN
  BEGIN
    ttl := cache ->> 'ttl';
  EXCEPTION WHEN data_exception THEN
    PERFORM apex.refuse('22007', format('"%s" is no ttl', cache ->> 'ttl'), 'It has to be an interval.', 'Write ttl => ''1 hour''.');
  END;
  IF ttl < interval '1 second' OR ttl > ttl_max THEN
    PERFORM apex.refuse('22023', format('a ttl of %s is out of range', ttl), format('It has to be from 1 second to %s.', ttl_max), 'Leave ttl out for entries that do not expire.');
  END IF;
  seconds := extract(epoch FROM ttl);
  IF seconds <> trunc(seconds) THEN
    PERFORM apex.refuse('22023', format('a ttl of %s is not whole seconds', ttl), 'Entries expire by the second.', 'Round it.');
  END IF;
  RETURN seconds;
END
$$;
COMMENT ON FUNCTION apex.ttl_seconds(jsonb) IS 'How long an entry lives; NULL: no expiry';

CREATE FUNCTION apex.check_ttl_column(relation regclass, cache jsonb) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  what CONSTANT text := 'cache ttl_column';
  spec jsonb;
BEGIN
  IF cache -> 'ttl_column' IS NULL THEN
    RETURN NULL;
  END IF;
  spec := apex.column_spec(relation, apex.text_member(cache, 'ttl_column', 'cache'), what);
  IF spec ->> 'kind' NOT IN ('int', 'timestamptz') THEN
    PERFORM apex.refuse('42804', format('column "%s" of %s cannot say how long an entry lives', spec ->> 'column', what),
                        format('Its values are of kind %s.', spec ->> 'kind'), 'It can be an integer, in seconds, or a timestamptz, until when.');
  END IF;
  RETURN spec ->> 'column';
END
$$;
COMMENT ON FUNCTION apex.check_ttl_column(regclass, jsonb) IS 'The column that says how long a row''s entry lives; NULL: none does';

CREATE FUNCTION apex.cache_spec(relation regclass, cache jsonb, key jsonb, aggregate jsonb) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name_pattern CONSTANT text := '[^A-Za-z0-9_.-]';
  name_hint CONSTANT text := 'Use letters, digits, ".", "_" and "-".';
  entity text;
  mode text := coalesce(cache ->> 'mode', 'invalidate');
  entry text;
  ttl bigint;
  ttl_column text;
  invalidate text[];
  events text[];
  tags text[];
BEGIN
  IF cache IS NULL THEN
    RETURN NULL;
  END IF;
  PERFORM apex.check_members(cache, 'cache', ARRAY['entity', 'mode', 'entry', 'ttl', 'invalidate', 'events', 'columns', 'ttl_column', 'tags']);
  entity := apex.text_member(cache, 'entity', 'cache');
  PERFORM apex.check_name(entity, 'cache entity', name_pattern, name_hint);
  IF mode NOT IN ('invalidate', 'write') THEN
    PERFORM apex.refuse('22023', format('"%s" is no cache mode', mode), 'There are: invalidate, write.', 'Choose one of them.');
  END IF;
  entry := coalesce(cache ->> 'entry', CASE WHEN entity = 'document' THEN 'doc' ELSE entity END
             || (SELECT string_agg(format(':{%s}', k ->> 'column'), '' ORDER BY place)
                   FROM jsonb_array_elements(key) WITH ORDINALITY AS every(k, place)));
  ttl := apex.ttl_seconds(cache);
  ttl_column := apex.check_ttl_column(relation, cache);
  IF mode = 'write' AND entry = '' THEN
    PERFORM apex.refuse('22023', 'cache mode write needs an entry to write', 'entry is empty.', 'Leave entry out, or use mode invalidate.');
  ELSIF num_nonnulls(ttl, ttl_column) > 0 AND mode <> 'write' THEN
    PERFORM apex.refuse('22023', 'ttl is given, but no entries are written', 'Only mode write makes entries that can expire.', 'Use mode => ''write'', or leave ttl out.');
  END IF;
  invalidate := coalesce(apex.text_list(cache, 'invalidate', 'cache'), apex.default_invalidate(relation, entity, key, aggregate));
  events := coalesce(apex.text_list(cache, 'events', 'cache'), ARRAY[entity]);
  tags := coalesce(apex.text_list(cache, 'tags', 'cache'), '{}');
  PERFORM apex.check_template(relation, t) FROM unnest(invalidate || entry || tags) t;
  IF regexp_replace(entry, '\{[^{}]+\}', '', 'g') ~ '[*?[]' THEN
    PERFORM apex.refuse('22023', format('cache entry "%s" is a pattern', entry), 'An entry is one key.', 'Leave *, ? and [ out of entry; invalidate takes patterns.');
  END IF;
  IF EXISTS (SELECT FROM unnest(tags) t WHERE regexp_replace(t, '\{[^{}]+\}', '', 'g') ~ '[]*?[\\]') THEN
    PERFORM apex.refuse('22023', format('one of cache tags "%s" is a pattern', array_to_string(tags, '", "')), 'A tag is one name.', 'Leave *, ?, [ and \ out of tags; invalidate takes patterns.');
  END IF;
  PERFORM apex.check_name(e, 'cache event', name_pattern, name_hint) FROM unnest(events) e;
  PERFORM apex.column_spec(relation, c, 'cache') FROM unnest(apex.text_list(cache, 'columns', 'cache')) c;
  RETURN jsonb_build_object('entity', entity, 'mode', mode, 'entry', entry, 'ttl_seconds', ttl,
                            'ttl_column', ttl_column, 'invalidate', to_jsonb(invalidate), 'events', to_jsonb(events), 'tags', to_jsonb(tags));
END
$$;
COMMENT ON FUNCTION apex.cache_spec(regclass, jsonb, jsonb, jsonb) IS 'The cache part as the spec names it, but for its columns';
