-- Writes :documents documents with three chunks and two facts each, with whatever ids the tables give at the time.
WITH written AS (
  INSERT INTO documents (title, source)
  SELECT format('Document %s', i), 'https://example.org/' || i FROM generate_series(1, :documents) AS i RETURNING id
), cut AS (
  INSERT INTO chunks (document_id, content, embedding)
  SELECT id, format('Chunk %s of document %s', n, id), ARRAY(SELECT sin(id * 8 + n + j)::real FROM generate_series(1, 8) AS j)
    FROM written, generate_series(1, 3) AS n
)
INSERT INTO structured_data (document_id, name, value)
SELECT id, name, to_jsonb(id % 100) FROM written, unnest(ARRAY['pages', 'language']) AS name;
