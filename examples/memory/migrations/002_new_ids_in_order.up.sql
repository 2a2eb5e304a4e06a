-- From here on new rows get ids in the order of time. Those that exist keep theirs: the world knows them. Changing a default
-- rewrites nothing and locks each table for a moment.
BEGIN;
SET LOCAL lock_timeout = '2s';
ALTER TABLE documents ALTER COLUMN uuid SET DEFAULT uuid7();
ALTER TABLE chunks ALTER COLUMN uuid SET DEFAULT uuid7();
ALTER TABLE structured_data ALTER COLUMN uuid SET DEFAULT uuid7();
COMMIT;
