-- What was asked of which document, by far the longest table, one partition a month. The key alone says the month, so rows
-- are found by key and by time with one index, and a month is dropped where it would have to be deleted.
BEGIN;
CREATE TABLE recalls (
  uuid uuid PRIMARY KEY DEFAULT uuid7(),
  document_id bigint NOT NULL,
  question text NOT NULL
) PARTITION BY RANGE (uuid);

-- Ids of other versions, and of months that have no partition. Nearly all ids of version 4 are above every id of this
-- millennium.
CREATE TABLE recalls_other PARTITION OF recalls DEFAULT;

-- Months are those of UTC, as the bounds have to fit whatever the session's TimeZone is. Run it ahead of time: a partition
-- cannot be made for rows that already lie in recalls_other.
CREATE FUNCTION add_recalls_month(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  first timestamp := date_trunc('month', day::timestamp);
BEGIN
  EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF recalls FOR VALUES FROM (%L) TO (%L)', to_char(first, '"recalls_"YYYY_MM'),
                 uuid7_lower_bound(first AT TIME ZONE 'UTC'), uuid7_lower_bound((first + interval '1 month') AT TIME ZONE 'UTC'));
END
$$;
SELECT add_recalls_month(day::date)
  FROM generate_series(now() AT TIME ZONE 'UTC' - interval '2 months', now() AT TIME ZONE 'UTC' + interval '12 months', '1 month') AS day;
COMMIT;
