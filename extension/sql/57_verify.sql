-- Rows as capture writes them, for `apex verify` to compare with the stores. Nothing is sent and nothing is locked.

CREATE FUNCTION apex.read_rows(relation regclass, part oid, after_key text[], rows_max int)
  RETURNS TABLE (at_part oid, key jsonb, image jsonb, embedding bytea, error text, stamp text)
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_read_rows';
COMMENT ON FUNCTION apex.read_rows(regclass, oid, text[], int) IS
  'Up to rows_max rows of an attached table in key order, those behind a key of a leaf partition (part; NULL: from the start), as their events would hold them. No row: the end. stamp differs once the row has been changed.';

CREATE FUNCTION apex.read_row(relation regclass, key text[],
                              OUT at_part oid, OUT row_key jsonb, OUT image jsonb, OUT embedding bytea, OUT error text, OUT stamp text)
  RETURNS SETOF record
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'apex_read_row';
COMMENT ON FUNCTION apex.read_row(regclass, text[]) IS 'The row of this key as apex.read_rows has it, if there is one';

CREATE FUNCTION apex.verify_page(relation regclass, part oid, after_key jsonb, rows_max int)
  RETURNS TABLE (at_part oid, key jsonb, image jsonb, embedding bytea, error text, stamp text)
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.at_part, r.key, r.image, r.embedding, r.error, r.stamp
    FROM apex.read_rows(verify_page.relation, part, apex.key_texts(after_key), rows_max) r;
END;
COMMENT ON FUNCTION apex.verify_page(regclass, oid, jsonb, int) IS 'apex.read_rows for the sidecar''s role';

-- A store may hold what cannot be a key of the table: then there is no such row.
CREATE FUNCTION apex.verify_rows(relation regclass, keys jsonb)
  RETURNS TABLE (at_part oid, key jsonb, image jsonb, embedding bytea, error text, stamp text)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted jsonb;
BEGIN
  FOR wanted IN SELECT jsonb_array_elements(keys) LOOP
    BEGIN
      RETURN QUERY SELECT r.* FROM apex.read_row(verify_rows.relation, apex.key_texts(wanted)) r;
    EXCEPTION WHEN data_exception THEN
      CONTINUE;
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.verify_rows(regclass, jsonb) IS 'Those rows of a JSON array of keys that are there, as apex.read_rows has them';

CREATE FUNCTION apex.refresh_rows(relation regclass, keys jsonb) RETURNS SETOF jsonb
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted jsonb;
BEGIN
  FOR wanted IN SELECT jsonb_array_elements(keys) LOOP
    BEGIN
      IF NOT apex.refresh_unless_held(refresh_rows.relation, apex.key_texts(wanted)) THEN
        RETURN NEXT wanted;
      END IF;
    EXCEPTION WHEN data_exception THEN
      CONTINUE;  -- What cannot be a key of the table names no row.
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION apex.refresh_rows(regclass, jsonb) IS 'Sends the rows of a JSON array of keys as they are now, and returns the keys of those that somebody has locked';

-- A history that began during the comparison has still to be verified.
CREATE FUNCTION apex.verified(pipeline text, since timestamptz) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE apex.pipeline p SET unverified_since = NULL WHERE p.name = verified.pipeline AND p.unverified_since = since;
END;
COMMENT ON FUNCTION apex.verified(text, timestamptz) IS
  'Notes that every row of a pipeline was compared with every store and nothing differed, after another history had begun at this time';

REVOKE ALL ON FUNCTION
  apex.verified(text, timestamptz), apex.read_rows(regclass, oid, text[], int), apex.read_row(regclass, text[]),
  apex.verify_page(regclass, oid, jsonb, int), apex.verify_rows(regclass, jsonb), apex.refresh_rows(regclass, jsonb)
FROM PUBLIC;
