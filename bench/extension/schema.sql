-- Four tables of one shape: plain has no trigger, handmade has the outbox trigger in PL/pgSQL that one would write by hand,
-- notifying has the same trigger and sends a notification, as one would to wake a reader, and attached is attached. A row is
-- about 500 bytes with 32 floats, and all of it is mapped but `views`.
CREATE EXTENSION apex_saga;

CREATE FUNCTION bench_empty() RETURNS uuid LANGUAGE c VOLATILE PARALLEL SAFE AS :'methods';
CREATE FUNCTION bench_uuid7_unpooled() RETURNS uuid LANGUAGE c VOLATILE PARALLEL SAFE AS :'methods';

CREATE TABLE plain (
  id uuid PRIMARY KEY DEFAULT uuid7(),
  title text NOT NULL,
  source text,
  body text,
  user_id bigint,
  created_at timestamptz,
  embedding real[],
  views int NOT NULL DEFAULT 0
);
CREATE TABLE handmade (LIKE plain INCLUDING ALL);
CREATE TABLE notifying (LIKE plain INCLUDING ALL);
CREATE TABLE attached (LIKE plain INCLUDING ALL);

-- As the extension's outbox: the same columns that matter, the same two indexes.
CREATE TABLE handmade_outbox (
  seq bigserial,
  xid xid8 NOT NULL,
  relation oid NOT NULL,
  op "char" NOT NULL,
  key jsonb NOT NULL,
  before jsonb,
  after jsonb,
  embedding real[],
  captured_at timestamptz NOT NULL
);
CREATE INDEX ON handmade_outbox (seq);
CREATE INDEX ON handmade_outbox (xid, seq);

CREATE FUNCTION handmade_capture() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF (OLD.id, OLD.title, OLD.source, OLD.body, OLD.user_id, OLD.created_at, OLD.embedding)
       IS NOT DISTINCT FROM (NEW.id, NEW.title, NEW.source, NEW.body, NEW.user_id, NEW.created_at, NEW.embedding) THEN
      RETURN NULL;
    END IF;
  END IF;
  INSERT INTO handmade_outbox (xid, relation, op, key, before, after, embedding, captured_at)
  VALUES (pg_current_xact_id(), TG_RELID, CASE TG_OP WHEN 'INSERT' THEN 'I' ELSE 'U' END, jsonb_build_array(NEW.id),
          CASE TG_OP WHEN 'UPDATE' THEN
            jsonb_build_object('id', OLD.id, 'title', OLD.title, 'source', OLD.source, 'body', OLD.body,
                               'user_id', OLD.user_id, 'created_at', OLD.created_at)
          END,
          jsonb_build_object('id', NEW.id, 'title', NEW.title, 'source', NEW.source, 'body', NEW.body,
                             'user_id', NEW.user_id, 'created_at', NEW.created_at),
          NEW.embedding, clock_timestamp());
  RETURN NULL;
END
$$;
CREATE TRIGGER capture AFTER INSERT OR UPDATE ON handmade FOR EACH ROW EXECUTE FUNCTION handmade_capture();

CREATE FUNCTION handmade_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('handmade_outbox', '');
  RETURN NULL;
END
$$;
CREATE TRIGGER capture AFTER INSERT OR UPDATE ON notifying FOR EACH ROW EXECUTE FUNCTION handmade_capture();
CREATE TRIGGER notify AFTER INSERT OR UPDATE ON notifying FOR EACH ROW EXECUTE FUNCTION handmade_notify();

SELECT apex.attach('attached',
  graph => apex.graph('Document', properties => ARRAY['title', 'source', 'user_id']),
  vector => apex.vector('documents', embedding => 'embedding', dimensions => 32,
                        payload => ARRAY['title', 'body', 'user_id', 'created_at']));

-- What the wake-up is measured with: each writer numbers its rows. As wide as the others.
CREATE TABLE pulse (
  writer int,
  n bigint,
  title text,
  source text,
  body text,
  created_at timestamptz,
  embedding real[],
  PRIMARY KEY (writer, n)
);
SELECT apex.attach('pulse',
  vector => apex.vector('pulses', embedding => 'embedding', dimensions => 32,
                        payload => ARRAY['title', 'source', 'body', 'created_at']));

-- Rows that are copied, so that making them costs nothing.
CREATE TABLE stock AS
  SELECT format('Title of document number %s', i) AS title, 'https://example.org/' || i AS source,
         repeat(md5(i::text), 7) || '.' AS body, (i % 1000)::bigint AS user_id,
         timestamptz '2026-01-01' + i * interval '1 second' AS created_at,
         (SELECT array_agg(sin(i * 32 + j)::real) FROM generate_series(1, 32) j) AS embedding
    FROM generate_series(1, :rows) i;

VACUUM (ANALYZE, FREEZE) stock;
