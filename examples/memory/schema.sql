-- The application as it was before: rows have a number inside and a random UUID (version 4) that the world knows them by.
CREATE TABLE documents (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uuid uuid NOT NULL DEFAULT gen_random_uuid(),
  title text NOT NULL,
  source text
);

CREATE TABLE chunks (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uuid uuid NOT NULL DEFAULT gen_random_uuid(),
  document_id bigint NOT NULL REFERENCES documents ON DELETE CASCADE,
  content text NOT NULL,
  embedding real[]
);
CREATE INDEX chunks_document_id_idx ON chunks (document_id);

CREATE TABLE structured_data (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uuid uuid NOT NULL DEFAULT gen_random_uuid(),
  document_id bigint NOT NULL REFERENCES documents ON DELETE CASCADE,
  name text NOT NULL,
  value jsonb
);
CREATE INDEX structured_data_document_id_idx ON structured_data (document_id);
