\echo Use "CREATE EXTENSION apex_saga" to load this file. \quit
-- Names in this script mean PostgreSQL's own, whatever somebody has put into the schema that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Everything that is not a uuid7 function lives in this schema. Access is granted object by object.
CREATE SCHEMA apex;
COMMENT ON SCHEMA apex IS 'Apex Saga: attaching tables, the outbox, and what the sidecar calls';
GRANT USAGE ON SCHEMA apex TO PUBLIC;
-- UUID version 7 (RFC 9562), in the schema the extension is created in.

CREATE FUNCTION @extschema@.uuid7() RETURNS uuid
  LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7';
COMMENT ON FUNCTION @extschema@.uuid7() IS
  'New version 7 UUID (RFC 9562, 5.7): 48 bits of Unix milliseconds, 12 bits of the fraction of the millisecond (6.2, method 3), 62 bits from a secure random source. Strictly increasing within a session, also when the clock steps back. Error: the random source failed.';

CREATE FUNCTION @extschema@.uuid7(at timestamptz) RETURNS uuid
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7_at';
COMMENT ON FUNCTION @extschema@.uuid7(timestamptz) IS
  'New version 7 UUID (RFC 9562, 5.7) of the given time, to the microsecond, with 62 random bits; two of one time are in no order. Error 22008 for infinity, before 1970-01-01 and after 10889-08-02 05:31:50.655 UTC.';

CREATE FUNCTION @extschema@.uuid7_batch(n integer) RETURNS SETOF uuid
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7_batch';
COMMENT ON FUNCTION @extschema@.uuid7_batch(integer) IS
  'n new version 7 UUIDs, strictly increasing, for one reading of the clock (RFC 9562, 6.2, method 2). Error 22023 when n is negative.';

CREATE FUNCTION @extschema@.generate_uuid7() RETURNS uuid
  LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7';
COMMENT ON FUNCTION @extschema@.generate_uuid7() IS 'Another name of uuid7().';

CREATE FUNCTION @extschema@.generate_id() RETURNS uuid
  LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7';
COMMENT ON FUNCTION @extschema@.generate_id() IS 'Another name of uuid7().';

CREATE FUNCTION @extschema@.uuid7_lower_bound(at timestamptz) RETURNS uuid
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7_lower_bound';
COMMENT ON FUNCTION @extschema@.uuid7_lower_bound(timestamptz) IS
  'Smallest version 7 UUID of the millisecond that holds the given time. Never an error: before 1970 the smallest of all, after 10889 the max UUID (RFC 9562, 5.10), which no version 7 UUID reaches.';

CREATE FUNCTION @extschema@.uuid7_upper_bound(at timestamptz) RETURNS uuid
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7_upper_bound';
COMMENT ON FUNCTION @extschema@.uuid7_upper_bound(timestamptz) IS
  'Greatest version 7 UUID of the millisecond that holds the given time. Never an error: after 10889 the greatest of all, before 1970 the nil UUID (RFC 9562, 5.9), which every version 7 UUID exceeds.';

CREATE FUNCTION @extschema@.uuid_version(id uuid) RETURNS integer
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid_version';
COMMENT ON FUNCTION @extschema@.uuid_version(uuid) IS
  'Version of a UUID of the variant of RFC 9562 (4.1, 4.2): 1 to 8 in practice. NULL for other variants, the nil and the max UUID among them.';

CREATE FUNCTION @extschema@.uuid7_to_timestamp(id uuid) RETURNS timestamptz
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7_to_timestamp';
COMMENT ON FUNCTION @extschema@.uuid7_to_timestamp(uuid) IS
  'Time of a version 7 UUID (RFC 9562, 5.7), exact to the millisecond. NULL for other versions.';

CREATE FUNCTION @extschema@.uuid7_to_timestamp(id text) RETURNS timestamptz
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7_to_timestamp_text';
COMMENT ON FUNCTION @extschema@.uuid7_to_timestamp(text) IS
  'Time of a version 7 UUID written as text (RFC 9562, 5.7), exact to the millisecond. NULL for other versions and for text that is no UUID; never an error.';

CREATE FUNCTION @extschema@.uuid7_to_ms(id uuid) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_uuid7_to_ms';
COMMENT ON FUNCTION @extschema@.uuid7_to_ms(uuid) IS
  'Milliseconds since 1970-01-01 00:00:00 UTC of a version 7 UUID (RFC 9562, 5.7). NULL for other versions.';

CREATE FUNCTION apex.is_uuid7_support(internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_is_uuid7_support';
COMMENT ON FUNCTION apex.is_uuid7_support(internal) IS
  'Tells the planner that nearly every key passes is_uuid7().';
REVOKE ALL ON FUNCTION apex.is_uuid7_support(internal) FROM PUBLIC;

CREATE FUNCTION @extschema@.is_uuid7(id uuid) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT apex.is_uuid7_support AS 'MODULE_PATHNAME', 'apex_is_uuid7';
COMMENT ON FUNCTION @extschema@.is_uuid7(uuid) IS 'Whether a UUID is of version 7 and the variant of RFC 9562 (4.1, 4.2).';

CREATE FUNCTION @extschema@.is_uuid7(id text) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_is_uuid7_text';
COMMENT ON FUNCTION @extschema@.is_uuid7(text) IS
  'Whether a text is a UUID, in any form that type uuid reads, of version 7 (RFC 9562, 5.7). False for any other text, never an error; NULL for NULL.';

CREATE FUNCTION @extschema@.is_valid_id(id text) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_is_valid_id';
COMMENT ON FUNCTION @extschema@.is_valid_id(text) IS
  'Whether a text is a UUID of version 4 or 7 (RFC 9562, 5.4 and 5.7). False for any other text, never an error; NULL for NULL.';

-- The planner puts this body in place of the call, so that it sees two conditions on an indexed id. That needs a body
-- bound when it is created, which no search_path can lead astray, and no SET clause. The last condition is for ids of other
-- versions in the same column: their bytes may fall between the bounds by chance.
CREATE FUNCTION @extschema@.uuid7_between(id uuid, "from" timestamptz, upto timestamptz) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN id >= @extschema@.uuid7_lower_bound("from") AND id <= @extschema@.uuid7_upper_bound(upto) AND @extschema@.is_uuid7(id);
COMMENT ON FUNCTION @extschema@.uuid7_between(uuid, timestamptz, timestamptz) IS
  'Whether a version 7 UUID is of a time between two others, both included, in whole milliseconds: the same as uuid7_to_timestamp(id) BETWEEN date_trunc(''milliseconds'', "from") AND upto, but answered by an index on id. False for other versions; never an error.';
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
  handler regprocedure,
  spec jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  aggregate regclass
);
CREATE UNIQUE INDEX mapping_active ON apex.mapping (relation) WHERE active;
COMMENT ON TABLE apex.mapping IS 'How attached tables are mapped. A row is never changed except to become inactive: events name the one they were captured under.';
COMMENT ON COLUMN apex.mapping.relation IS 'The attached table; of a partitioned table the parent';
COMMENT ON COLUMN apex.mapping.relation_oid IS 'Its oid, as outbox rows name it';
COMMENT ON COLUMN apex.mapping.pipeline IS 'The pipeline that carries its events';
COMMENT ON COLUMN apex.mapping.active IS 'False once the table is detached';
COMMENT ON COLUMN apex.mapping.on_failure IS 'What happens to a saga that failed for good and was compensated: park';
COMMENT ON COLUMN apex.mapping.handler IS 'NULL in version 1.0';
COMMENT ON COLUMN apex.mapping.spec IS 'The mapping with everything resolved when the table was attached';
COMMENT ON COLUMN apex.mapping.aggregate IS 'The table whose row is the aggregate; NULL: a row is its own';

-- A dump names tables, and a restore gives them other oids and columns other numbers. A column that was renamed between
-- attach and dump is not found again; its events then say so.
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
      LEFT JOIN pg_attribute a ON a.attrelid = NEW.relation AND a.attname = c ->> 'column' AND NOT a.attisdropped;
    NEW.spec := jsonb_set(NEW.spec, ARRAY[part], columns);
  END LOOP;
  FOREACH part IN ARRAY ARRAY['embedding', 'aggregate'] LOOP
    CONTINUE WHEN jsonb_typeof(NEW.spec -> part) IS DISTINCT FROM 'object';
    NEW.spec := jsonb_set(NEW.spec, ARRAY[part, 'attnum'], to_jsonb(coalesce(
      (SELECT a.attnum::int FROM pg_attribute a
        WHERE a.attrelid = NEW.relation AND a.attname = NEW.spec -> part ->> 'column' AND NOT a.attisdropped), missing)));
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
                            payload text[] DEFAULT '{}') RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_strip_nulls(jsonb_build_object('collection', collection, 'embedding', embedding, 'dimensions', dimensions,
                                              'distance', distance, 'payload', to_jsonb(payload)));
END;
COMMENT ON FUNCTION apex.vector(text, text, int, text, text[]) IS
  'For apex.attach(vector): each row whose embedding column is not NULL is a point of this collection. The column is real[], double precision[] or pgvector''s vector; dimensions may be left out for vector(n). Distance is cosine, dot, euclid or manhattan. Payload columns go with the key columns.';

