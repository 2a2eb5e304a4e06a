-- Rows for the cache's readers. Nothing is sent and nothing is locked.

-- The version is read after the row, so that it is not below the row's own. A change that has drawn a lower one and commits
-- later takes the entry away before it writes its own, so that it cannot be kept out by it.
CREATE FUNCTION apex.cached_row(relation regclass, key jsonb, OUT image jsonb, OUT error text, OUT version bigint)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  BEGIN
    SELECT r.image, r.error INTO cached_row.image, cached_row.error
      FROM apex.read_row(cached_row.relation, apex.key_texts(cached_row.key)) r;
  EXCEPTION WHEN data_exception THEN
    NULL;  -- What cannot be a key of the table names no row.
  END;
  SELECT s.last_value INTO cached_row.version FROM apex.outbox_seq s;
END
$$;
COMMENT ON FUNCTION apex.cached_row(regclass, jsonb) IS
  'One row of an attached table as its event would hold it, by a JSON array of its key, with a version that is not below its own. image and error NULL: there is no such row.';
REVOKE ALL ON FUNCTION apex.cached_row(regclass, jsonb) FROM PUBLIC;

-- ---- Invalidation by hand ----

-- It is an event like a row's, so that it happens if and only if the transaction commits, in order with the row changes of
-- the same transaction. It travels with an attached table's mapping, one of each pipeline that has a cache, and under a key
-- that no row can have.
CREATE FUNCTION apex.capture_invalidation(relation regclass, key jsonb, what jsonb) RETURNS void
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'apex_capture_invalidation';
COMMENT ON FUNCTION apex.capture_invalidation(regclass, jsonb, jsonb) IS 'Writes an event that names keys and patterns of the cache instead of a row';

CREATE FUNCTION apex.escape_glob(value text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT regexp_replace(value, '([]*?[\\])', '\\\1', 'g');
END;
COMMENT ON FUNCTION apex.escape_glob(text) IS 'A text as a pattern that matches itself alone';

CREATE FUNCTION apex.is_glob(template text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT regexp_replace(template, '\{[^{}]+\}', '', 'g') ~ '[]*?[\\]';
END;
COMMENT ON FUNCTION apex.is_glob(text) IS 'Whether a template of cache keys is a pattern';

-- The templates of the pipeline's tables of this entity that the key alone fills in; those of an entity that no table has are
-- the ones that apex.cache would give it.
CREATE FUNCTION apex.invalidation_of(pipeline text, entity text, id text) RETURNS jsonb
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH mapped AS (
    SELECT t.template, t.is_tag, m.spec #>> '{key,0,column}' AS column_name FROM apex.mapping m
      CROSS JOIN LATERAL (SELECT m.spec #>> '{cache,entry}', false UNION SELECT jsonb_array_elements_text(m.spec #> '{cache,invalidate}'), false
                          UNION SELECT jsonb_array_elements_text(m.spec #> '{cache,tags}'), true) t(template, is_tag)
     WHERE m.active AND m.pipeline = invalidation_of.pipeline AND jsonb_array_length(m.spec -> 'key') = 1
       AND (m.spec #>> '{cache,entity}' = entity OR m.spec #> '{cache,events}' @> to_jsonb(entity))
  ), templates AS (
    SELECT template, is_tag, column_name FROM mapped
     WHERE template <> '' AND NOT EXISTS (SELECT FROM apex.template_columns(template) c WHERE c <> column_name)
    UNION ALL
    SELECT template, false, 'id' FROM (
      SELECT CASE WHEN entity = 'document' THEN 'doc' ELSE entity END || ':{id}'
      UNION ALL SELECT 'doc:{id}:chunks' WHERE entity = 'document'
      UNION ALL SELECT 'user:docs:{id}' WHERE entity = 'user'
      UNION ALL SELECT 'query:*{id}*' UNION ALL SELECT 'search:*{id}*') usual(template)
     WHERE NOT EXISTS (SELECT FROM mapped)
  ), named AS (
    SELECT DISTINCT CASE WHEN is_tag THEN 'tag' WHEN apex.is_glob(template) THEN 'pattern' ELSE 'key' END AS kind,
           replace(template, format('{%s}', column_name), CASE WHEN apex.is_glob(template) THEN apex.escape_glob(id) ELSE id END) AS name
      FROM templates)
  SELECT jsonb_build_object('keys', coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE kind = 'key'), '[]'),
                            'patterns', coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE kind = 'pattern'), '[]'),
                            'tags', coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE kind = 'tag'), '[]'))
    FROM named;
