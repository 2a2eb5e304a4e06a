-- What follows the later changes of attached tables: columns that are renamed, partitions that come and go.
--
-- The event triggers here look at every CREATE TABLE, ALTER TABLE and DROP TABLE of the database, and do nothing for a table
-- that is not attached.

-- ---- Columns ----

-- A dump names columns, capture numbers them, and the stores know a column by the name that it had when it was attached. Its
-- name of today is kept beside that one, so that a restored mapping finds it again.
CREATE FUNCTION apex.with_present_name(relation regclass, column_spec jsonb) RETURNS jsonb
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(
    (SELECT CASE WHEN a.attname = column_spec ->> 'column' THEN column_spec - 'renamed_to'
                 ELSE column_spec || jsonb_build_object('renamed_to', a.attname) END
       FROM pg_attribute a
      WHERE a.attrelid = relation AND a.attnum = (column_spec ->> 'attnum')::int2 AND a.attnum > 0 AND NOT a.attisdropped),
    column_spec);
END;
COMMENT ON FUNCTION apex.with_present_name(regclass, jsonb) IS 'A column of a spec with "renamed_to" when its name is another now';

CREATE FUNCTION apex.with_present_names(relation regclass, spec jsonb) RETURNS jsonb
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT spec || jsonb_object_agg(part, CASE jsonb_typeof(spec -> part)
    WHEN 'array' THEN (SELECT jsonb_agg(apex.with_present_name(relation, c) ORDER BY place)
                         FROM jsonb_array_elements(spec -> part) WITH ORDINALITY AS every(c, place))
    WHEN 'object' THEN apex.with_present_name(relation, spec -> part)
    ELSE 'null' END)
    FROM unnest(ARRAY['key', 'columns', 'embedding', 'aggregate']) part;
END;
COMMENT ON FUNCTION apex.with_present_names(regclass, jsonb) IS 'A spec in which every renamed column says so';

-- Most ALTER TABLEs rename nothing, and are not to wait for the lock of an apex.attach.
CREATE FUNCTION apex.follow_renames() RETURNS event_trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  renamed int[] := ARRAY(
    SELECT m.id FROM apex.mapping m
     WHERE m.active AND m.relation IN (SELECT c.objid FROM pg_event_trigger_ddl_commands() c WHERE c.classid = 'pg_class'::regclass)
       AND m.spec <> apex.with_present_names(m.relation, m.spec));
BEGIN
  IF cardinality(renamed) > 0 THEN
    UPDATE apex.mapping m SET spec = apex.with_present_names(m.relation, m.spec) WHERE m.id = ANY (renamed);
  END IF;
END
$$;
COMMENT ON FUNCTION apex.follow_renames() IS 'Event trigger: notes the new names of an attached table''s columns in its mapping';
REVOKE ALL ON FUNCTION apex.with_present_name(regclass, jsonb), apex.with_present_names(regclass, jsonb), apex.follow_renames() FROM PUBLIC;

CREATE EVENT TRIGGER apex_follow_renames ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
  EXECUTE FUNCTION apex.follow_renames();
COMMENT ON EVENT TRIGGER apex_follow_renames IS 'Notes the new names of an attached table''s columns in its mapping';

-- ---- Partitions ----

-- The attached table needs a trigger that fires when its rows are gone; a partition, which can be truncated alone, one that
-- fires while they are there; and a partitioned table that, too, to tell its partitions that they go with it.
CREATE FUNCTION apex.follow_truncate(relation regclass) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part record;
BEGIN
  FOR part IN
    SELECT c.oid::regclass AS name, fires.trigger, fires.timing
      FROM pg_class c
      CROSS JOIN LATERAL (
        SELECT 'apex_truncate' AS trigger, CASE WHEN c.relispartition THEN 'BEFORE' ELSE 'AFTER' END AS timing
        UNION ALL SELECT 'apex_truncate_begins', 'BEFORE' WHERE c.relkind = 'p' AND NOT c.relispartition) fires
     WHERE c.oid IN (SELECT relation UNION SELECT relid FROM pg_partition_tree(relation)) LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER %s %s TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION apex.capture_truncate()',
                   part.trigger, part.timing, part.name);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %s', part.name, part.trigger);
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.follow_truncate(regclass) IS 'Creates the triggers of apex.capture_truncate on a table and each of its partitions';

CREATE FUNCTION apex.unfollow_truncate(relation regclass) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ours record;
BEGIN
  FOR ours IN SELECT t.tgrelid::regclass AS part, t.tgname FROM pg_trigger t
               WHERE t.tgfoid IN ('apex.capture_truncate()'::regprocedure, 'apex.refuse_truncate()'::regprocedure)
                 AND t.tgrelid IN (SELECT relation UNION SELECT relid FROM pg_partition_tree(relation)) LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', ours.tgname, ours.part);
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.unfollow_truncate(regclass) IS 'Drops the triggers of TRUNCATE from a table and each of its partitions';

CREATE FUNCTION apex.admit_partition(part regclass) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM apex.check_storage(part);
  PERFORM apex.follow_truncate(part);
END
$$;
COMMENT ON FUNCTION apex.admit_partition(regclass) IS 'Asks of a new partition what apex.attach asks of the whole table, and makes it alike';
REVOKE ALL ON FUNCTION apex.follow_truncate(regclass), apex.unfollow_truncate(regclass), apex.admit_partition(regclass) FROM PUBLIC;

CREATE FUNCTION apex.capture_rows(part regclass, op "char") RETURNS void
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'apex_capture_rows';
COMMENT ON FUNCTION apex.capture_rows(regclass, "char") IS
  'Captures each row of an attached table or partition, and of those below it, as D (deleted) or R (refreshed). Takes the lock that keeps writers out.';
REVOKE ALL ON FUNCTION apex.capture_rows(regclass, "char") FROM PUBLIC;

CREATE FUNCTION apex.follow_partitions() RETURNS event_trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'apex_follow_partitions';
COMMENT ON FUNCTION apex.follow_partitions() IS
  'Event trigger: captures the rows of a partition as deleted before it is detached or dropped, and as refreshed when it is attached';
REVOKE ALL ON FUNCTION apex.follow_partitions() FROM PUBLIC;

CREATE EVENT TRIGGER apex_partition_leaves ON ddl_command_start WHEN TAG IN ('ALTER TABLE', 'DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
  EXECUTE FUNCTION apex.follow_partitions();
COMMENT ON EVENT TRIGGER apex_partition_leaves IS 'Captures the rows of a partition of an attached table as deleted before it is detached or dropped';
CREATE EVENT TRIGGER apex_partition_joins ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE FOREIGN TABLE')
  EXECUTE FUNCTION apex.follow_partitions();
COMMENT ON EVENT TRIGGER apex_partition_joins IS 'Captures the rows of a partition that is attached to an attached table';
-- What logical replication or a tool under another replication role changes here is a change like any other.
ALTER EVENT TRIGGER apex_follow_renames ENABLE ALWAYS;
ALTER EVENT TRIGGER apex_partition_leaves ENABLE ALWAYS;
ALTER EVENT TRIGGER apex_partition_joins ENABLE ALWAYS;