CREATE FUNCTION apex.cache(entity text, mode text DEFAULT 'invalidate', entry text DEFAULT NULL, ttl interval DEFAULT NULL,
                           invalidate text[] DEFAULT NULL, events text[] DEFAULT NULL, columns text[] DEFAULT NULL)
  RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres
BEGIN ATOMIC
  SELECT jsonb_strip_nulls(jsonb_build_object('entity', entity, 'mode', mode, 'entry', entry, 'ttl', ttl::text,
                                              'invalidate', to_jsonb(invalidate), 'events', to_jsonb(events),
                                              'columns', to_jsonb(columns)));
END;
COMMENT ON FUNCTION apex.cache(text, text, text, interval, text[], text[], text[]) IS
  'For apex.attach(cache). Mode invalidate deletes the row''s entry on every change, write sets it to the row as JSON, for ttl (at least one second; NULL: no expiry). entry and invalidate are templates with {column}; one of invalidate with *, ? or [ outside braces is a pattern. entry defaults to doc:{id} for entity document and <entity>:{key} for others, empty: no entry. invalidate defaults to the keys and queries that name the row. events (default: the entity) are announced as <event>_updated and <event>_deleted. columns: what the JSON holds (default: all mapped columns; of a table mapped to nothing else all of its columns).';
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

CREATE FUNCTION apex.check_table(relation regclass) RETURNS void
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  class pg_class;
BEGIN
  SELECT * INTO class FROM pg_class WHERE oid = relation;
  IF NOT FOUND THEN
    PERFORM apex.refuse('42P01', format('relation %s does not exist', relation), 'Nothing has this oid.', 'Name a table.');
  ELSIF class.relkind NOT IN ('r', 'p') THEN
    PERFORM apex.refuse('42809', format('%s is not a table', relation),
                        'Only ordinary and partitioned tables have the row triggers that capture needs.',
                        'Attach the tables behind it.');
  ELSIF class.relpersistence = 't' THEN
    PERFORM apex.refuse('0A000', format('temporary table %s cannot be attached', relation),
                        'Its rows end with the session, before they could be read again for a compensation.', 'Use an ordinary table.');
  ELSIF class.relpersistence = 'u' THEN
    PERFORM apex.refuse('0A000', format('unlogged table %s cannot be attached', relation),
                        'A crash empties it, and no event would tell the stores.',
                        format('ALTER TABLE %s SET LOGGED.', relation));
  ELSIF class.relispartition THEN
    PERFORM apex.refuse('0A000', format('partition %s cannot be attached alone', relation), 'Its rows are the partitioned table''s.',
                        format('Attach the partitioned table: %s.', (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = relation)));
  ELSIF class.relnamespace IN ('pg_catalog'::regnamespace, 'apex'::regnamespace) THEN
    PERFORM apex.refuse('42501', format('%s belongs to the system and cannot be attached', relation), 'Its schema is pg_catalog or apex.', 'Attach tables of your own.');
  ELSIF class.relkind = 'r' AND class.relam <> (SELECT oid FROM pg_am WHERE amname = 'heap') THEN
    PERFORM apex.refuse('0A000', format('table %s is not stored as a heap', relation),
                        'The order of events inside a transaction is read from heap tuples.', 'ALTER TABLE ... SET ACCESS METHOD heap.');
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
  attribute pg_attribute;
BEGIN
  PERFORM apex.check_members(vector, 'vector', ARRAY['collection', 'embedding', 'dimensions', 'distance', 'payload']);
  collection := apex.text_member(vector, 'collection', 'vector');
  PERFORM apex.check_name(collection, 'collection', '[<>:"/\\|?*]', 'Qdrant takes no < > : " / \ | ? * in the name of a collection.');
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
                            'dimensions', apex.vector_dimensions(relation, vector, attribute), 'payload', to_jsonb(payload));
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
  invalidate text[];
  events text[];
BEGIN
  IF cache IS NULL THEN
    RETURN NULL;
  END IF;
  PERFORM apex.check_members(cache, 'cache', ARRAY['entity', 'mode', 'entry', 'ttl', 'invalidate', 'events', 'columns']);
  entity := apex.text_member(cache, 'entity', 'cache');
  PERFORM apex.check_name(entity, 'cache entity', name_pattern, name_hint);
  IF mode NOT IN ('invalidate', 'write') THEN
    PERFORM apex.refuse('22023', format('"%s" is no cache mode', mode), 'There are: invalidate, write.', 'Choose one of them.');
  END IF;
  entry := coalesce(cache ->> 'entry', CASE WHEN entity = 'document' THEN 'doc' ELSE entity END
             || (SELECT string_agg(format(':{%s}', k ->> 'column'), '' ORDER BY place)
                   FROM jsonb_array_elements(key) WITH ORDINALITY AS every(k, place)));
  ttl := apex.ttl_seconds(cache);
  IF mode = 'write' AND entry = '' THEN
    PERFORM apex.refuse('22023', 'cache mode write needs an entry to write', 'entry is empty.', 'Leave entry out, or use mode invalidate.');
  ELSIF ttl IS NOT NULL AND mode <> 'write' THEN
    PERFORM apex.refuse('22023', 'ttl is given, but no entries are written', 'Only mode write makes entries that can expire.', 'Use mode => ''write'', or leave ttl out.');
  END IF;
  invalidate := coalesce(apex.text_list(cache, 'invalidate', 'cache'), apex.default_invalidate(relation, entity, key, aggregate));
  events := coalesce(apex.text_list(cache, 'events', 'cache'), ARRAY[entity]);
  PERFORM apex.check_template(relation, t) FROM unnest(invalidate || entry) t;
  IF regexp_replace(entry, '\{[^{}]+\}', '', 'g') ~ '[*?[]' THEN
    PERFORM apex.refuse('22023', format('cache entry "%s" is a pattern', entry), 'An entry is one key.', 'Leave *, ? and [ out of entry; invalidate takes patterns.');
  END IF;
  PERFORM apex.check_name(e, 'cache event', name_pattern, name_hint) FROM unnest(events) e;
  PERFORM apex.column_spec(relation, c, 'cache') FROM unnest(apex.text_list(cache, 'columns', 'cache')) c;
  RETURN jsonb_build_object('entity', entity, 'mode', mode, 'entry', entry, 'ttl_seconds', ttl,
                            'invalidate', to_jsonb(invalidate), 'events', to_jsonb(events));
