-- apex.attach and apex.detach.
--
-- Any owner of a table may call them. They are C++ functions that check, as the caller, that the caller owns the table, and
-- then call apex.attach_table and apex.detach_table, which run as the extension's owner: creating the trigger and writing
-- apex.mapping takes rights that a table's owner does not have.

-- Every column in an image: the key and whatever a part of the mapping names, in table order, without the embedding.
CREATE FUNCTION apex.image_columns(relation regclass, spec jsonb, cached text[]) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  embedding text := spec #>> '{vector,embedding}';
  names text[];
BEGIN
  SELECT array_agg(n) INTO names FROM (
    SELECT jsonb_path_query(spec, '$.key[*].column') #>> '{}'
    UNION SELECT jsonb_path_query(spec, '$.aggregate.column') #>> '{}'
    UNION SELECT jsonb_path_query(spec, '$.graph.properties[*]') #>> '{}'
    UNION SELECT jsonb_path_query(spec, '$.graph.relations[*].via[*]') #>> '{}'
    UNION SELECT jsonb_path_query(spec, '$.graph.from.columns[*]') #>> '{}'
    UNION SELECT jsonb_path_query(spec, '$.graph.to.columns[*]') #>> '{}'
    UNION SELECT jsonb_path_query(spec, '$.vector.payload[*]') #>> '{}'
    UNION SELECT apex.template_columns(jsonb_path_query(spec, '$.cache.invalidate[*]') #>> '{}')
    UNION SELECT apex.template_columns(jsonb_path_query(spec, '$.cache.tags[*]') #>> '{}')
    UNION SELECT apex.template_columns(spec #>> '{cache,entry}')
    UNION SELECT spec #>> '{cache,ttl_column}'
    UNION SELECT unnest(cached)
  ) every(n);
  IF embedding = ANY (names) THEN
    PERFORM apex.refuse('22023', format('embedding column "%s" is mapped as a value, too', embedding),
                        'Embeddings go to the vector store alone.', 'Leave it out of properties, payload, templates and columns.');
  END IF;
  RETURN (SELECT jsonb_agg(apex.column_spec(relation, a.attname, 'the mapping') ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = ANY (names) AND NOT a.attisdropped);
END
$$;
COMMENT ON FUNCTION apex.image_columns(regclass, jsonb, text[]) IS 'The columns that before and after hold';

-- What the cached JSON is asked to hold. A table that is mapped to nothing else is cached whole.
CREATE FUNCTION apex.cached_columns(relation regclass, spec jsonb, cache jsonb) RETURNS text[]
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(apex.text_list(cache, 'columns', 'cache'),
                  CASE WHEN jsonb_typeof(spec -> 'graph') = 'null' AND jsonb_typeof(spec -> 'vector') = 'null'
                       THEN (SELECT array_agg(attname::text) FROM pg_attribute
                              WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v') END);
END;
COMMENT ON FUNCTION apex.cached_columns(regclass, jsonb, jsonb) IS 'The columns that the cache part asks for; NULL: whatever is mapped';

CREATE FUNCTION apex.whole_row_columns(relation regclass) RETURNS jsonb
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_agg(apex.column_spec(relation, a.attname, 'the row') ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v';
END;
COMMENT ON FUNCTION apex.whole_row_columns(regclass) IS 'The columns that before and after hold when a row may have to be put back: all, the embedding too';

CREATE FUNCTION apex.resolve(relation regclass, graph jsonb, vector jsonb, cache jsonb, aggregate name, on_failure text,
                             pipeline text) RETURNS jsonb
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Unquoted: quoting rules change between versions, and ids are derived from this name.
  spec jsonb := jsonb_build_object('key', apex.key_spec(relation), 'table',
    (SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation));
  cached text[];
BEGIN
  IF num_nonnulls(graph, vector, cache) = 0 THEN
    PERFORM apex.refuse('22023', format('nothing to map table %s to', relation), 'graph, vector and cache are all NULL.',
                        'Give at least one of them.');
  END IF;
  spec := spec || jsonb_build_object('aggregate', apex.aggregate_spec(relation, aggregate::text, spec, pipeline));
  spec := spec || jsonb_build_object('graph', apex.graph_spec(relation, graph, spec, pipeline),
                                     'vector', apex.vector_spec(relation, vector));
  spec := spec || jsonb_build_object('cache', apex.cache_spec(relation, cache, spec -> 'key',
                                                              nullif(spec -> 'aggregate', 'null')));
  cached := apex.cached_columns(relation, spec, cache);
  spec := spec || jsonb_build_object('columns', apex.image_columns(relation, spec, cached),
                                     'embedding', apex.column_spec(relation, spec #>> '{vector,embedding}', 'vector') - 'kind' - 'not_null');
  IF cache IS NOT NULL THEN
    spec := jsonb_set(spec, '{cache,columns}', (
      SELECT jsonb_agg(c -> 'column' ORDER BY place) FROM jsonb_array_elements(spec -> 'columns') WITH ORDINALITY AS every(c, place)
       WHERE cached IS NULL OR c ->> 'column' = ANY (cached) OR spec -> 'key' @> jsonb_build_array(jsonb_build_object('column', c -> 'column'))));
  END IF;
  IF on_failure = 'revert' THEN
    spec := jsonb_set(spec, '{columns}', apex.whole_row_columns(relation));
  END IF;
  RETURN spec;
END
$$;
COMMENT ON FUNCTION apex.resolve(regclass, jsonb, jsonb, jsonb, name, text, text) IS 'The spec of a mapping';

-- What a mapping claims for itself alone.
CREATE FUNCTION apex.claims(spec jsonb, OUT what text, OUT name text) RETURNS SETOF record
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.what, c.name FROM (VALUES
    ('label', spec #>> '{graph,label}'), ('relationship type', spec #>> '{graph,type}'),
    ('collection', spec #>> '{vector,collection}'), ('cache entry', nullif(spec #>> '{cache,entry}', ''))) c(what, name)
   WHERE c.name IS NOT NULL;
END;
COMMENT ON FUNCTION apex.claims(jsonb) IS 'Label, relationship type, collection and cache entry of a mapping';

-- A node's relationships are replaced type by type, which would take those that a join table made.
CREATE FUNCTION apex.replaced_type(node jsonb, edge jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT edge #>> '{graph,type}'
   WHERE edge #> '{graph,from,label}' = node #> '{graph,label}'
     AND node #> '{graph,relations}' @> jsonb_build_array(jsonb_build_object('type', edge #> '{graph,type}'));
END;
COMMENT ON FUNCTION apex.replaced_type(jsonb, jsonb) IS 'The relationship type that a node table and a join table would both write, if there is one';

CREATE FUNCTION apex.check_clash(relation regclass, spec jsonb) RETURNS void
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  other record;
BEGIN
  SELECT m.relation, clash.what, clash.name INTO other
    FROM apex.mapping m
    CROSS JOIN LATERAL (
      (SELECT what, name FROM apex.claims(check_clash.spec) INTERSECT SELECT what, name FROM apex.claims(m.spec))
      UNION ALL SELECT 'relationship type', apex.replaced_type(check_clash.spec, m.spec)
      UNION ALL SELECT 'relationship type', apex.replaced_type(m.spec, check_clash.spec)
    ) clash(what, name)
   WHERE m.active AND m.relation <> check_clash.relation AND clash.name IS NOT NULL ORDER BY m.id LIMIT 1;
  IF FOUND THEN
    PERFORM apex.refuse('42710', format('%s "%s" is already used by table %s', other.what, other.name, other.relation),
                        'Two tables on one would overwrite and delete each other''s rows.', format('Choose another %s.', other.what));
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_clash(regclass, jsonb) IS 'Refuses a label, relationship type, collection or entry that another attached table has';

CREATE FUNCTION apex.check_options(on_failure text, handler regprocedure, backfill boolean, pipeline text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF coalesce(on_failure, '') NOT IN ('park', 'revert', 'call') THEN
    PERFORM apex.refuse('22023', format('on_failure cannot be %s', coalesce(quote_literal(on_failure), 'NULL')), 'There are: park, revert, call.', 'Leave it out for park.');
  ELSIF on_failure = 'call' AND handler IS NULL THEN
    PERFORM apex.refuse('22023', 'on_failure => ''call'' needs a handler', 'It is the function that is called.',
                        'Give handler => ''schema.function(uuid, regclass, jsonb, text)''.');
  ELSIF on_failure <> 'call' AND handler IS NOT NULL THEN
    PERFORM apex.refuse('22023', format('on_failure => ''%s'' has no handler', on_failure), 'It belongs to on_failure => ''call''.', 'Leave it out.');
  ELSIF backfill IS NULL THEN
    PERFORM apex.refuse('22023', 'backfill cannot be NULL', 'It says whether the rows that are there already are sent.', 'Give true or false.');
  ELSIF coalesce(btrim(pipeline), '') = '' OR length(pipeline) > 63 THEN
    PERFORM apex.refuse('22023', format('pipeline cannot be %s', coalesce(quote_literal(pipeline), 'NULL')), 'It is a name of 1 to 63 characters.', 'Leave it out for the pipeline "default".');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_options(text, regprocedure, boolean, text) IS 'Refuses what version 1.0 cannot do';

CREATE FUNCTION apex.check_on_failure(relation regclass, on_failure text, handler regprocedure, aggregate regclass) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  owner CONSTANT oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = relation);
  wished text;
BEGIN
  IF handler IS NOT NULL AND NOT apex.is_handler(handler) THEN
    PERFORM apex.refuse('42883', format('%s cannot be a handler', handler), 'A handler is a function of (saga uuid, relation regclass, key jsonb, error text).',
                        'Its result, if it has one, is not looked at.');
  ELSIF handler IS NOT NULL AND NOT has_function_privilege(owner, handler::oid, 'EXECUTE') THEN
    PERFORM apex.refuse('42501', format('permission denied for function %s', handler), 'The handler is called as the table''s owner.',
                        format('GRANT EXECUTE ON FUNCTION %s TO %s.', handler, owner::regrole));
  END IF;
  SELECT m.on_failure INTO wished FROM apex.mapping m WHERE m.active AND m.relation = check_on_failure.aggregate
                                                     AND m.on_failure <> check_on_failure.on_failure;
  IF FOUND THEN
    PERFORM apex.refuse('55000', format('table %s is attached with on_failure => ''%s''', aggregate, wished),
                        'Rows of an aggregate fail together and are settled together.', format('Give on_failure => ''%s'' here, too.', wished));
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_on_failure(regclass, text, regprocedure, regclass) IS
  'Refuses a handler that could not be called, and another on_failure than the aggregate''s table has';

CREATE FUNCTION apex.create_triggers(relation regclass) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER apex_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION apex.capture()', relation);
  -- ALWAYS: what logical replication applies here is a committed change like any other.
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER apex_capture', relation);
  PERFORM apex.follow_truncate(relation);
END
$$;
COMMENT ON FUNCTION apex.create_triggers(regclass) IS 'Creates apex_capture and the triggers of TRUNCATE, the latter on each partition, too';

CREATE FUNCTION apex.count_rows(relation regclass) RETURNS bigint
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'apex_count_rows';
COMMENT ON FUNCTION apex.count_rows(regclass) IS 'How many rows a table and its partitions have now, without running anything of the table''s owner';

CREATE FUNCTION apex.map_table(relation regclass, graph jsonb, vector jsonb, cache jsonb, aggregate name, on_failure text,
                               handler regprocedure, pipeline text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  spec jsonb := apex.resolve(relation, graph, vector, cache, aggregate, on_failure, pipeline);
  root CONSTANT regclass := (spec #>> '{aggregate,relation}')::oid::regclass;
BEGIN
  PERFORM apex.check_on_failure(relation, on_failure, handler, root);
  PERFORM apex.check_clash(relation, spec);
  INSERT INTO apex.mapping (relation, relation_oid, pipeline, on_failure, handler, spec, aggregate)
    VALUES (relation, relation::oid, pipeline, on_failure, handler::text, spec, root);
END
$$;
COMMENT ON FUNCTION apex.map_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, text) IS 'Makes the active mapping of a table that has none';

CREATE FUNCTION apex.announce_rows(relation regclass, rows_there bigint, backfill boolean, since text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF backfill THEN
    PERFORM apex.start_backfill(relation, NULL);
    UPDATE apex.backfill_progress p SET rows_expected = rows_there WHERE p.relation = announce_rows.relation;
  ELSIF rows_there > 0 THEN
    RAISE NOTICE 'rows in table % before it was %: %', relation, since, rows_there
      USING DETAIL = 'They are sent when they next change.', HINT = 'Call apex.backfill to send them all.';
  END IF;
END
$$;
COMMENT ON FUNCTION apex.announce_rows(regclass, bigint, boolean, text) IS 'Begins the backfill of the rows that are there, or says how many they are';

CREATE FUNCTION apex.dependent_of(relation regclass) RETURNS regclass
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT m.relation FROM apex.mapping own JOIN apex.mapping m
      ON m.active AND m.relation <> own.relation
     AND (m.aggregate = own.relation
          OR m.spec #> '{graph,from,label}' = own.spec #> '{graph,label}' OR m.spec #> '{graph,to,label}' = own.spec #> '{graph,label}'
          OR m.spec #> '{graph,relations}' @> jsonb_build_array(jsonb_build_object('label', own.spec #> '{graph,label}')))
   WHERE own.relation = dependent_of.relation AND own.active LIMIT 1;
END;
COMMENT ON FUNCTION apex.dependent_of(regclass) IS 'A table whose aggregate or relationships are of this attached one; NULL: there is none';

CREATE FUNCTION apex.attach_table(relation regclass, graph jsonb, vector jsonb, cache jsonb, aggregate name, on_failure text,
                                  handler regprocedure, backfill boolean, pipeline text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  rows_there bigint;
BEGIN
  PERFORM apex.check_options(on_failure, handler, backfill, pipeline);
  PERFORM apex.check_table(relation);
  -- One attach at a time, so that no two take the same label.
  LOCK TABLE apex.mapping IN SHARE ROW EXCLUSIVE MODE;
  UPDATE apex.mapping m SET active = false WHERE m.active AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = m.relation);
  IF EXISTS (SELECT FROM apex.mapping m WHERE m.relation = attach_table.relation AND m.active) THEN
    PERFORM apex.refuse('42710', format('table %s is already attached', relation), 'A table has one mapping at a time.',
                        'To change its mapping, call apex.alter.');
  END IF;
  PERFORM apex.map_table(relation, graph, vector, cache, aggregate, on_failure, handler, pipeline);
  -- Counted before the trigger's lock makes writers wait.
  rows_there := apex.count_rows(relation);
  INSERT INTO apex.pipeline (name) SELECT pipeline
    WHERE NOT EXISTS (SELECT FROM apex.pipeline p WHERE p.name = attach_table.pipeline) ON CONFLICT DO NOTHING;
  PERFORM apex.create_triggers(relation);
  -- The lock may have waited for the first writers of an empty table.
  IF rows_there = 0 THEN
    rows_there := apex.count_rows(relation);
  END IF;
  PERFORM apex.announce_rows(relation, rows_there, backfill, 'attached');
END
$$;
COMMENT ON FUNCTION apex.attach_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean, text) IS
  'What apex.attach does once it has checked that the caller owns the table';

CREATE FUNCTION apex.alter_table(relation regclass, graph jsonb, vector jsonb, cache jsonb, aggregate name, on_failure text,
                                 handler regprocedure, backfill boolean) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  before apex.mapping;
  dependent regclass;
  rows_there bigint;
BEGIN
  LOCK TABLE apex.mapping IN SHARE ROW EXCLUSIVE MODE;
  SELECT * INTO before FROM apex.mapping m WHERE m.relation = alter_table.relation AND m.active;
  IF NOT FOUND THEN
    PERFORM apex.refuse('55000', format('table %s is not attached', relation), 'It has no active mapping in apex.mapping.', 'Call apex.attach.');
  END IF;
  on_failure := coalesce(on_failure, before.on_failure);
  IF handler IS NULL AND on_failure = before.on_failure THEN
    handler := before.handler::regprocedure;
  END IF;
  PERFORM apex.check_options(on_failure, handler, backfill, before.pipeline);
  PERFORM apex.check_table(relation);
  dependent := apex.dependent_of(relation);
  -- From here on every writer either has committed or sees the new mapping.
  EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
  UPDATE apex.mapping m SET active = false WHERE m.id = before.id;
  PERFORM apex.map_table(relation, graph, vector, cache, aggregate, on_failure, handler, before.pipeline);
  IF dependent IS NOT NULL AND EXISTS (SELECT FROM apex.mapping m WHERE m.relation = alter_table.relation AND m.active
      AND (m.spec #> '{graph,label}', m.aggregate) IS DISTINCT FROM (before.spec #> '{graph,label}', before.aggregate)) THEN
    PERFORM apex.refuse('2BP01', format('cannot give table %s another label or aggregate because table %s refers to it', relation, dependent),
                        'Its relationships and sagas are made for the present ones.', format('Detach %s first.', dependent));
  END IF;
  SELECT m.relation INTO dependent FROM apex.mapping m
   WHERE m.active AND m.aggregate = alter_table.relation AND m.on_failure <> alter_table.on_failure LIMIT 1;
  IF FOUND THEN
    PERFORM apex.refuse('2BP01', format('cannot give table %s another on_failure because table %s belongs to its aggregate', relation, dependent),
                        'Rows of an aggregate fail together and are settled together.', format('Detach %s first.', dependent));
  END IF;
  DELETE FROM apex.backfill_progress p WHERE p.relation = alter_table.relation;
  rows_there := apex.count_rows(relation);
  PERFORM apex.announce_rows(relation, rows_there, backfill, 'altered');
END
$$;
COMMENT ON FUNCTION apex.alter_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean) IS
  'What apex.alter does once it has checked that the caller owns the table';

CREATE FUNCTION apex.detach_table(relation regclass, purge boolean) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  dependent regclass;
  capture name;
BEGIN
  IF purge IS NULL THEN
    PERFORM apex.refuse('22023', 'purge cannot be NULL', 'It says whether the stores are to lose the table''s rows.', 'Give true or false.');
  END IF;
  LOCK TABLE apex.mapping IN SHARE ROW EXCLUSIVE MODE;
  IF NOT EXISTS (SELECT FROM apex.mapping m WHERE m.relation = detach_table.relation AND m.active) THEN
    PERFORM apex.refuse('55000', format('table %s is not attached', relation), 'It has no active mapping in apex.mapping.', 'Nothing needs to be done.');
  END IF;
  dependent := apex.dependent_of(relation);
  IF dependent IS NOT NULL THEN
    PERFORM apex.refuse('2BP01', format('cannot detach table %s because table %s refers to it', relation, dependent),
                        'Its relationships or its aggregate would point at rows that no longer arrive.', format('Detach %s first.', dependent));
  END IF;
  IF purge THEN
    PERFORM apex.capture_rows(relation, 'D');
  END IF;
  UPDATE apex.mapping m SET active = false WHERE m.relation = detach_table.relation AND m.active;
  DELETE FROM apex.backfill_progress p WHERE p.relation = detach_table.relation;
  -- Its owner may have renamed it, or dropped it.
  FOR capture IN SELECT t.tgname FROM pg_trigger t WHERE t.tgrelid = relation AND t.tgfoid = 'apex.capture()'::regprocedure LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', capture, relation);
  END LOOP;
  PERFORM apex.unfollow_truncate(relation);
END
$$;
COMMENT ON FUNCTION apex.detach_table(regclass, boolean) IS 'What apex.detach does once it has checked that the caller owns the table';

CREATE FUNCTION apex.attach(relation regclass, graph jsonb DEFAULT NULL, vector jsonb DEFAULT NULL, cache jsonb DEFAULT NULL,
                            aggregate name DEFAULT NULL, on_failure text DEFAULT 'park', handler regprocedure DEFAULT NULL,
                            backfill boolean DEFAULT false, pipeline text DEFAULT 'default') RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_attach';
COMMENT ON FUNCTION apex.attach(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean, text) IS
  'Maps a table to Neo4j (apex.graph or apex.edge), Qdrant (apex.vector) and Redis (apex.cache) and captures its changes from the end of this transaction on. aggregate: a foreign key column to the attached table whose row this one belongs to; both are then ordered and compensated together. pipeline: tables joined by aggregate or relationship share one. The caller has to own the table. on_failure: what becomes of a saga that failed for good once the stores are as before it: park, revert (its rows are put back, too; whole rows are captured for that) or call (handler is called for each row, as the table''s owner). backfill: the rows that are there already are sent, too. Errors: 42501 not the owner, 42809 no table, 0A000 not supported, 55000 no usable primary key or a referenced table not attached, 42703 unknown column, 42830 no foreign key, 42804 no embedding type, 42710 already attached or a name in use, 42883 no handler, 22023 any other bad value.';

CREATE FUNCTION apex.detach(relation regclass, purge boolean DEFAULT false) RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_detach';
COMMENT ON FUNCTION apex.detach(regclass, boolean) IS
  'Stops capturing a table''s changes. Events captured so far are still delivered. What the stores hold stays, or with purge goes, as if every row had been deleted. The caller has to own the table. Errors: 42501 not the owner, 55000 not attached, 2BP01 another attached table refers to it.';

CREATE FUNCTION apex.alter(relation regclass, graph jsonb DEFAULT NULL, vector jsonb DEFAULT NULL, cache jsonb DEFAULT NULL,
                           aggregate name DEFAULT NULL, on_failure text DEFAULT NULL, handler regprocedure DEFAULT NULL,
                           backfill boolean DEFAULT false) RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_alter';
COMMENT ON FUNCTION apex.alter(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean) IS
  'Replaces the mapping of an attached table by this one, from the end of this transaction on: what is not given is no longer mapped, but for on_failure and handler, which stay. backfill: every row is sent in its new shape. What the stores hold under a label, a collection or entries that the table no longer has stays there. The caller has to own the table. Errors: those of apex.attach, 55000 not attached, 2BP01 another attached table refers to what would change.';

REVOKE ALL ON FUNCTION
  apex.column_kind(oid), apex.holds_embedding(oid), apex.refuse(text, text, text, text),
  apex.check_members(jsonb, text, text[]), apex.text_member(jsonb, text, text), apex.text_list(jsonb, text, text),
  apex.check_name(text, text, text, text), apex.check_storage(regclass), apex.check_table(regclass), apex.column_spec(regclass, text, text),
  apex.key_spec(regclass), apex.foreign_key(regclass, text, text), apex.referenced_spec(pg_constraint, jsonb, text, text),
  apex.endpoint(regclass, text, jsonb, text, text), apex.aggregate_spec(regclass, text, jsonb, text),
  apex.relations_spec(regclass, jsonb, jsonb, text), apex.properties_spec(regclass, jsonb),
  apex.graph_spec(regclass, jsonb, jsonb, text), apex.vector_dimensions(regclass, jsonb, pg_attribute),
  apex.vector_spec(regclass, jsonb), apex.template_columns(text), apex.check_template(regclass, text),
  apex.default_invalidate(regclass, text, jsonb, jsonb), apex.ttl_seconds(jsonb), apex.check_ttl_column(regclass, jsonb), apex.cache_spec(regclass, jsonb, jsonb, jsonb),
  apex.image_columns(regclass, jsonb, text[]), apex.cached_columns(regclass, jsonb, jsonb),
  apex.whole_row_columns(regclass), apex.resolve(regclass, jsonb, jsonb, jsonb, name, text, text), apex.claims(jsonb), apex.replaced_type(jsonb, jsonb),
  apex.check_clash(regclass, jsonb),
  apex.check_options(text, regprocedure, boolean, text), apex.check_on_failure(regclass, text, regprocedure, regclass),
  apex.create_triggers(regclass), apex.count_rows(regclass),
  apex.map_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, text), apex.announce_rows(regclass, bigint, boolean, text),
  apex.dependent_of(regclass), apex.alter_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean),
  apex.attach_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean, text),
  apex.detach_table(regclass, boolean)
FROM PUBLIC;
