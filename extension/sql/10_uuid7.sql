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
