-- What a table is mapped to, and the builders that write a mapping down.

CREATE SEQUENCE apex.mapping_id AS int;
COMMENT ON SEQUENCE apex.mapping_id IS 'Identifiers of apex.mapping, which outbox rows name';

-- apex.capture() reads this table by column position: a new column goes to the end.
CREATE TABLE apex.mapping (
  id int PRIMARY KEY DEFAULT nextval('apex.mapping_id'),
  relation regclass NOT NULL,
  relation_oid oid NOT NULL,
  pipeline text NOT NULL,
  active boolean NOT NULL DEFAULT true,
  on_failure text NOT NULL,
  handler text,
  spec jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  aggregate regclass
);
CREATE UNIQUE INDEX mapping_active ON apex.mapping (relation) WHERE active;
COMMENT ON TABLE apex.mapping IS 'How attached tables are mapped. A row never changes what it maps: events name the one they were captured under.';
COMMENT ON COLUMN apex.mapping.relation IS 'The attached table; of a partitioned table the parent';
COMMENT ON COLUMN apex.mapping.relation_oid IS 'Its oid, as outbox rows name it';
COMMENT ON COLUMN apex.mapping.pipeline IS 'The pipeline that carries its events';
COMMENT ON COLUMN apex.mapping.active IS 'False once the table is detached';
COMMENT ON COLUMN apex.mapping.on_failure IS 'What happens to a saga that failed for good and was compensated: park, revert or call';
COMMENT ON COLUMN apex.mapping.handler IS 'The function of on_failure call, with its schema and argument types. No regprocedure, which pg_upgrade would refuse';
COMMENT ON COLUMN apex.mapping.spec IS 'The mapping with everything resolved when the table was attached';
COMMENT ON COLUMN apex.mapping.aggregate IS 'The table whose row is the aggregate; NULL: a row is its own';

-- A dump names tables, and a restore gives them other oids and columns other numbers. A column is found by the name that
-- apex.follow_renames has noted, or else by that of apex.attach; the events of one that is not found say so.
CREATE FUNCTION apex.adopt_mapping() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Stands for a column that is not there: capture reports it by its name.
  missing CONSTANT int := 0;
  part text;
  columns jsonb;
BEGIN
  IF NEW.relation::oid = NEW.relation_oid THEN
    RETURN NEW;
  END IF;
  NEW.relation_oid := NEW.relation::oid;
  FOREACH part IN ARRAY ARRAY['key', 'columns'] LOOP
    SELECT jsonb_agg(c || jsonb_build_object('attnum', coalesce(a.attnum, missing)) ORDER BY place) INTO columns
      FROM jsonb_array_elements(NEW.spec -> part) WITH ORDINALITY AS every(c, place)
      LEFT JOIN pg_attribute a ON a.attrelid = NEW.relation AND a.attname = coalesce(c ->> 'renamed_to', c ->> 'column') AND NOT a.attisdropped;
    NEW.spec := jsonb_set(NEW.spec, ARRAY[part], columns);
  END LOOP;
  FOREACH part IN ARRAY ARRAY['embedding', 'aggregate'] LOOP
    CONTINUE WHEN jsonb_typeof(NEW.spec -> part) IS DISTINCT FROM 'object';
    NEW.spec := jsonb_set(NEW.spec, ARRAY[part, 'attnum'], to_jsonb(coalesce(
      (SELECT a.attnum::int FROM pg_attribute a
        WHERE a.attrelid = NEW.relation AND NOT a.attisdropped
          AND a.attname = coalesce(NEW.spec -> part ->> 'renamed_to', NEW.spec -> part ->> 'column')), missing)));
  END LOOP;
  IF NEW.aggregate IS NOT NULL THEN
    NEW.spec := jsonb_set(NEW.spec, '{aggregate,relation}', to_jsonb(NEW.aggregate::oid::bigint));
  END IF;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION apex.adopt_mapping() IS 'Writes the oids and column numbers of a restored mapping anew';
REVOKE ALL ON FUNCTION apex.adopt_mapping() FROM PUBLIC;

CREATE TRIGGER adopt_mapping BEFORE INSERT ON apex.mapping
  FOR EACH ROW EXECUTE FUNCTION apex.adopt_mapping();
