-- Everything that is not a uuid7 function lives in this schema. Access is granted object by object.
CREATE SCHEMA apex;
COMMENT ON SCHEMA apex IS 'Apex Saga: attaching tables, the outbox, and what the sidecar calls';
GRANT USAGE ON SCHEMA apex TO PUBLIC;