END
$$;
COMMENT ON FUNCTION apex.cache_spec(regclass, jsonb, jsonb, jsonb) IS 'The cache part as the spec names it, but for its columns';
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
    UNION SELECT apex.template_columns(spec #>> '{cache,entry}')
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

CREATE FUNCTION apex.resolve(relation regclass, graph jsonb, vector jsonb, cache jsonb, aggregate name, pipeline text) RETURNS jsonb
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
  RETURN spec;
END
$$;
COMMENT ON FUNCTION apex.resolve(regclass, jsonb, jsonb, jsonb, name, text) IS 'The spec of a mapping';

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
  IF on_failure IN ('revert', 'call') THEN
    PERFORM apex.refuse('0A000', format('on_failure => ''%s'' is not supported in version 1.0', on_failure), 'A saga that failed for good is compensated and parked.',
                        'Use on_failure => ''park'' and look at apex.failed_sagas.');
  ELSIF on_failure IS DISTINCT FROM 'park' THEN
    PERFORM apex.refuse('22023', format('on_failure cannot be %s', coalesce(quote_literal(on_failure), 'NULL')), 'There is: park.', 'Leave it out.');
  ELSIF handler IS NOT NULL THEN
    PERFORM apex.refuse('0A000', 'handler is not supported in version 1.0', 'It belongs to on_failure => ''call''.', 'Leave it out.');
  ELSIF backfill IS DISTINCT FROM false THEN
    PERFORM apex.refuse('0A000', 'backfill => true is not supported in version 1.0', 'Rows that are there already are not sent.',
                        'Attach before loading, or call apex.refresh for each row.');
  ELSIF coalesce(btrim(pipeline), '') = '' OR length(pipeline) > 63 THEN
    PERFORM apex.refuse('22023', format('pipeline cannot be %s', coalesce(quote_literal(pipeline), 'NULL')), 'It is a name of 1 to 63 characters.', 'Leave it out for the pipeline "default".');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_options(text, regprocedure, boolean, text) IS 'Refuses what version 1.0 cannot do';

CREATE FUNCTION apex.create_triggers(relation regclass) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part regclass;
BEGIN
  EXECUTE format('CREATE TRIGGER apex_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION apex.capture()', relation);
  -- ALWAYS: what logical replication applies here is a committed change like any other.
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER apex_capture', relation);
  FOR part IN SELECT relation UNION SELECT relid FROM pg_partition_tree(relation) LOOP
    EXECUTE format('CREATE TRIGGER apex_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION apex.refuse_truncate()', part);
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.create_triggers(regclass) IS 'Creates apex_capture and apex_truncate, the latter on each partition, too';

CREATE FUNCTION apex.attach_table(relation regclass, graph jsonb, vector jsonb, cache jsonb, aggregate name, on_failure text,
                                  handler regprocedure, backfill boolean, pipeline text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  count_rows CONSTANT text := format('SELECT count(*) FROM %s', relation);
  spec jsonb;
  rows_there bigint;
BEGIN
  PERFORM apex.check_options(on_failure, handler, backfill, pipeline);
  PERFORM apex.check_table(relation);
  -- One attach at a time, so that no two take the same label.
  LOCK TABLE apex.mapping IN SHARE ROW EXCLUSIVE MODE;
  UPDATE apex.mapping m SET active = false WHERE m.active AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = m.relation);
  IF EXISTS (SELECT FROM apex.mapping m WHERE m.relation = attach_table.relation AND m.active) THEN
    PERFORM apex.refuse('42710', format('table %s is already attached', relation), 'A table has one mapping at a time.',
                        'To change its mapping, apex.detach it and attach it again.');
  END IF;
  spec := apex.resolve(relation, graph, vector, cache, aggregate, pipeline);
  PERFORM apex.check_clash(relation, spec);

  -- Counted before the trigger's lock makes writers wait.
  EXECUTE count_rows INTO rows_there;
  INSERT INTO apex.mapping (relation, relation_oid, pipeline, on_failure, spec, aggregate)
    VALUES (relation, relation::oid, pipeline, on_failure, spec, (spec #>> '{aggregate,relation}')::oid::regclass);
  INSERT INTO apex.pipeline (name) SELECT pipeline
    WHERE NOT EXISTS (SELECT FROM apex.pipeline p WHERE p.name = attach_table.pipeline) ON CONFLICT DO NOTHING;
  PERFORM apex.create_triggers(relation);
  -- The lock may have waited for the first writers of an empty table.
  IF rows_there = 0 THEN
    EXECUTE count_rows INTO rows_there;
  END IF;
  IF rows_there > 0 THEN
    RAISE NOTICE 'rows in table % before it was attached: %', relation, rows_there
      USING DETAIL = 'They are sent when they next change.', HINT = 'Call apex.refresh for single rows.';
  END IF;
END
$$;
COMMENT ON FUNCTION apex.attach_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean, text) IS
  'What apex.attach does once it has checked that the caller owns the table';

CREATE FUNCTION apex.detach_table(relation regclass, purge boolean) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part regclass;
  label jsonb;
  dependent regclass;
BEGIN
  IF purge IS DISTINCT FROM false THEN
    PERFORM apex.refuse('0A000', 'purge => true is not supported in version 1.0', 'What the stores hold of the table stays there.',
                        'DELETE the rows and wait until that has arrived, then detach.');
  END IF;
  LOCK TABLE apex.mapping IN SHARE ROW EXCLUSIVE MODE;
  SELECT m.spec #> '{graph,label}' INTO label FROM apex.mapping m WHERE m.relation = detach_table.relation AND m.active;
  IF NOT FOUND THEN
    PERFORM apex.refuse('55000', format('table %s is not attached', relation), 'It has no active mapping in apex.mapping.', 'Nothing needs to be done.');
  END IF;
  SELECT m.relation INTO dependent FROM apex.mapping m
   WHERE m.active AND m.relation <> detach_table.relation
     AND (m.aggregate = detach_table.relation
          OR m.spec #> '{graph,from,label}' = label OR m.spec #> '{graph,to,label}' = label
          OR m.spec #> '{graph,relations}' @> jsonb_build_array(jsonb_build_object('label', label)));
  IF FOUND THEN
    PERFORM apex.refuse('2BP01', format('cannot detach table %s because table %s refers to it', relation, dependent),
                        'Its relationships or its aggregate would point at rows that no longer arrive.', format('Detach %s first.', dependent));
  END IF;
  UPDATE apex.mapping m SET active = false WHERE m.relation = detach_table.relation AND m.active;
  EXECUTE format('DROP TRIGGER IF EXISTS apex_capture ON %s', relation);
  FOR part IN SELECT relation UNION SELECT relid FROM pg_partition_tree(relation) LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS apex_truncate ON %s', part);
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.detach_table(regclass, boolean) IS 'What apex.detach does once it has checked that the caller owns the table';

CREATE FUNCTION apex.attach(relation regclass, graph jsonb DEFAULT NULL, vector jsonb DEFAULT NULL, cache jsonb DEFAULT NULL,
                            aggregate name DEFAULT NULL, on_failure text DEFAULT 'park', handler regprocedure DEFAULT NULL,
                            backfill boolean DEFAULT false, pipeline text DEFAULT 'default') RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_attach';
COMMENT ON FUNCTION apex.attach(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean, text) IS
  'Maps a table to Neo4j (apex.graph or apex.edge), Qdrant (apex.vector) and Redis (apex.cache) and captures its changes from the end of this transaction on. aggregate: a foreign key column to the attached table whose row this one belongs to; both are then ordered and compensated together. pipeline: tables joined by aggregate or relationship share one. The caller has to own the table. In version 1.0 on_failure is park and backfill is false. Errors: 42501 not the owner, 42809 no table, 0A000 not supported, 55000 no usable primary key or a referenced table not attached, 42703 unknown column, 42830 no foreign key, 42804 no embedding type, 42710 already attached or a name in use, 22023 any other bad value.';

CREATE FUNCTION apex.detach(relation regclass, purge boolean DEFAULT false) RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_detach';
COMMENT ON FUNCTION apex.detach(regclass, boolean) IS
  'Stops capturing a table''s changes. Events captured so far are still delivered, what the stores hold stays. The caller has to own the table. Errors: 42501 not the owner, 55000 not attached, 2BP01 another attached table refers to it, 0A000 purge.';

REVOKE ALL ON FUNCTION
  apex.column_kind(oid), apex.holds_embedding(oid), apex.refuse(text, text, text, text),
  apex.check_members(jsonb, text, text[]), apex.text_member(jsonb, text, text), apex.text_list(jsonb, text, text),
  apex.check_name(text, text, text, text), apex.check_table(regclass), apex.column_spec(regclass, text, text),
  apex.key_spec(regclass), apex.foreign_key(regclass, text, text), apex.referenced_spec(pg_constraint, jsonb, text, text),
  apex.endpoint(regclass, text, jsonb, text, text), apex.aggregate_spec(regclass, text, jsonb, text),
  apex.relations_spec(regclass, jsonb, jsonb, text), apex.properties_spec(regclass, jsonb),
  apex.graph_spec(regclass, jsonb, jsonb, text), apex.vector_dimensions(regclass, jsonb, pg_attribute),
  apex.vector_spec(regclass, jsonb), apex.template_columns(text), apex.check_template(regclass, text),
  apex.default_invalidate(regclass, text, jsonb, jsonb), apex.ttl_seconds(jsonb), apex.cache_spec(regclass, jsonb, jsonb, jsonb),
  apex.image_columns(regclass, jsonb, text[]), apex.cached_columns(regclass, jsonb, jsonb),
  apex.resolve(regclass, jsonb, jsonb, jsonb, name, text), apex.claims(jsonb), apex.replaced_type(jsonb, jsonb),
  apex.check_clash(regclass, jsonb),
  apex.check_options(text, regprocedure, boolean, text), apex.create_triggers(regclass),
  apex.attach_table(regclass, jsonb, jsonb, jsonb, name, text, regprocedure, boolean, text),
  apex.detach_table(regclass, boolean)
FROM PUBLIC;
-- The outbox and the trigger that writes it.
--
-- Rows are appended by the trigger function alone, straight to the heap of the slot of the hour and its indexes, so that
-- no role needs a right to write here. They are never updated and never deleted one by one: apex.rotate() truncates a slot
-- that every reader has passed.

CREATE SEQUENCE apex.outbox_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE apex.outbox_seq IS
  'Versions of rows. Per row they rise in commit order, because they are drawn under the row''s lock; hence CACHE 1.';

CREATE TABLE apex.outbox (
  seq bigint NOT NULL,
  xid xid8 NOT NULL,
  command int NOT NULL,
  relation oid NOT NULL,
  mapping int NOT NULL,
  op "char" NOT NULL,
  key jsonb NOT NULL,
  aggregate_relation oid,
  aggregate_key jsonb,
  before jsonb,
  after jsonb,
  embedding bytea,
  old_embedding bytea,
  error text,
  traceparent text,
  captured_at timestamptz NOT NULL
);
COMMENT ON TABLE apex.outbox IS 'Committed changes of attached tables. Empty itself: the rows are in the slots that inherit from it.';
COMMENT ON COLUMN apex.outbox.seq IS 'Version, from apex.outbox_seq, drawn after the transaction id and under the row''s lock';
COMMENT ON COLUMN apex.outbox.xid IS 'The top-level transaction';
COMMENT ON COLUMN apex.outbox.command IS 'Command inside the transaction; a row''s events of one transaction are ordered by (command, seq)';
COMMENT ON COLUMN apex.outbox.relation IS 'The attached table; of a partitioned table the parent';
COMMENT ON COLUMN apex.outbox.mapping IS 'apex.mapping.id that the event was captured under';
COMMENT ON COLUMN apex.outbox.op IS 'I insert, U update, D delete, R refresh (a full image drawn later)';
COMMENT ON COLUMN apex.outbox.key IS 'Array of the primary key''s values in key order: integers as numbers, everything else as text';
COMMENT ON COLUMN apex.outbox.aggregate_relation IS 'Table of the aggregate''s row; NULL: the row is its own aggregate';
COMMENT ON COLUMN apex.outbox.aggregate_key IS 'Key of the aggregate''s row';
COMMENT ON COLUMN apex.outbox.before IS 'Mapped and key columns before the change, without the embedding; NULL for I and R';
COMMENT ON COLUMN apex.outbox.after IS 'Mapped and key columns after the change, without the embedding; NULL for D';
COMMENT ON COLUMN apex.outbox.embedding IS 'The embedding after the change, packed little-endian float4; NULL when the column is';
COMMENT ON COLUMN apex.outbox.old_embedding IS 'The embedding before the change where it differs';
COMMENT ON COLUMN apex.outbox.error IS 'Column and reason when a value could not be encoded: the event has only its key';
COMMENT ON COLUMN apex.outbox.traceparent IS 'W3C trace context, from the setting apex.traceparent';
COMMENT ON COLUMN apex.outbox.captured_at IS 'Wall clock at capture';

-- Vacuum would find nothing to do here but what rollbacks leave, and TRUNCATE takes that as well.
CREATE TABLE apex.outbox_0 () INHERITS (apex.outbox)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
CREATE TABLE apex.outbox_1 () INHERITS (apex.outbox)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
CREATE TABLE apex.outbox_2 () INHERITS (apex.outbox)
  WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
COMMENT ON TABLE apex.outbox_0 IS 'First of the three slots of the outbox that take turns';
COMMENT ON TABLE apex.outbox_1 IS 'Second of the three slots of the outbox that take turns';
COMMENT ON TABLE apex.outbox_2 IS 'Third of the three slots of the outbox that take turns';
CREATE INDEX outbox_0_seq ON apex.outbox_0 (seq);
CREATE INDEX outbox_1_seq ON apex.outbox_1 (seq);
CREATE INDEX outbox_2_seq ON apex.outbox_2 (seq);
-- With seq, so that a piece of a long transaction is read without sorting all of it.
CREATE INDEX outbox_0_xid ON apex.outbox_0 (xid, seq);
CREATE INDEX outbox_1_xid ON apex.outbox_1 (xid, seq);
CREATE INDEX outbox_2_xid ON apex.outbox_2 (xid, seq);
-- The parent is empty, but the planner merges its slots by index only when all of them have it.
CREATE INDEX outbox_by_seq ON apex.outbox (seq);
CREATE INDEX outbox_by_xid ON apex.outbox (xid, seq);

CREATE FUNCTION apex.capture() RETURNS trigger
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_capture';
COMMENT ON FUNCTION apex.capture() IS
  'Row trigger of attached tables, created by apex.attach. It finds its mapping by the table it fires on, never by arguments; on a table without one it warns once a session and captures nothing.';
REVOKE ALL ON FUNCTION apex.capture() FROM PUBLIC;

CREATE FUNCTION apex.refuse_truncate() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'cannot truncate attached table %', format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME)
    USING ERRCODE = 'feature_not_supported',
          DETAIL = 'TRUNCATE tells no trigger which rows it removed, and version 1.0 does not carry it to the stores.',
          HINT = 'Use DELETE, or apex.detach the table first.';
END
$$;
COMMENT ON FUNCTION apex.refuse_truncate() IS 'Statement trigger of attached tables: TRUNCATE is an error (0A000)';
REVOKE ALL ON FUNCTION apex.refuse_truncate() FROM PUBLIC;

CREATE FUNCTION apex.outbox_slot() RETURNS int
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_outbox_slot';
COMMENT ON FUNCTION apex.outbox_slot() IS 'The slot of the outbox that events are written to now: 0, 1 or 2';
REVOKE ALL ON FUNCTION apex.outbox_slot() FROM PUBLIC;

-- Only the slot that was written before the current one is looked at: nobody writes to it any more, nor will before the next
-- one has had its turn, so that its lock makes no writer wait. A transaction that still holds rows there keeps it.
CREATE FUNCTION apex.rotate() RETURNS int[]
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  slot int := (apex.outbox_slot() + 2) % 3;
  slot_table regclass := format('apex.outbox_%s', slot)::regclass;
  cursor_of record;
  undelivered boolean;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'apex.rotate() needs a READ COMMITTED transaction'
      USING ERRCODE = 'invalid_transaction_state',
            DETAIL = 'It proves under a lock that a slot is drained, with a snapshot taken after the lock.',
            HINT = 'Call it in a transaction of its own.';
  END IF;
  IF pg_relation_size(slot_table) = 0 THEN
    RETURN '{}';
  END IF;
  BEGIN
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', slot_table);
  EXCEPTION WHEN lock_not_available THEN
    RETURN '{}';
  END;
  FOR cursor_of IN SELECT p.name, p.from_snapshot FROM apex.pipeline p LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s o WHERE o.xid >= pg_snapshot_xmin($1) '
                   'AND NOT pg_visible_in_snapshot(o.xid, $1) '
                   'AND o.mapping IN (SELECT m.id FROM apex.mapping m WHERE m.pipeline = $2))', slot_table)
      INTO undelivered USING cursor_of.from_snapshot, cursor_of.name;
    IF undelivered THEN
      RETURN '{}';
    END IF;
  END LOOP;
  EXECUTE format('TRUNCATE ONLY %s', slot_table);
  RETURN ARRAY[slot];
END
$$;
COMMENT ON FUNCTION apex.rotate() IS
  'Empties the slot of the outbox before the current one if every pipeline''s cursor has passed it, and returns the slots it emptied. Never waits: a slot in use is left for the next call. To be called in a READ COMMITTED transaction of its own.';
REVOKE ALL ON FUNCTION apex.rotate() FROM PUBLIC;
-- Pipelines and failed sagas: all that the sidecar reads and writes besides the outbox itself.
--
-- The functions run as their owner, so the sidecar's role needs no right on the tables. Each names the epoch it believes
-- in and raises AX001 when that epoch no longer leads.

CREATE FUNCTION apex.next_xid() RETURNS xid8
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'apex_next_xid';
COMMENT ON FUNCTION apex.next_xid() IS 'The next transaction id that nobody has been given yet.';

-- Updated in place a few times a batch, hence the free space in its page.
CREATE TABLE apex.pipeline (
  name text PRIMARY KEY,
  epoch bigint NOT NULL DEFAULT 0,
  leader text,
  leader_pid int,
  leader_started timestamptz,
  heartbeat timestamptz NOT NULL DEFAULT '-infinity',
  system_identifier bigint NOT NULL,
  timeline int NOT NULL,
  from_snapshot pg_snapshot NOT NULL,
  from_ceiling xid8 NOT NULL,
  position bigint NOT NULL,
  to_snapshot pg_snapshot,
  to_ceiling xid8,
  to_position bigint,
  settled bigint NOT NULL DEFAULT 0,
  handed_out bigint NOT NULL DEFAULT 0,
  CONSTRAINT batch_is_whole CHECK (num_nulls(to_snapshot, to_ceiling, to_position) IN (0, 3))
) WITH (fillfactor = 10);
COMMENT ON TABLE apex.pipeline IS 'One row a pipeline: who leads it and how far it has read the outbox';
COMMENT ON COLUMN apex.pipeline.leader_started IS 'Start of the leader''s session, which tells it from a later one with the same process id';
COMMENT ON COLUMN apex.pipeline.from_snapshot IS 'Everything this snapshot sees has been delivered';
COMMENT ON COLUMN apex.pipeline.from_ceiling IS 'The next unassigned transaction id, read after from_snapshot and position';
COMMENT ON COLUMN apex.pipeline.position IS 'The outbox sequence between from_snapshot and from_ceiling: no delivered event is above it, no event of a transaction from from_ceiling on is at or below it';
COMMENT ON COLUMN apex.pipeline.to_snapshot IS 'What this snapshot sees and from_snapshot does not is the open batch; NULL: none is open';
COMMENT ON COLUMN apex.pipeline.settled IS 'Everything of the open batch up to this seq is settled';
COMMENT ON COLUMN apex.pipeline.handed_out IS 'End of the last piece of the open batch that was handed out for writing';

CREATE TABLE apex.saga (
  id uuid PRIMARY KEY,
  pipeline text NOT NULL,
  state text NOT NULL DEFAULT 'compensating' CHECK (state IN ('compensating', 'parked', 'compensation_failed')),
  relation regclass NOT NULL,
  key jsonb NOT NULL,
  xids xid8[] NOT NULL,
  steps text[] NOT NULL,
  failed_step text NOT NULL,
  error_type text NOT NULL,
  native_code text NOT NULL,
  error text NOT NULL,
  traceparent text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  settled_at timestamptz
);
COMMENT ON TABLE apex.saga IS 'Sagas that failed for good: being compensated, parked, or with a compensation that failed';
COMMENT ON COLUMN apex.saga.steps IS 'The steps to undo, in the order they ran';

-- A row is parked in one saga at a time: the newest that failed.
CREATE TABLE apex.saga_row (
  saga uuid NOT NULL REFERENCES apex.saga ON DELETE CASCADE,
  relation regclass NOT NULL,
  key jsonb NOT NULL,
  mapping int NOT NULL,
  failed_seq bigint NOT NULL,
  accepted_seq bigint NOT NULL,
  accepted jsonb,
  accepted_embedding bytea,
  PRIMARY KEY (relation, key)
);
CREATE INDEX ON apex.saga_row (saga);
COMMENT ON TABLE apex.saga_row IS 'Rows of failed sagas with the image the stores had accepted before; NULL: the row was not there';

CREATE TABLE apex.saga_event (
  saga uuid NOT NULL REFERENCES apex.saga ON DELETE CASCADE,
  LIKE apex.outbox,
  PRIMARY KEY (seq)
);
CREATE INDEX ON apex.saga_event (saga);
COMMENT ON TABLE apex.saga_event IS 'Copies of the events of failed sagas; images are erased once the saga is parked';

-- A pipeline's row goes into a dump for its epoch, which the stores' fences remember, and its position, which their
-- versions do not exceed by much. The cursor itself means nothing elsewhere: start_cursor replaces it.
SELECT pg_catalog.pg_extension_config_dump('apex.pipeline', '');
-- A table that was dropped would come back as a number that may be some other table's.
SELECT pg_catalog.pg_extension_config_dump('apex.saga', 'WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class)');
SELECT pg_catalog.pg_extension_config_dump('apex.saga_row', $$WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class)
  AND saga IN (SELECT id FROM apex.saga WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class))$$);
