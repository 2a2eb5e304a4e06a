-- Sending the rows of a table that are there already, while it is being written (rule E7).
--
-- A backfill is a row of apex.backfill_progress. The pipeline's leader calls apex.backfill_step, each time in a transaction of
-- its own that sends a bounded piece in key order and writes down how far it has come: whoever crashes, the next step goes on
-- from there. Rows that somebody holds are put aside and looked at again; nothing waits for a writer.

CREATE TABLE apex.backfill_progress (
  relation regclass PRIMARY KEY,
  pipeline text NOT NULL,
  rows_per_second int CHECK (rows_per_second > 0),
  rows_expected bigint,
  rows_sent bigint NOT NULL DEFAULT 0,
  part oid,
  after_key jsonb,
  scanned boolean NOT NULL DEFAULT false,
  next_at timestamptz NOT NULL DEFAULT 'epoch',
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz
);
COMMENT ON TABLE apex.backfill_progress IS 'The last backfill of each table: how far it has come, and when it was finished';
COMMENT ON COLUMN apex.backfill_progress.rows_per_second IS 'How fast it may go; NULL: as fast as the stores take it';
COMMENT ON COLUMN apex.backfill_progress.rows_expected IS 'How many rows the table was thought to have at the start; NULL: not known';
COMMENT ON COLUMN apex.backfill_progress.part IS 'The table or leaf partition that is being read';
COMMENT ON COLUMN apex.backfill_progress.after_key IS 'Key of the last row read there';
COMMENT ON COLUMN apex.backfill_progress.scanned IS 'Every row has been seen; what is left is in apex.backfill_held';
COMMENT ON COLUMN apex.backfill_progress.next_at IS 'No step before this, to keep the rate';

CREATE TABLE apex.backfill_held (
  relation regclass NOT NULL REFERENCES apex.backfill_progress ON DELETE CASCADE,
  key jsonb NOT NULL,
  looked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (relation, key)
);
CREATE INDEX ON apex.backfill_held (relation, looked_at);
COMMENT ON TABLE apex.backfill_held IS 'Rows of running backfills that somebody had locked when their turn came';

CREATE FUNCTION apex.refresh_piece(relation regclass, INOUT part oid, after_key text[], rows_max int,
                                   OUT key jsonb, OUT rows_sent bigint, OUT held jsonb[])
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_refresh_piece';
COMMENT ON FUNCTION apex.refresh_piece(regclass, oid, text[], int) IS
  'Sends up to rows_max rows as they are now, those behind a key of a leaf partition (part; NULL: from the start). Returns the place it has come to, NULL at the end, how many rows it sent, and the keys of those that are locked.';

CREATE FUNCTION apex.refresh_unless_held(relation regclass, key text[]) RETURNS boolean
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'apex_refresh_unless_held';
COMMENT ON FUNCTION apex.refresh_unless_held(regclass, text[]) IS 'apex.refresh that does not wait: false when somebody has locked the row';

CREATE FUNCTION apex.key_texts(key jsonb) RETURNS text[]
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT array_agg(value ORDER BY place) FROM jsonb_array_elements_text(key) WITH ORDINALITY AS each(value, place);
END;
COMMENT ON FUNCTION apex.key_texts(jsonb) IS 'A key of the outbox as the texts that apex.refresh takes';

CREATE FUNCTION apex.rows_estimated(relation regclass) RETURNS bigint
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE WHEN min(c.reltuples) >= 0 THEN sum(c.reltuples)::bigint END
    FROM (SELECT relid FROM pg_partition_tree(rows_estimated.relation) WHERE isleaf UNION SELECT rows_estimated.relation) leaf
    JOIN pg_class c ON c.oid = leaf.relid AND c.relkind = 'r';
END;
COMMENT ON FUNCTION apex.rows_estimated(regclass) IS 'How many rows the table had when it was last analyzed; NULL: never';

CREATE FUNCTION apex.start_backfill(relation regclass, rows_per_second int) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  pipeline text;
BEGIN
  IF rows_per_second < 1 THEN
    PERFORM apex.refuse('22023', format('rows_per_second cannot be %s', rows_per_second), 'It is how many rows a second may be sent.',
                        'Leave it out for as fast as the stores take them.');
  END IF;
  SELECT m.pipeline INTO pipeline FROM apex.mapping m WHERE m.relation = start_backfill.relation AND m.active;
  IF NOT FOUND THEN
    PERFORM apex.refuse('55000', format('table %s is not attached', relation), 'It has no active mapping in apex.mapping.', 'Call apex.attach for it first.');
  END IF;
  DELETE FROM apex.backfill_progress p WHERE p.relation = start_backfill.relation;
  INSERT INTO apex.backfill_progress (relation, pipeline, rows_per_second, rows_expected)
    VALUES (relation, pipeline, rows_per_second, apex.rows_estimated(relation));
END
$$;
COMMENT ON FUNCTION apex.start_backfill(regclass, int) IS 'What apex.backfill does once it has checked who calls';

