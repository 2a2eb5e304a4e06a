-- uuid7: v1, v4 and v7 told apart
SELECT name, uuid_version(id::uuid), is_uuid7(id::uuid) AS as_uuid, is_uuid7(id) AS as_text, is_valid_id(id)
FROM (VALUES ('v1', 'c232ab00-9414-11ec-b3c8-9f6bdeced846'), ('v3', '5df41881-3aed-3515-88a7-2f4a814cf09e'),
             ('v4', '919108f7-52d1-4320-9bac-f847db4148a8'), ('v5', '2ed6657d-e927-568b-95e1-2665a8aea6a2'),
             ('v6', '1ec9414c-232a-6b00-b3c8-9f6bdeced846'), ('v7', '017f22e2-79b0-7cc3-98c4-dc0c0c07398f'),
             ('v8', '2489e9ad-2ee2-8e00-8ec9-32d5f69181c0'), ('nil', '00000000-0000-0000-0000-000000000000'),
             ('max', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), ('v7 of another variant', '017f22e2-79b0-7cc3-18c4-dc0c0c07398f'),
             ('v4 of another variant', '919108f7-52d1-4320-dbac-f847db4148a8')) AS known (name, id);

-- uuid7: validation of what was made
SELECT is_uuid7(uuid7()), is_uuid7(uuid7()::text), is_valid_id(uuid7()::text), is_uuid7(gen_random_uuid()), is_valid_id(gen_random_uuid()::text);

-- uuid7: validation of garbage is false, never an error
SELECT garbage, is_uuid7(garbage), is_valid_id(garbage)
FROM unnest(ARRAY['', ' ', 'x', 'not-a-uuid', '{', '{}', '017f22e2', '017f22e2-79b0-7cc3-98c4-dc0c0c07398', '017f22e2-79b0-7cc3-98c4-dc0c0c07398g',
                  '017f22e2-79b0-7cc3-98c4-dc0c0c07398f ', '017f22e2--79b07cc398c4dc0c0c07398f', '{017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
                  '017f22e2-79b0-7cc3-98c4-dc0c0c07398f}', U&'\00e9\4e16\754c']) AS garbage;
SELECT is_uuid7(repeat('a', 1000000)), is_valid_id(repeat('a', 1000000));

-- uuid7: validation agrees with what type uuid reads
SELECT form, is_uuid7(form), is_uuid7(form::uuid)
FROM unnest(ARRAY['017F22E2-79B0-7CC3-98C4-DC0C0C07398F', '017f22e279b07cc398c4dc0c0c07398f', '{017f22e279b07cc398c4dc0c0c07398f}',
                  '017f-22e2-79b0-7cc3-98c4-dc0c-0c07-398f']) AS form;

-- uuid7: validation of NULL is NULL
SELECT is_uuid7(NULL::uuid), is_uuid7(NULL::text), is_uuid7(NULL), is_valid_id(NULL), uuid_version(NULL);

-- a key that takes nothing else
CREATE TABLE strict_keys (id uuid PRIMARY KEY CHECK (is_uuid7(id)));
INSERT INTO strict_keys VALUES (uuid7());
INSERT INTO strict_keys VALUES ('919108f7-52d1-4320-9bac-f847db4148a8');
DROP TABLE strict_keys;