SELECT pg_catalog.pg_extension_config_dump('apex.saga_event',
  'WHERE saga IN (SELECT id FROM apex.saga WHERE relation::oid IN (SELECT oid FROM pg_catalog.pg_class))');

-- ---- The cursor ----

CREATE FUNCTION apex.current_history(OUT system_identifier bigint, OUT timeline int)
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  -- The control file learns a new timeline only at its next checkpoint, the name of the WAL file at once. A standby writes
  -- no WAL, and nobody leads there.
  SELECT s.system_identifier,
         CASE WHEN NOT pg_is_in_recovery() THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END
    FROM pg_control_system() s;
END;
COMMENT ON FUNCTION apex.current_history() IS 'Which cluster this is and which timeline it writes';

CREATE FUNCTION apex.start_cursor() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  own xid8 := pg_current_xact_id();
  seen pg_snapshot := pg_current_snapshot();
  running xid8[];
BEGIN
  -- A transaction sees itself, but what it writes after this has still to be delivered once it commits.
  SELECT array_agg(xid ORDER BY xid) INTO running
    FROM (SELECT pg_snapshot_xip(seen) AS xid UNION SELECT own WHERE own < pg_snapshot_xmax(seen)) every;
  NEW.from_snapshot := format('%s:%s:%s', least(pg_snapshot_xmin(seen), own), pg_snapshot_xmax(seen),
                              array_to_string(running, ','));
  -- Only a dump brings a history along. The sequence of this database does not continue that one, so the row is marked
  -- as of none, and its position stays for the next leader to jump over.
  IF NEW.system_identifier IS NULL THEN
    SELECT h.system_identifier, h.timeline INTO NEW.system_identifier, NEW.timeline FROM apex.current_history() h;
    NEW.position := coalesce(pg_sequence_last_value('apex.outbox_seq'), 0);
  ELSE
    NEW.system_identifier := 0;
    NEW.position := greatest(NEW.position, NEW.to_position);
  END IF;
  NEW.to_snapshot := NULL;
  NEW.to_ceiling := NULL;
  NEW.to_position := NULL;
  NEW.settled := 0;
  NEW.handed_out := 0;
  NEW.from_ceiling := apex.next_xid();
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION apex.start_cursor() IS 'Gives a new pipeline a cursor before which everything committed so far lies, and nothing else';