END;
COMMENT ON FUNCTION apex.invalidation_of(text, text, text) IS 'The keys and patterns that a change of this row would invalidate, as far as its key tells them';

CREATE FUNCTION apex.cache_tables(OUT pipeline text, OUT relation regclass) RETURNS SETOF record
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY SELECT DISTINCT ON (m.pipeline) m.pipeline, m.relation FROM apex.mapping m
    WHERE m.active AND jsonb_typeof(m.spec -> 'cache') = 'object' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = m.relation)
    ORDER BY m.pipeline, m.id;
  IF NOT FOUND THEN
    PERFORM apex.refuse('55000', 'no attached table has a cache', 'The sidecar of a pipeline without one has no Redis.',
                        'Attach a table with cache => apex.cache(...).');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.cache_tables() IS 'One table with a cache of each pipeline that has any';

CREATE FUNCTION apex.invalidate(event text, id text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  entity CONSTANT text := regexp_replace(event, '_(updated|deleted)$', '');
  cache record;
BEGIN
  IF num_nulls(event, id) > 0 OR id = '' THEN
    PERFORM apex.refuse('22004', 'event and id have to be given', format('event is %L, id is %L.', event, id), 'Name the row that has changed.');
  END IF;
  PERFORM apex.check_name(event, 'cache event', '^$|[^A-Za-z0-9_.-]', 'Use letters, digits, ".", "_" and "-".');
  FOR cache IN SELECT t.* FROM apex.cache_tables() t LOOP
    PERFORM apex.capture_invalidation(cache.relation, jsonb_build_array(NULL, event, id),
      apex.invalidation_of(cache.pipeline, entity, id) || jsonb_build_object('event', event, 'document_id', id));
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.invalidate(text, text) IS
  'Invalidates the cache as a change of a row would, once the transaction commits: SELECT apex.invalidate(''document_updated'', ''7''). event is <entity>_updated, <entity>_deleted or any other name, which is announced with the id on the channel. The keys and patterns are those of the attached tables of this entity, as far as the key alone fills them in, or else the usual ones of the entity. Errors: 55000 no attached table has a cache, 22004 NULL, 42602 a name that cannot be one.';

CREATE FUNCTION apex.invalidate_user(id text) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT apex.invalidate('user_updated', id);
END;
COMMENT ON FUNCTION apex.invalidate_user(text) IS 'apex.invalidate(''user_updated'', id): what is kept of this user';

CREATE FUNCTION apex.invalidate_query_cache(pattern text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  cache record;
BEGIN
  IF pattern IS NULL OR translate(pattern, '*?', '') = '' THEN
    PERFORM apex.refuse('22023', 'the pattern would match every key', format('It is %L.', pattern), 'Name what the keys begin with: query:*.');
  END IF;
  FOR cache IN SELECT t.* FROM apex.cache_tables() t LOOP
    PERFORM apex.capture_invalidation(cache.relation, jsonb_build_array(NULL, pattern), jsonb_build_object(
      'keys', CASE WHEN apex.is_glob(pattern) THEN '[]' ELSE jsonb_build_array(pattern) END,
      'patterns', CASE WHEN apex.is_glob(pattern) THEN jsonb_build_array(pattern) ELSE '[]' END));
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.invalidate_query_cache(text) IS
  'Deletes every key of the cache that matches a pattern with *, ? and [...], once the transaction commits: SELECT apex.invalidate_query_cache(''query:*''). One that would match every key is refused. Errors: 55000 no attached table has a cache, 22023 such a pattern.';

REVOKE ALL ON FUNCTION
  apex.capture_invalidation(regclass, jsonb, jsonb), apex.escape_glob(text), apex.is_glob(text), apex.invalidation_of(text, text, text),
  apex.cache_tables(), apex.invalidate(text, text), apex.invalidate_user(text), apex.invalidate_query_cache(text)
FROM PUBLIC;
