-- Names in this script mean PostgreSQL's own, whatever somebody has put into the schema that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- pg_upgrade refuses a database that has a column of type regprocedure.
ALTER TABLE apex.mapping ALTER COLUMN handler TYPE text;

ALTER TABLE apex.saga
  ADD COLUMN resolution text CHECK (resolution IN ('reverted', 'called')),
  ADD COLUMN resolution_error text;
DROP FUNCTION apex.resolve(regclass, jsonb, jsonb, jsonb, name, text);

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
CREATE TABLE apex.backfill_held (
  relation regclass NOT NULL REFERENCES apex.backfill_progress ON DELETE CASCADE,
  key jsonb NOT NULL,
  looked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (relation, key)
);
CREATE INDEX ON apex.backfill_held (relation, looked_at);

-- [the functions of this version]

GRANT EXECUTE ON FUNCTION apex.capture() TO PUBLIC;

-- Columns that were renamed under the old version.
UPDATE apex.mapping m SET spec = apex.with_present_names(m.relation, m.spec)
 WHERE m.active AND m.spec <> apex.with_present_names(m.relation, m.spec);
