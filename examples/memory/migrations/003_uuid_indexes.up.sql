-- CONCURRENTLY: writers go on while an index is built. A build that was interrupted leaves an index that is kept up but never
-- read; dropping first gets rid of it, and makes this file one that can be run again.
DROP INDEX CONCURRENTLY IF EXISTS documents_uuid_idx;
CREATE UNIQUE INDEX CONCURRENTLY documents_uuid_idx ON documents (uuid);
DROP INDEX CONCURRENTLY IF EXISTS chunks_uuid_idx;
CREATE UNIQUE INDEX CONCURRENTLY chunks_uuid_idx ON chunks (uuid);
DROP INDEX CONCURRENTLY IF EXISTS structured_data_uuid_idx;
CREATE UNIQUE INDEX CONCURRENTLY structured_data_uuid_idx ON structured_data (uuid);