CREATE TRIGGER start_cursor BEFORE INSERT ON apex.pipeline
  FOR EACH ROW EXECUTE FUNCTION apex.start_cursor();

-- ---- Leadership ----

-- A transaction that stays open anywhere keeps every version that this row has had since. The newest one stands last in the
-- index, so walking it backwards finds it at once, where a plain lookup would pass by all the dead ones.
CREATE FUNCTION apex.current_pipeline(pipeline text, epoch bigint) RETURNS apex.pipeline
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
  p apex.pipeline;
BEGIN
  SELECT * INTO p FROM apex.pipeline l WHERE l.name >= pipeline AND l.name <= pipeline ORDER BY l.name DESC LIMIT 1;
  IF p.epoch IS DISTINCT FROM epoch THEN
    RAISE EXCEPTION 'apex: this epoch no longer leads' USING ERRCODE = 'AX001';
  END IF;
  RETURN p;
END
$$;
COMMENT ON FUNCTION apex.current_pipeline(text, bigint) IS 'The row of a pipeline. Error AX001 when the epoch no longer leads.';

CREATE FUNCTION apex.lock_pipeline(pipeline text, epoch bigint) RETURNS tid
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
  p record;
BEGIN
  SELECT l.ctid AS place, l.epoch INTO p FROM apex.pipeline l
    WHERE l.name >= pipeline AND l.name <= pipeline ORDER BY l.name DESC LIMIT 1 FOR NO KEY UPDATE;
  IF p.epoch IS DISTINCT FROM epoch THEN
    RAISE EXCEPTION 'apex: this epoch no longer leads' USING ERRCODE = 'AX001';
  END IF;
  RETURN p.place;
END
$$;
COMMENT ON FUNCTION apex.lock_pipeline(text, bigint) IS
  'Locks the row of a pipeline and says where it is: valid as long as the lock is held. Error AX001 when the epoch no longer leads.';

