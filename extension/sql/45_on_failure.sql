-- What follows when a saga that failed for good has been undone in every store: park leaves it at that, revert takes its rows
-- back in PostgreSQL, call hands them to a function of the user's.
--
-- All of it happens in the transaction that settles the saga, so that a crash leaves it undone and the next leader comes
-- here again. Nothing that goes wrong in it stops the sidecar: the saga is then only parked, with the reason.

CREATE FUNCTION apex.as_owner(relation regclass, command text) RETURNS jsonb
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'apex_as_owner';
COMMENT ON FUNCTION apex.as_owner(regclass, text) IS
  'Runs a command as the owner of an attached table, in a security-restricted operation. Where it returns a row of the table, that row''s image as capture writes it.';

CREATE FUNCTION apex.refuse_revert(relation regclass, key jsonb, reason text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'row % of table % is not taken back: %', key, relation, reason USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
COMMENT ON FUNCTION apex.refuse_revert(regclass, jsonb, text) IS 'Raises why a row stays as it is';

-- jsonb's null stands for NULL, also in a column of type jsonb.
CREATE FUNCTION apex.image_value(value jsonb, kind text, type text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE
    WHEN value IS NULL OR value = 'null' THEN format('NULL::%s', type)
    WHEN kind = 'jsonb' THEN format('%L::%s', value, type)
    WHEN jsonb_typeof(value) = 'array' THEN format('(SELECT a.v FROM jsonb_to_record(%L) AS a(v %s))', jsonb_build_object('v', value), type)
    ELSE format('%L::%s', value #>> '{}', type)
  END;
END;
COMMENT ON FUNCTION apex.image_value(jsonb, text, text) IS 'An SQL expression for a value of an image';

CREATE FUNCTION apex.image_columns_now(relation regclass, spec jsonb, part text)
  RETURNS TABLE (name text, attached_as text, kind text, type text, number int2, place bigint, generated boolean)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT quote_ident(a.attname), c ->> 'column', c ->> 'kind', format_type(a.atttypid, a.atttypmod), a.attnum, every.place, a.attgenerated <> ''
    FROM jsonb_array_elements(spec -> part) WITH ORDINALITY AS every(c, place)
    JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = (c ->> 'attnum')::int2 AND NOT a.attisdropped;
END;
COMMENT ON FUNCTION apex.image_columns_now(regclass, jsonb, text) IS 'The columns of an image (part columns) or key (part key) as the table has them today';

CREATE FUNCTION apex.row_condition(relation regclass, spec jsonb, key jsonb) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT string_agg(format('t.%s = %s', c.name, apex.image_value(key -> (c.place - 1)::int, c.kind, c.type)), ' AND ')
    FROM apex.image_columns_now(relation, spec, 'key') c;
END;
COMMENT ON FUNCTION apex.row_condition(regclass, jsonb, jsonb) IS 'The condition that finds the row of this key as t';

-- A foreign key that would carry the change on to other rows, which nobody has asked to change.
CREATE FUNCTION apex.check_no_cascade(relation regclass, source text, condition text, key jsonb, changed int2[]) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  reference record;
  refers boolean;
BEGIN
  FOR reference IN
    SELECT c.conname, c.conrelid::regclass AS referring,
           (SELECT string_agg(format('r.%I = t.%I', f.attname, p.attname), ' AND ')
              FROM unnest(c.conkey, c.confkey) AS pair(own, other)
              JOIN pg_attribute f ON f.attrelid = c.conrelid AND f.attnum = pair.own
              JOIN pg_attribute p ON p.attrelid = c.confrelid AND p.attnum = pair.other) AS pairs
      FROM pg_constraint c
     WHERE c.contype = 'f' AND c.confrelid = relation AND c.conparentid = 0
       AND CASE WHEN changed IS NULL THEN c.confdeltype ELSE c.confupdtype END IN ('c', 'n', 'd')
       AND (changed IS NULL OR c.confkey && changed)
  LOOP
    refers := apex.as_owner(relation, format('SELECT t FROM %s t JOIN %s r ON %s WHERE %s LIMIT 1', source, reference.referring,
                                             reference.pairs, condition)) IS NOT NULL;
    IF refers THEN
      PERFORM apex.refuse_revert(relation, key, format('foreign key %s of table %s would change other rows', reference.conname, reference.referring));
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.check_no_cascade(regclass, text, text, jsonb, int2[]) IS
  'Refuses to take back a row that others refer to by a foreign key with an action; changed NULL: the row is to be deleted';

-- Says why the images of a saga's row are not enough to take it back by. A refresh changed nothing in PostgreSQL; an image that
-- could not be captured is not known; and a change of the primary key is two rows here, in two sagas, of which only one failed.
CREATE FUNCTION apex.check_revertible(parked apex.saga_row, mapping apex.mapping) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  reason text;
BEGIN
  SELECT CASE WHEN NOT mapping.active THEN 'the table was detached since'
              WHEN bool_or(e.error IS NOT NULL) THEN 'a value of it could not be captured'
              WHEN bool_or(e.op = 'R') THEN 'it was refreshed, not changed'
              WHEN bool_or(EXISTS (SELECT FROM apex.outbox o WHERE o.xid = e.xid AND o.command = e.command AND o.relation = e.relation
                                                               AND o.op <> e.op AND o.op IN ('D', 'I') AND e.op IN ('D', 'I')))
                THEN 'its primary key may have changed'
              WHEN parked.accepted IS NULL AND NOT bool_or(e.op = 'I') THEN 'the image before it is not known'
              WHEN NOT parked.accepted ?& ARRAY(SELECT c ->> 'column' FROM jsonb_array_elements(mapping.spec -> 'columns') c)
                THEN 'the image before it is not whole'
         END
    INTO reason
    FROM apex.saga_event e WHERE e.saga = parked.saga AND e.relation = parked.relation::oid AND e.key = parked.key;
  IF reason IS NOT NULL THEN
    PERFORM apex.refuse_revert(parked.relation, parked.key, reason);
  END IF;
END
$$;
COMMENT ON FUNCTION apex.check_revertible(apex.saga_row, apex.mapping) IS 'Refuses a row whose images do not say what it was';

-- The newest image of the row among the saga's events. Transactions on one row never interleave.
CREATE FUNCTION apex.failed_image(parked apex.saga_row) RETURNS jsonb
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT e.after FROM (
    SELECT s.after, s.command, s.seq, max(s.seq) OVER (PARTITION BY s.xid) AS last FROM apex.saga_event s
     WHERE s.saga = parked.saga AND s.relation = parked.relation::oid AND s.key = parked.key) e
   ORDER BY e.last DESC, e.command DESC, e.seq DESC LIMIT 1;
END;
COMMENT ON FUNCTION apex.failed_image(apex.saga_row) IS 'The image of a parked row that the stores have refused; NULL: it was deleted';

CREATE FUNCTION apex.revert_row(parked apex.saga_row) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  mapping apex.mapping;
  failed CONSTANT jsonb := apex.failed_image(parked);
  -- Tables that inherit from an attached one are tables of their own.
  source CONSTANT text := (SELECT CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || parked.relation::text
                             FROM pg_class c WHERE c.oid = parked.relation);
  condition text;
  names text;
  expressions text;
  changed int2[];
  command text;
BEGIN
  SELECT m.* INTO mapping FROM apex.mapping m WHERE m.id = parked.mapping;
  PERFORM apex.check_revertible(parked, mapping);
  condition := apex.row_condition(parked.relation, mapping.spec, parked.key);
  IF apex.as_owner(parked.relation, format('SELECT t FROM %s t WHERE %s FOR UPDATE NOWAIT', source, condition)) IS DISTINCT FROM failed THEN
    PERFORM apex.refuse_revert(parked.relation, parked.key, 'it has changed since');
  END IF;
  IF failed IS NOT DISTINCT FROM parked.accepted THEN
    RETURN;
  END IF;

  SELECT string_agg(c.name, ', ' ORDER BY c.number),
         string_agg(apex.image_value(parked.accepted -> c.attached_as, c.kind, c.type), ', ' ORDER BY c.number), array_agg(c.number)
    INTO names, expressions, changed
    FROM apex.image_columns_now(parked.relation, mapping.spec, 'columns') c
   WHERE NOT c.generated AND (parked.accepted -> c.attached_as) IS DISTINCT FROM (failed -> c.attached_as);
  IF failed IS NULL THEN
    command := format('INSERT INTO %s AS t (%s) OVERRIDING SYSTEM VALUE VALUES (%s) RETURNING t', parked.relation, names, expressions);
  ELSIF parked.accepted IS NULL THEN
    PERFORM apex.check_no_cascade(parked.relation, source, condition, parked.key, NULL);
    command := format('DELETE FROM %s t WHERE %s RETURNING t', source, condition);
  ELSE
    PERFORM apex.check_no_cascade(parked.relation, source, condition, parked.key, changed);
    command := format('UPDATE %s t SET (%s) = ROW(%s) WHERE %s RETURNING t', source, names, expressions, condition);
  END IF;
  IF apex.as_owner(parked.relation, command) IS DISTINCT FROM coalesce(parked.accepted, failed) THEN
    PERFORM apex.refuse_revert(parked.relation, parked.key, 'the table made something else of it, by a trigger or a type');
  END IF;
END
$$;
COMMENT ON FUNCTION apex.revert_row(apex.saga_row) IS
  'Puts a row back to the image the stores had accepted, if it is still as the saga left it, and if no other row would change with it. Captured like any change. An error says why not.';

CREATE FUNCTION apex.call_handler(parked apex.saga_row) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  handler text;
  failed apex.saga;
BEGIN
  SELECT m.handler INTO handler FROM apex.mapping m WHERE m.id = parked.mapping;
  IF NOT apex.is_handler(to_regprocedure(handler)) THEN
    RAISE EXCEPTION 'handler % of table % is not there any more', handler, parked.relation USING ERRCODE = 'undefined_function';
  END IF;
  SELECT s.* INTO failed FROM apex.saga s WHERE s.id = parked.saga;
  PERFORM apex.as_owner(parked.relation, format('SELECT %s(%L::uuid, %L::regclass, %L::jsonb, %L::text)', to_regprocedure(handler)::regproc,
                                                parked.saga, parked.relation::oid, parked.key, format('%s: %s', failed.failed_step, failed.error)));
END
$$;
COMMENT ON FUNCTION apex.call_handler(apex.saga_row) IS 'Calls the handler of a row''s table, as the table''s owner';

CREATE FUNCTION apex.is_handler(handler oid) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM pg_proc p WHERE p.oid = handler AND p.prokind = 'f' AND NOT p.proretset
                                         AND p.proargtypes = '2950 2205 3802 25'::oidvector);
END;
COMMENT ON FUNCTION apex.is_handler(oid) IS 'Whether this is a function of (saga uuid, relation regclass, key jsonb, error text)';

CREATE FUNCTION apex.resolve_failure(saga uuid, OUT resolution text, OUT problem text)
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wishes text[];
  parked apex.saga_row;
BEGIN
  SELECT array_agg(DISTINCT m.on_failure) INTO wishes
    FROM apex.saga_row r JOIN apex.mapping m ON m.id = r.mapping WHERE r.saga = resolve_failure.saga;
  IF coalesce(wishes, '{park}') = '{park}' THEN
    RETURN;
  ELSIF cardinality(wishes) > 1 THEN
    problem := format('its tables are attached with different on_failure: %s', array_to_string(wishes, ', '));
    RETURN;
  END IF;
  -- What is deferred could not be checked, nor fired, as the owner. And the commit is not to fail.
  SET CONSTRAINTS ALL IMMEDIATE;
  BEGIN
    -- The newest first: a row goes before the one it refers to.
    FOR parked IN SELECT r.* FROM apex.saga_row r WHERE r.saga = resolve_failure.saga ORDER BY r.failed_seq DESC LOOP
      IF wishes = '{revert}' THEN
        PERFORM apex.revert_row(parked);
      ELSE
        PERFORM apex.call_handler(parked);
      END IF;
    END LOOP;
    resolution := CASE wishes[1] WHEN 'revert' THEN 'reverted' ELSE 'called' END;
  EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
    problem := SQLERRM;
  END;
END
$$;
COMMENT ON FUNCTION apex.resolve_failure(uuid) IS
  'Takes back or hands over all rows of a saga, or none: resolution is reverted or called, or problem says why it is only parked. Both NULL: on_failure is park.';

REVOKE ALL ON FUNCTION
  apex.as_owner(regclass, text), apex.refuse_revert(regclass, jsonb, text), apex.image_value(jsonb, text, text),
  apex.image_columns_now(regclass, jsonb, text), apex.row_condition(regclass, jsonb, jsonb),
  apex.check_no_cascade(regclass, text, text, jsonb, int2[]), apex.check_revertible(apex.saga_row, apex.mapping),
  apex.failed_image(apex.saga_row), apex.revert_row(apex.saga_row), apex.call_handler(apex.saga_row), apex.is_handler(oid),
  apex.resolve_failure(uuid)
FROM PUBLIC;
