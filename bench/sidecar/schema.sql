-- What `make bench` writes: documents, mapped to every store, and notes, which go to the cache alone.
CREATE EXTENSION apex_saga;

CREATE TABLE authors (id uuid PRIMARY KEY DEFAULT uuid7(), name text NOT NULL);

CREATE TABLE documents (
  id uuid PRIMARY KEY DEFAULT uuid7(),
  title text NOT NULL,
  source text NOT NULL,
  kind text NOT NULL,
  words int NOT NULL,
  created_at timestamptz NOT NULL,
  author_id uuid NOT NULL REFERENCES authors,
  embedding real[] NOT NULL
);

-- About 500 bytes, 32 floats among them.
CREATE TABLE notes (
  id uuid PRIMARY KEY DEFAULT uuid7(),
  title text NOT NULL,
  body text NOT NULL,
  user_id int NOT NULL,
  created_at timestamptz NOT NULL,
  floats real[] NOT NULL
);

-- Values to write, made beforehand so that making them is not what is measured.
CREATE TABLE stock (n int PRIMARY KEY, author uuid NOT NULL DEFAULT uuid7(), embedding real[] NOT NULL, floats real[] NOT NULL);
INSERT INTO stock (n, embedding, floats)
  SELECT n, ARRAY(SELECT (random() - 0.5)::real FROM generate_series(1, 384) WHERE n = n),
         ARRAY(SELECT random()::real FROM generate_series(1, 32) WHERE n = n)
    FROM generate_series(0, 999) n;
INSERT INTO authors (id, name) SELECT author, 'Author number ' || n FROM stock;

CREATE FUNCTION write_documents(first int, count int) RETURNS SETOF uuid
  LANGUAGE sql AS $$
  INSERT INTO documents (title, source, kind, words, created_at, author_id, embedding)
  SELECT 'Title of document number ' || i, 'https://example.org/documents/' || i, 'report', i % 5000, clock_timestamp(),
         s.author, s.embedding
    FROM generate_series(first, first + count - 1) i JOIN stock s ON s.n = i % 1000
  RETURNING id $$;

CREATE FUNCTION write_notes(first int, count int) RETURNS SETOF uuid
  LANGUAGE sql AS $$
  INSERT INTO notes (title, body, user_id, created_at, floats)
  SELECT 'Title of note number ' || i, repeat(md5(i::text), 7), i % 1000, clock_timestamp(), s.floats
    FROM generate_series(first, first + count - 1) i JOIN stock s ON s.n = i % 1000
  RETURNING id $$;