ALTER TABLE apex.mapping ENABLE ALWAYS TRIGGER adopt_mapping;

-- A mapping whose table was dropped would come back as a number that may be some other table's.
SELECT pg_catalog.pg_extension_config_dump('apex.mapping', 'WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class)');
SELECT pg_catalog.pg_extension_config_dump('apex.mapping_id', '');

-- ---- Builders. They only write down what was said; apex.attach judges it, since it knows the table. ----

CREATE FUNCTION apex.relation(type text, via text) RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_strip_nulls(jsonb_build_object('type', type, 'via', via));
END;
COMMENT ON FUNCTION apex.relation(text, text) IS
  'For apex.graph(relations): a relationship of this type from the row''s node to the node of the row that the foreign key on column via references. A foreign key over several columns is named by any of them.';

CREATE FUNCTION apex.graph(label text, properties text[] DEFAULT '{}', relations jsonb[] DEFAULT '{}') RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_strip_nulls(jsonb_build_object('kind', 'node', 'label', label, 'properties', to_jsonb(properties),
                                              'relations', to_jsonb(relations)));
END;
COMMENT ON FUNCTION apex.graph(text, text[], jsonb[]) IS
  'For apex.attach(graph): each row is a node with this label, its key columns and these columns as properties, and the relations that apex.relation describes.';

CREATE FUNCTION apex.edge(type text, from_column text, to_column text, properties text[] DEFAULT '{}') RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_strip_nulls(jsonb_build_object('kind', 'edge', 'type', type, 'from_column', from_column,
                                              'to_column', to_column, 'properties', to_jsonb(properties)));
END;
COMMENT ON FUNCTION apex.edge(text, text, text, text[]) IS
  'For apex.attach(graph) of a join table: each row is a relationship of this type between the nodes of the rows that its two foreign keys reference, with its key columns and these columns as properties.';

CREATE FUNCTION apex.vector(collection text, embedding text, dimensions int DEFAULT NULL, distance text DEFAULT 'cosine',
                            payload text[] DEFAULT '{}', name text DEFAULT NULL) RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_strip_nulls(jsonb_build_object('collection', collection, 'embedding', embedding, 'dimensions', dimensions,
                                              'distance', distance, 'payload', to_jsonb(payload), 'name', name));
END;
COMMENT ON FUNCTION apex.vector(text, text, int, text, text[], text) IS
  'For apex.attach(vector): each row whose embedding column is not NULL is a point of this collection. The column is real[], double precision[] or pgvector''s vector; dimensions may be left out for vector(n). Distance is cosine, dot, euclid or manhattan. Payload columns go with the key columns. name: of the vector in the collection (default: the unnamed one).';

CREATE FUNCTION apex.cache(entity text, mode text DEFAULT 'invalidate', entry text DEFAULT NULL, ttl interval DEFAULT NULL,
                           invalidate text[] DEFAULT NULL, events text[] DEFAULT NULL, columns text[] DEFAULT NULL,
                           ttl_column text DEFAULT NULL, tags text[] DEFAULT NULL)
  RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres
BEGIN ATOMIC
  SELECT jsonb_strip_nulls(jsonb_build_object('entity', entity, 'mode', mode, 'entry', entry, 'ttl', ttl::text,
                                              'invalidate', to_jsonb(invalidate), 'events', to_jsonb(events),
                                              'columns', to_jsonb(columns), 'ttl_column', ttl_column, 'tags', to_jsonb(tags)));
END;
COMMENT ON FUNCTION apex.cache(text, text, text, interval, text[], text[], text[], text, text[]) IS
  'For apex.attach(cache). Mode invalidate deletes the row''s entry on every change, write sets it to the row as JSON, for ttl (at least one second; NULL: no expiry). entry and invalidate are templates with {column}; one of invalidate with *, ? or [ outside braces is a pattern. entry defaults to doc:{id} for entity document and <entity>:{key} for others, empty: no entry. invalidate defaults to the keys and queries that name the row. events (default: the entity) are announced as <event>_updated and <event>_deleted. columns: what the JSON holds (default: all mapped columns; of a table mapped to nothing else all of its columns). ttl_column: a column that says for each row how long its entry lives, in seconds, or until when, as a timestamptz; where it is NULL ttl holds. tags: templates of the tags whose query results vanish with every change of the row.';
