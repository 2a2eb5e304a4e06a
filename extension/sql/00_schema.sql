-- Names in this script mean PostgreSQL's own, whatever somebody has put into the schema that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Everything that is not a uuid7 function lives in this schema. Access is granted object by object.
CREATE SCHEMA apex;
COMMENT ON SCHEMA apex IS 'Apex Saga: attaching tables, the outbox, and what the sidecar calls';
GRANT USAGE ON SCHEMA apex TO PUBLIC;