CREATE FUNCTION apex.lead(pipeline text, leader text, lease_ms int,
                          OUT epoch bigint, OUT another_history boolean, OUT settled bigint, OUT handed_out bigint,
                          OUT system_identifier bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Above anything that the lost or the other history can have given out since.
  seq_jump CONSTANT bigint := 1::bigint << 40;
  epoch_jump CONSTANT bigint := 1000000;
  p apex.pipeline;
  history record;
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  INSERT INTO apex.pipeline (name) SELECT lead.pipeline
    WHERE NOT EXISTS (SELECT FROM apex.pipeline l WHERE l.name = lead.pipeline) ON CONFLICT DO NOTHING;
  SELECT * INTO p FROM apex.pipeline l WHERE l.name = lead.pipeline;
  IF p.leader <> lead.leader AND p.heartbeat > clock_timestamp() - lease_ms * interval '1 ms' THEN
    RETURN;
  END IF;

  -- Before the row is locked: the late leader may hold that lock.
  PERFORM pg_terminate_backend(a.pid) FROM pg_stat_activity a
    WHERE a.pid = p.leader_pid AND a.backend_start = p.leader_started AND a.pid <> pg_backend_pid();
  SELECT * INTO p FROM apex.pipeline l WHERE l.name = lead.pipeline AND l.epoch = p.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;  -- Somebody else was faster.
  END IF;

  SELECT * INTO history FROM apex.current_history();
  another_history := (p.system_identifier, p.timeline) IS DISTINCT FROM (history.system_identifier, history.timeline);
  IF another_history THEN
    PERFORM setval('apex.outbox_seq',
                   greatest(pg_sequence_last_value('apex.outbox_seq'), p.position, p.to_position) + seq_jump);
    p.epoch := p.epoch + epoch_jump;
  END IF;
  IF p.system_identifier <> history.system_identifier THEN
    -- The snapshots speak of another cluster's transactions: begin before everything that the outbox still holds. On
    -- another timeline of the same cluster they travelled in the same WAL as the outbox and stay true.
    p.from_snapshot := '1:1:';
    p.from_ceiling := '1';
    p.position := 0;
    p.to_snapshot := NULL;
    p.to_ceiling := NULL;
    p.to_position := NULL;
    p.settled := 0;
    p.handed_out := 0;
  END IF;

  epoch := p.epoch + 1;
  system_identifier := history.system_identifier;
  settled := p.settled;
  handed_out := CASE WHEN p.to_snapshot IS NOT NULL THEN p.handed_out END;
  UPDATE apex.pipeline l
     SET epoch = lead.epoch, leader = lead.leader, leader_pid = pg_backend_pid(), heartbeat = clock_timestamp(),
         leader_started = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
         system_identifier = history.system_identifier, timeline = history.timeline,
         from_snapshot = p.from_snapshot, from_ceiling = p.from_ceiling, position = p.position,
         to_snapshot = p.to_snapshot, to_ceiling = p.to_ceiling, to_position = p.to_position,
         settled = p.settled, handed_out = p.handed_out
   WHERE l.name = p.name;
END
$$;
COMMENT ON FUNCTION apex.lead(text, text, int) IS
  'Takes the lead of a pipeline and ends the old leader''s session. All NULL while the heartbeat of a leader of another name is younger than the lease. (settled, handed_out] is the window that the last leader may have written; handed_out NULL: no batch is open.';

CREATE FUNCTION apex.heartbeat(pipeline text, epoch bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  place tid;
BEGIN
  -- Losing one in a crash only makes the leader look late.
  PERFORM set_config('synchronous_commit', 'off', true);
  place := apex.lock_pipeline(pipeline, epoch);
  UPDATE apex.pipeline l SET heartbeat = clock_timestamp() WHERE l.ctid = place;
  RETURN true;
EXCEPTION WHEN SQLSTATE 'AX001' THEN
  RETURN false;
END
$$;
COMMENT ON FUNCTION apex.heartbeat(text, bigint) IS 'A sign of life of the leader; false when the epoch no longer leads';

CREATE FUNCTION apex.resign(pipeline text, epoch bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE apex.pipeline l SET heartbeat = '-infinity' WHERE l.name = resign.pipeline AND l.epoch = resign.epoch;
END;
COMMENT ON FUNCTION apex.resign(text, bigint) IS 'Ends a leader''s lease early, so that a standby need not wait for it';

-- ---- Reading ----

CREATE FUNCTION apex.batch_events(batch apex.pipeline, after_seq bigint, upto_seq bigint, rows_max int) RETURNS SETOF apex.outbox
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  -- The outbox has no statistics. Only walks of its indexes in seq order serve, whatever the planner would guess.
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
  SET jit = off
AS $$
DECLARE
  mappings int[] := ARRAY(SELECT m.id FROM apex.mapping m WHERE m.pipeline = batch.name);
  stragglers xid8[] := ARRAY(
    SELECT xid FROM pg_snapshot_xip(batch.from_snapshot) xid WHERE pg_visible_in_snapshot(xid, batch.to_snapshot)
    UNION ALL
    SELECT x::text::xid8 FROM generate_series(pg_snapshot_xmax(batch.from_snapshot)::text::bigint,
                                              batch.from_ceiling::text::bigint - 1) x
     WHERE pg_visible_in_snapshot(x::text::xid8, batch.to_snapshot));
BEGIN
  upto_seq := least(upto_seq, batch.to_position);
  RETURN QUERY
    SELECT every.* FROM (
      -- A call of xid8ge, not its operator, so that the index on xid is no candidate. An event of a row that is parked at
      -- a version not lower is part of that failure.
      (SELECT o.* FROM apex.outbox o
        WHERE o.seq > greatest(after_seq, batch.position) AND o.seq <= upto_seq
          AND xid8ge(o.xid, batch.from_ceiling) AND pg_visible_in_snapshot(o.xid, batch.to_snapshot)
          AND o.mapping = ANY (mappings)
          AND o.seq > coalesce((SELECT r.failed_seq FROM apex.saga_row r
                                 WHERE r.relation = o.relation AND r.key = o.key), 0)
        ORDER BY o.seq LIMIT rows_max)
      UNION ALL
      (SELECT late.* FROM unnest(stragglers) straggler(xid)
        CROSS JOIN LATERAL (
          SELECT o.* FROM apex.outbox o
           WHERE o.xid = straggler.xid AND o.seq > after_seq AND o.seq <= upto_seq
             AND o.mapping = ANY (mappings)
             AND o.seq > coalesce((SELECT r.failed_seq FROM apex.saga_row r
                                    WHERE r.relation = o.relation AND r.key = o.key), 0)
           ORDER BY o.seq LIMIT rows_max) late)
    ) every ORDER BY every.seq LIMIT rows_max;
END
$$;
COMMENT ON FUNCTION apex.batch_events(apex.pipeline, bigint, bigint, int) IS
  'Events of an open batch with after_seq < seq <= upto_seq, in seq order: what to_snapshot sees and from_snapshot did not';

CREATE FUNCTION apex.read_piece(pipeline text, epoch bigint, after_seq bigint, rows_max int, upto_seq bigint DEFAULT NULL)
  RETURNS SETOF apex.outbox
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET jit = off SET work_mem = '32MB'
AS $$
DECLARE
  -- How far beyond a piece the rest of its sagas is looked for. The handed-out window depends on it: see the contract.
  lookahead CONSTANT bigint := 8192;
  -- An idle cursor that lets this many events of other pipelines pass moves, so that it neither rereads nor keeps them.
  idle_max CONSTANT bigint := 4096;
  p apex.pipeline;
  opening boolean;
  place tid;
BEGIN
  p := apex.current_pipeline(pipeline, epoch);
  opening := p.to_snapshot IS NULL;
  IF opening THEN
    -- In this order. What the snapshot sees drew its seq before the position is read, and what gets an xid after the
    -- ceiling is read draws its seq after.
    p.to_snapshot := pg_current_snapshot();
    p.to_position := coalesce(pg_sequence_last_value('apex.outbox_seq'), 0);
    p.to_ceiling := apex.next_xid();
  END IF;

  -- What is not needed is not written, and a lock is a write.
  PERFORM FROM apex.batch_events(p, after_seq, upto_seq, 1);
  IF NOT FOUND THEN
    IF opening AND p.to_position > p.position + idle_max THEN
      place := apex.lock_pipeline(pipeline, epoch);
      UPDATE apex.pipeline l
         SET from_snapshot = p.to_snapshot, from_ceiling = p.to_ceiling, position = p.to_position
       WHERE l.ctid = place;
    END IF;
    RETURN;
  END IF;
  place := apex.lock_pipeline(pipeline, epoch);

  -- Durable before anything is written elsewhere; the flush also covers every commit that the snapshot sees.
  PERFORM set_config('synchronous_commit', 'on', true);
  RETURN QUERY
    WITH piece AS MATERIALIZED (
      SELECT * FROM apex.batch_events(p, read_piece.after_seq, read_piece.upto_seq,
                                      CASE WHEN read_piece.upto_seq IS NULL THEN read_piece.rows_max END)
    ), finish AS MATERIALIZED (
      SELECT max(seq) AS seq, read_piece.upto_seq IS NOT NULL OR count(*) = read_piece.rows_max AS full_piece FROM piece
    ), recorded AS (
      UPDATE apex.pipeline l
         SET to_snapshot = p.to_snapshot, to_position = p.to_position, to_ceiling = p.to_ceiling,
             handed_out = greatest(l.handed_out, f.seq)
        FROM finish f WHERE l.ctid = place
    ), rest AS (
      SELECT ahead.* FROM finish f
        CROSS JOIN LATERAL apex.batch_events(p, f.seq, f.seq + lookahead, CASE WHEN NOT f.full_piece THEN 0 END) ahead
       WHERE (ahead.xid, coalesce(ahead.aggregate_relation, ahead.relation), coalesce(ahead.aggregate_key, ahead.key))
          IN (SELECT s.xid, coalesce(s.aggregate_relation, s.relation), coalesce(s.aggregate_key, s.key) FROM piece s)
    )
    SELECT * FROM piece UNION ALL SELECT * FROM rest ORDER BY seq;
END
$$;
COMMENT ON FUNCTION apex.read_piece(text, bigint, bigint, int, bigint) IS
  'The next rows_max events of the open batch after a seq, followed by the rest of their sagas within the look-ahead; opens a batch when none is open and something is pending. With upto_seq: everything up to that seq instead. Records what it hands out; writes nothing when it returns nothing.';

CREATE FUNCTION apex.checkpoint(pipeline text, epoch bigint, settled bigint, superseded jsonb, close boolean) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p apex.pipeline;
  place tid;
BEGIN
  -- One that a crash loses is repeated after the replay. It is never older than the next batch, whose commit is flushed.
  PERFORM set_config('synchronous_commit', 'off', true);
  place := apex.lock_pipeline(pipeline, epoch);
  SELECT * INTO p FROM apex.pipeline WHERE ctid = place;
  IF close AND checkpoint.settled < p.handed_out THEN
    RAISE EXCEPTION 'apex: a batch that is settled up to % cannot be closed, % was handed out', checkpoint.settled, p.handed_out
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;

  IF close AND p.to_snapshot IS NOT NULL THEN
    UPDATE apex.pipeline l
       SET from_snapshot = l.to_snapshot, from_ceiling = l.to_ceiling, position = l.to_position,
           to_snapshot = NULL, to_ceiling = NULL, to_position = NULL, settled = 0, handed_out = 0
     WHERE l.ctid = place;
  ELSIF p.to_snapshot IS NOT NULL AND checkpoint.settled > p.settled THEN
    UPDATE apex.pipeline l SET settled = checkpoint.settled WHERE l.ctid = place;
  END IF;

  IF jsonb_array_length(superseded) > 0 THEN
    DELETE FROM apex.saga_row r USING jsonb_to_recordset(superseded) AS newer(relation oid, key jsonb, seq bigint)
     WHERE r.relation = newer.relation::regclass AND r.key = newer.key AND r.failed_seq < newer.seq;
    PERFORM apex.delete_empty_sagas(p.name);
  END IF;
END
$$;
COMMENT ON FUNCTION apex.checkpoint(text, bigint, bigint, jsonb, boolean) IS
  'Everything of the open batch up to settled is settled; with close the whole batch is, and the cursor moves past it. superseded: parked rows, as {relation, key, seq}, that a later change has carried forward. Repeating it does nothing.';

-- ---- Failed sagas ----

CREATE FUNCTION apex.delete_empty_sagas(pipeline text) RETURNS void
  LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  DELETE FROM apex.saga s
   WHERE s.pipeline = delete_empty_sagas.pipeline AND NOT EXISTS (SELECT FROM apex.saga_row r WHERE r.saga = s.id);
END;
COMMENT ON FUNCTION apex.delete_empty_sagas(text) IS 'Deletes the sagas of which no row is left, with their events';

CREATE FUNCTION apex.undo_rows(saga uuid)
  RETURNS TABLE (relation oid, key jsonb, mapping int, failed_seq bigint, accepted_seq bigint, accepted jsonb,
                 accepted_embedding bytea, images text[])
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.relation::oid, r.key, r.mapping, r.failed_seq, r.accepted_seq, r.accepted, r.accepted_embedding,
         (SELECT coalesce(array_agg(DISTINCT image::text), '{}')
            FROM apex.saga_event e CROSS JOIN LATERAL (VALUES (e.before), (e.after)) each(image)
           WHERE e.saga = r.saga AND e.relation = r.relation::oid AND e.key = r.key AND image IS NOT NULL)
    FROM apex.saga_row r WHERE r.saga = undo_rows.saga ORDER BY r.failed_seq;
END;
COMMENT ON FUNCTION apex.undo_rows(uuid) IS 'What a failed saga has to put back, with every image it involved';

CREATE FUNCTION apex.record_failure(pipeline text, epoch bigint, saga jsonb)
  RETURNS TABLE (relation oid, key jsonb, mapping int, failed_seq bigint, accepted_seq bigint, accepted jsonb,
                 accepted_embedding bytea, images text[])
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  saga_id CONSTANT uuid := saga ->> 'id';
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  PERFORM apex.lock_pipeline(record_failure.pipeline, record_failure.epoch);

  INSERT INTO apex.saga (id, pipeline, relation, key, xids, steps, failed_step, error_type, native_code, error, traceparent)
  SELECT saga_id, record_failure.pipeline, s.relation::regclass, s.key, s.xids, s.steps, s.failed_step, s.error_type,
         s.native_code, s.error, nullif(s.traceparent, '')
    FROM jsonb_to_record(record_failure.saga) AS s(relation oid, key jsonb, xids xid8[], steps text[], failed_step text,
                                                   error_type text, native_code text, error text, traceparent text)
  ON CONFLICT (id) DO NOTHING;
  IF FOUND THEN
    INSERT INTO apex.saga_event
    SELECT saga_id, o.* FROM apex.outbox o
     WHERE o.seq = ANY (ARRAY(SELECT listed.seq::bigint FROM jsonb_array_elements_text(record_failure.saga -> 'events') listed(seq)))
    ON CONFLICT (seq) DO UPDATE SET saga = excluded.saga;

    -- A later change than the one that is parked was accepted, and its checkpoint has not been written yet.
    DELETE FROM apex.saga_row parked
     USING jsonb_to_recordset(record_failure.saga -> 'rows') AS r(relation oid, key jsonb, carried_forward boolean)
     WHERE r.carried_forward AND parked.relation = r.relation::regclass AND parked.key = r.key;

    -- The image that was accepted is the one before the row's oldest event; a row that is parked already brings the one
    -- from before its first failure, and its version, since a store that could not be put back holds a later one. An old
    -- embedding that is there but empty stands for none.
    INSERT INTO apex.saga_row AS parked
    SELECT saga_id, r.relation::regclass, r.key, r.mapping, r.failed_seq, r.first_seq - 1, e.before,
           CASE WHEN e.before IS NOT NULL THEN nullif(coalesce(e.old_embedding, e.embedding), ''::bytea) END
      FROM jsonb_to_recordset(record_failure.saga -> 'rows')
             AS r(relation oid, key jsonb, mapping int, failed_seq bigint, first_seq bigint, oldest_seq bigint)
      LEFT JOIN apex.saga_event e ON e.seq = r.oldest_seq
    ON CONFLICT (relation, key) DO UPDATE
      SET saga = excluded.saga, mapping = excluded.mapping, failed_seq = excluded.failed_seq;
    PERFORM apex.delete_empty_sagas(record_failure.pipeline);
  END IF;
  RETURN QUERY SELECT * FROM apex.undo_rows(saga_id);
END
$$;
COMMENT ON FUNCTION apex.record_failure(text, bigint, jsonb) IS
  'Writes down a failed saga, its events and the images accepted before it, ahead of its compensation; returns what to put back. Repeating it only returns.';

CREATE FUNCTION apex.settle_failure(pipeline text, epoch bigint, saga uuid, state text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  PERFORM apex.lock_pipeline(settle_failure.pipeline, settle_failure.epoch);
  UPDATE apex.saga s SET state = settle_failure.state, settled_at = clock_timestamp() WHERE s.id = settle_failure.saga;
  IF settle_failure.state = 'parked' THEN
    UPDATE apex.saga_event e SET before = NULL, after = NULL, embedding = NULL, old_embedding = NULL
     WHERE e.saga = settle_failure.saga;
  END IF;
END
$$;
COMMENT ON FUNCTION apex.settle_failure(text, bigint, uuid, text) IS
  'Ends a compensation as parked, which erases the images of its events, or compensation_failed';

REVOKE ALL ON FUNCTION
  apex.next_xid(), apex.current_history(), apex.start_cursor(),
  apex.current_pipeline(text, bigint), apex.lock_pipeline(text, bigint),
  apex.lead(text, text, int), apex.heartbeat(text, bigint), apex.resign(text, bigint),
  apex.batch_events(apex.pipeline, bigint, bigint, int), apex.read_piece(text, bigint, bigint, int, bigint),
  apex.checkpoint(text, bigint, bigint, jsonb, boolean), apex.delete_empty_sagas(text), apex.undo_rows(uuid),
  apex.record_failure(text, bigint, jsonb), apex.settle_failure(text, bigint, uuid, text)
FROM PUBLIC;
-- Waking the sidecar, and waiting for it.

CREATE FUNCTION apex.arm() RETURNS boolean
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'apex_arm';
COMMENT ON FUNCTION apex.arm() IS
  'Asks for one NOTIFY apex_outbox after the next commit that captured a change, and starts this database''s worker when needed (it stays while the session is connected). False when nobody can wake and the caller has to poll: not preloaded, no free background worker, a standby. Call it outside a long transaction, then read again, then sleep.';
REVOKE ALL ON FUNCTION apex.arm() FROM PUBLIC;

-- Assigning the xid is the point: whatever committed before it was assigned has a lower one, and this transaction's own
-- events carry this very one. "Everything up to this xid" therefore holds all that the caller can know of, provided that it
-- had not written before; if it had, its place is that of its first write.
CREATE FUNCTION apex.position() RETURNS xid8
  LANGUAGE sql VOLATILE PARALLEL UNSAFE
  RETURN pg_catalog.pg_current_xact_id();
COMMENT ON FUNCTION apex.position() IS
  'The place of this transaction in the stream of changes, for apex.wait_synced() after its commit: its own changes, and all that committed before it first wrote or called this. Assigns a transaction id.';

-- Runs as the owner, since nobody but the sidecar may read the outbox; all it tells is one of three words.
--
-- What the cursor's snapshot does not see is what ran when it was taken, looked up one by one, and what began later, a
-- range of the index on xid. Comparing every xid since the oldest of the running ones would reread all that was delivered
-- meanwhile.
CREATE FUNCTION apex.sync_state("position" xid8) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 SET jit = off
BEGIN ATOMIC
  SELECT CASE
    WHEN NOT pg_visible_in_snapshot(sync_state.position, pg_current_snapshot()) THEN 'waiting'
    WHEN EXISTS (
      SELECT FROM apex.saga
      WHERE state IN ('parked', 'compensation_failed') AND sync_state.position = ANY (xids)) THEN 'parked'
    WHEN EXISTS (
      SELECT FROM apex.saga, unnest(xids) AS own(xid)
      WHERE state = 'compensating' AND own.xid <= sync_state.position) THEN 'waiting'
    WHEN EXISTS (
      SELECT FROM (SELECT DISTINCT pipeline FROM apex.mapping) AS mapped
      LEFT JOIN apex.pipeline AS cursor ON cursor.name = mapped.pipeline
      CROSS JOIN LATERAL (
        SELECT late.xid, late.seq, late.mapping FROM apex.outbox AS late
        WHERE late.xid = ANY (ARRAY(SELECT pg_snapshot_xip(cursor.from_snapshot))) AND late.xid <= sync_state.position
        UNION ALL
        SELECT new.xid, new.seq, new.mapping FROM apex.outbox AS new
        WHERE new.xid >= coalesce(pg_snapshot_xmax(cursor.from_snapshot), '0'::xid8) AND new.xid <= sync_state.position
      ) AS event
      JOIN apex.mapping ON mapping.id = event.mapping AND mapping.pipeline = mapped.pipeline
      WHERE NOT coalesce(pg_visible_in_snapshot(event.xid, cursor.to_snapshot) AND event.seq <= cursor.settled, false))
      THEN 'waiting'
    ELSE 'synced'
  END;
END;
COMMENT ON FUNCTION apex.sync_state(xid8) IS
  'Whether all changes up to a position are in the stores: synced, parked (a saga of this very transaction failed for good), or waiting. One look; apex.wait_synced() looks until it is decided.';

CREATE PROCEDURE apex.wait_synced("position" xid8, timeout interval, INOUT result text DEFAULT NULL)
  LANGUAGE c AS 'MODULE_PATHNAME', 'apex_wait_synced';
COMMENT ON PROCEDURE apex.wait_synced(xid8, interval, text) IS
  'Waits until every change up to a position is in every store. Result: synced; parked, when a saga of that transaction failed for good; timeout. Holds no snapshot while it waits, so it cannot run inside a transaction block (error 2D000).';
-- What people call: single rows again, failed sagas, how things stand, and the sidecar's rights.

CREATE FUNCTION apex.refresh(relation regclass, VARIADIC key text[]) RETURNS bigint
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'apex_refresh';
COMMENT ON FUNCTION apex.refresh(regclass, text[]) IS
  'Sends one row of an attached table as it is now: SELECT apex.refresh(''documents'', id::text). The row is locked FOR NO KEY UPDATE to the end of the transaction; a row that is not there is sent as a delete. Returns its new version (seq). For the table''s owner and the sidecar''s role. Errors: 42501 no right, 55000 not attached, 22023 wrong number of key columns, or whatever the key''s type says to a text it cannot read.';

CREATE FUNCTION apex.take_failed_saga(saga uuid) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  state text;
BEGIN
  SELECT s.state INTO state FROM apex.saga s WHERE s.id = take_failed_saga.saga FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM apex.refuse('P0002', format('there is no failed saga %s', saga),
                        'It was never there, or a later change of its rows has superseded it.', 'Look at apex.failed_sagas.');
  ELSIF state = 'compensating' THEN
    PERFORM apex.refuse('55000', format('saga %s is still being compensated', saga), 'Its state is compensating.', 'Wait until it is in apex.failed_sagas.');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.take_failed_saga(uuid) IS 'Locks a saga that has ended in failure, or says why it cannot be had';
REVOKE ALL ON FUNCTION apex.take_failed_saga(uuid) FROM PUBLIC;

CREATE FUNCTION apex.retry(saga uuid) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  parked record;
  rows_sent int := 0;
BEGIN
  PERFORM apex.take_failed_saga(saga);
  FOR parked IN SELECT r.relation, r.key FROM apex.saga_row r WHERE r.saga = retry.saga ORDER BY r.failed_seq LOOP
    PERFORM apex.refresh(parked.relation, VARIADIC ARRAY(SELECT jsonb_array_elements_text(parked.key)));
    rows_sent := rows_sent + 1;
  END LOOP;
  RETURN rows_sent;
END
$$;
COMMENT ON FUNCTION apex.retry(uuid) IS
  'Sends every row of a failed saga again, as it is now, and returns how many; the saga leaves apex.failed_sagas when they have arrived. Errors: P0002 no such saga, 55000 still compensating or a table no longer attached.';
REVOKE ALL ON FUNCTION apex.retry(uuid) FROM PUBLIC;

CREATE FUNCTION apex.discard(saga uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM apex.take_failed_saga(saga);
  DELETE FROM apex.saga s WHERE s.id = discard.saga;
END
$$;
COMMENT ON FUNCTION apex.discard(uuid) IS
  'Forgets a failed saga with its rows and events. The stores keep what compensation left there; the rows are sent when they next change. Errors: P0002 no such saga, 55000 still compensating.';
REVOKE ALL ON FUNCTION apex.discard(uuid) FROM PUBLIC;

CREATE VIEW apex.sagas AS
  SELECT s.id, s.pipeline, s.state, s.relation, s.key, s.failed_step, s.error_type, s.native_code, s.error,
         s.steps, s.traceparent, s.created_at
    FROM apex.saga s WHERE s.settled_at IS NULL;
COMMENT ON VIEW apex.sagas IS 'Sagas that failed for good and are being compensated: not yet settled';

CREATE VIEW apex.failed_sagas AS
  SELECT s.id, s.pipeline, s.state, s.relation, s.key, s.failed_step, s.error_type, s.native_code, s.error,
         (SELECT count(*) FROM apex.saga_row r WHERE r.saga = s.id) AS rows, s.traceparent, s.created_at, s.settled_at
    FROM apex.saga s WHERE s.state IN ('parked', 'compensation_failed');
COMMENT ON VIEW apex.failed_sagas IS
  'Sagas to look at: parked (compensated, the stores are as before) or compensation_failed (some store may not be). Mend the row by an UPDATE, or call apex.retry(id) or apex.discard(id).';

CREATE FUNCTION apex.pending(p apex.pipeline, events_max int, OUT events bigint, OUT oldest timestamptz)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT count(*), min(captured_at) FROM (
    SELECT o.captured_at FROM apex.outbox o
     WHERE o.xid >= pg_snapshot_xmin(p.from_snapshot) AND NOT pg_visible_in_snapshot(o.xid, p.from_snapshot)
       AND NOT (o.seq <= p.settled AND coalesce(pg_visible_in_snapshot(o.xid, p.to_snapshot), false))
       AND o.mapping IN (SELECT m.id FROM apex.mapping m WHERE m.pipeline = p.name)
     ORDER BY o.seq LIMIT events_max) undelivered;
END;
COMMENT ON FUNCTION apex.pending(apex.pipeline, int) IS 'Events that a pipeline has still to deliver, up to a number, and the capture time of the oldest';
REVOKE ALL ON FUNCTION apex.pending(apex.pipeline, int) FROM PUBLIC;

CREATE FUNCTION apex.status() RETURNS jsonb
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT jsonb_build_object(
    'outbox_bytes', jsonb_build_array(pg_total_relation_size('apex.outbox_0'), pg_total_relation_size('apex.outbox_1'),
                                      pg_total_relation_size('apex.outbox_2')),
    'pipelines', coalesce(jsonb_agg(jsonb_build_object(
      'pipeline', p.name, 'leader', CASE WHEN p.heartbeat > '-infinity' THEN p.leader END, 'epoch', p.epoch,
      'heartbeat_age_seconds', round(extract(epoch FROM clock_timestamp() - nullif(p.heartbeat, '-infinity')), 3),
      'backlog', pending.events,
      'oldest_event_age_seconds', round(extract(epoch FROM clock_timestamp() - pending.oldest), 3),
      'compensating', sagas.compensating, 'parked', sagas.parked, 'compensation_failed', sagas.compensation_failed,
      'tables', (SELECT coalesce(jsonb_agg(m.spec ->> 'table' ORDER BY m.id), '[]')
                   FROM apex.mapping m WHERE m.pipeline = p.name AND m.active)) ORDER BY p.name), '[]'))
    FROM apex.pipeline p
    CROSS JOIN LATERAL apex.pending(p, 100000) pending
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE s.state = 'compensating'), count(*) FILTER (WHERE s.state = 'parked'),
             count(*) FILTER (WHERE s.state = 'compensation_failed')
        FROM apex.saga s WHERE s.pipeline = p.name) sagas(compensating, parked, compensation_failed);
END;
COMMENT ON FUNCTION apex.status() IS
  'How things stand: {"outbox_bytes": [size of each slot], "pipelines": [{pipeline, leader, epoch, heartbeat_age_seconds, backlog (events still to deliver, counted up to 100000), oldest_event_age_seconds, compensating, parked, compensation_failed (sagas), tables}]}. Leader and ages are null when there is none.';
REVOKE ALL ON FUNCTION apex.status() FROM PUBLIC;

CREATE FUNCTION apex.grant_sidecar(role regrole) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA apex TO %s', role);
  EXECUTE format('GRANT SELECT ON apex.mapping, apex.pipeline, apex.outbox, apex.outbox_0, apex.outbox_1, apex.outbox_2, '
                 'apex.outbox_seq, apex.saga, apex.saga_row, apex.saga_event, apex.sagas, apex.failed_sagas TO %s', role);
  EXECUTE format('GRANT EXECUTE ON FUNCTION apex.lead(text, text, int), apex.heartbeat(text, bigint), apex.resign(text, bigint), '
                 'apex.read_piece(text, bigint, bigint, int, bigint), apex.checkpoint(text, bigint, bigint, jsonb, boolean), '
                 'apex.undo_rows(uuid), apex.record_failure(text, bigint, jsonb), apex.settle_failure(text, bigint, uuid, text), '
                 'apex.rotate(), apex.arm(), apex.retry(uuid), apex.discard(uuid), apex.status() TO %s', role);
END
$$;
COMMENT ON FUNCTION apex.grant_sidecar(regrole) IS
  'Gives a role what apex run needs and nothing more: SELECT apex.grant_sidecar(''apex''). It needs no right on the attached tables. To be called by the extension''s owner.';
REVOKE ALL ON FUNCTION apex.grant_sidecar(regrole) FROM PUBLIC;