CREATE FUNCTION apex.backfill(relation regclass, rows_per_second int DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apex_backfill';
COMMENT ON FUNCTION apex.backfill(regclass, int) IS
  'Sends every row of an attached table as it is now, while the table is being written: SELECT apex.backfill(''documents''). The sidecar does it once this has been committed, in pieces, at most so many rows a second; apex.status() shows how far it is. Calling it again begins anew. For the table''s owner and the sidecar''s role. Errors: 42501 no right, 55000 not attached, 22023 a rate below 1.';

CREATE FUNCTION apex.backfill_step(pipeline text, epoch bigint, rows_max int, at timestamptz DEFAULT clock_timestamp(),
                                   OUT rows_sent bigint, OUT wait_ms bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- So many rows may be put aside before those that are held now have been looked at again.
  held_max CONSTANT int := 10000;
  -- A limited rate is kept in pieces of a quarter of a second.
  pieces_per_second CONSTANT int := 4;
  -- When nothing but held rows is left, they are looked at this often.
  held_pause CONSTANT interval := '1 second';
  b apex.backfill_progress;
  piece record;
  held record;
  held_before int;
  looked_at int := 0;
BEGIN
  PERFORM apex.current_pipeline(pipeline, epoch);
  SELECT p.* INTO b FROM apex.backfill_progress p
   WHERE p.pipeline = backfill_step.pipeline AND p.finished_at IS NULL AND EXISTS (SELECT FROM pg_class c WHERE c.oid = p.relation)
   ORDER BY p.next_at, p.started_at, p.relation LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  rows_sent := 0;
  wait_ms := ceil(greatest(extract(epoch FROM b.next_at - at), 0) * 1000);
  IF b.next_at > at THEN
    RETURN;
  END IF;
  -- One that a crash loses takes its rows with it.
  PERFORM set_config('synchronous_commit', 'off', true);
  IF b.rows_per_second IS NOT NULL THEN
    rows_max := least(rows_max, greatest(b.rows_per_second / pieces_per_second, 1));
  END IF;

  SELECT count(*) INTO held_before FROM (SELECT FROM apex.backfill_held h WHERE h.relation = b.relation LIMIT held_max) h;
  IF NOT b.scanned AND held_before < held_max THEN
    SELECT * INTO piece FROM apex.refresh_piece(b.relation, b.part, apex.key_texts(b.after_key), rows_max);
    INSERT INTO apex.backfill_held (relation, key) SELECT b.relation, k FROM unnest(piece.held) k ON CONFLICT DO NOTHING;
    rows_sent := piece.rows_sent;
    looked_at := rows_sent + coalesce(cardinality(piece.held), 0);
    b.part := piece.part;
    b.after_key := piece.key;
    b.scanned := piece.part IS NULL;
  ELSE
    FOR held IN SELECT h.key FROM apex.backfill_held h WHERE h.relation = b.relation ORDER BY h.looked_at LIMIT rows_max LOOP
      IF apex.refresh_unless_held(b.relation, apex.key_texts(held.key)) THEN
        DELETE FROM apex.backfill_held h WHERE h.relation = b.relation AND h.key = held.key;
        rows_sent := rows_sent + 1;
      ELSE
        UPDATE apex.backfill_held h SET looked_at = clock_timestamp() WHERE h.relation = b.relation AND h.key = held.key;
      END IF;
    END LOOP;
    looked_at := rows_sent;
  END IF;

  IF b.scanned AND NOT EXISTS (SELECT FROM apex.backfill_held h WHERE h.relation = b.relation) THEN
    b.finished_at := clock_timestamp();
  END IF;
  b.next_at := CASE WHEN b.rows_per_second IS NOT NULL AND rows_sent > 0 THEN at + rows_sent * interval '1 second' / b.rows_per_second
                    WHEN looked_at = 0 THEN at + held_pause
                    ELSE at END;
  wait_ms := CASE WHEN b.finished_at IS NULL THEN ceil(extract(epoch FROM b.next_at - at) * 1000) ELSE 0 END;
  UPDATE apex.backfill_progress p
     SET rows_sent = p.rows_sent + backfill_step.rows_sent, part = b.part, after_key = b.after_key, scanned = b.scanned,
         next_at = b.next_at, finished_at = b.finished_at
   WHERE p.relation = b.relation;
END
$$;
COMMENT ON FUNCTION apex.backfill_step(text, bigint, int, timestamptz) IS
  'Sends the next rows of a pipeline''s backfills, up to rows_max, and says how many and when to call again. Both NULL: there is no backfill. To be called in a transaction of its own.';

REVOKE ALL ON FUNCTION
  apex.refresh_piece(regclass, oid, text[], int), apex.refresh_unless_held(regclass, text[]), apex.key_texts(jsonb),
  apex.rows_estimated(regclass), apex.start_backfill(regclass, int), apex.backfill_step(text, bigint, int, timestamptz)
FROM PUBLIC;
