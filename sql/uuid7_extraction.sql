SET TimeZone = 'UTC';
SET DateStyle = 'ISO';

-- uuid7: the vector of RFC 9562, appendix A.6
SELECT uuid7_to_timestamp('017F22E2-79B0-7CC3-98C4-DC0C0C07398F'::uuid),
       uuid7_to_timestamp('017F22E2-79B0-7CC3-98C4-DC0C0C07398F'::uuid) = '2022-02-22 19:22:22+00' AS equal,
       uuid7_to_ms('017F22E2-79B0-7CC3-98C4-DC0C0C07398F');
SELECT left(uuid7('2022-02-22 19:22:22+00')::text, 13);

-- uuid7: extraction from text, in every form that type uuid reads
SELECT form, uuid7_to_timestamp(form) = '2022-02-22 19:22:22+00' AS equal
FROM unnest(ARRAY['017F22E2-79B0-7CC3-98C4-DC0C0C07398F', '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', '017f22e279b07cc398c4dc0c0c07398f',
                  '{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}', '017f-22e2-79b0-7cc3-98c4-dc0c-0c07-398f']) AS form;

-- uuid7: extraction exact to the millisecond, from uuid and from text
SELECT count(*) AS checked,
       count(*) FILTER (WHERE uuid7_to_timestamp(uuid7(at)) <> at) AS wrong_from_uuid,
       count(*) FILTER (WHERE uuid7_to_timestamp(uuid7(at)::text) <> at) AS wrong_from_text,
       count(*) FILTER (WHERE uuid7_to_ms(uuid7(at)) <> extract(epoch FROM at) * 1000) AS wrong_in_ms
FROM (SELECT '1970-01-01 00:00:00+00'::timestamptz + n * interval '25 days 7:13:11.123' AS at FROM generate_series(0, 30000) AS n) AS times;
SELECT count(*) FILTER (WHERE uuid7_to_timestamp(uuid7(at)) <> date_trunc('milliseconds', at)) AS wrong
FROM generate_series('2024-02-29 23:59:59.998+00'::timestamptz, '2024-03-01 00:00:00.002+00', '1 microsecond') AS at;

-- uuid7: epoch boundary and year 10889
SELECT uuid7_to_timestamp('00000000-0000-7000-8000-000000000000'::uuid), uuid7_to_ms('00000000-0000-7000-8000-000000000000');
SELECT uuid7_to_timestamp('ffffffff-ffff-7fff-bfff-ffffffffffff'::uuid), uuid7_to_ms('ffffffff-ffff-7fff-bfff-ffffffffffff');

-- other versions and garbage have no time, and are no error
SELECT id, uuid7_to_timestamp(id) IS NULL AS from_text FROM unnest(ARRAY[
  'c232ab00-9414-11ec-b3c8-9f6bdeced846', '919108f7-52d1-4320-9bac-f847db4148a8', '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', '017f22e2-79b0-7cc3-18c4-dc0c0c07398f', '', 'x', '{}',
  '017f22e2-79b0-7cc3-98c4-dc0c0c07398', '017f22e2-79b0-7cc3-98c4-dc0c0c07398f0', NULL]) AS id;
SELECT uuid7_to_timestamp('919108f7-52d1-4320-9bac-f847db4148a8'::uuid), uuid7_to_ms('919108f7-52d1-4320-9bac-f847db4148a8'),
       uuid7_to_timestamp(NULL::uuid), uuid7_to_ms(NULL);
SELECT uuid7_to_timestamp(repeat('0', 10000000));

-- an index on the time of a key
CREATE TABLE timed (id uuid PRIMARY KEY DEFAULT uuid7());
CREATE INDEX ON timed (uuid7_to_timestamp(id));
INSERT INTO timed SELECT FROM generate_series(1, 10);
SELECT count(*) FROM timed WHERE uuid7_to_timestamp(id) > now() - interval '1 minute';
DROP TABLE timed;
