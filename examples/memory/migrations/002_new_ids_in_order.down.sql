-- Ids of version 7 that were given out stay: type and index are the same.
BEGIN;
SET LOCAL lock_timeout = '2s';
ALTER TABLE documents ALTER COLUMN uuid SET DEFAULT gen_random_uuid();
ALTER TABLE chunks ALTER COLUMN uuid SET DEFAULT gen_random_uuid();
ALTER TABLE structured_data ALTER COLUMN uuid SET DEFAULT gen_random_uuid();
COMMIT;
