-- What the quickstart keeps in PostgreSQL, and where each table is to arrive. Nothing else says it a second time: the
-- loader writes plain SQL and knows neither Neo4j nor Qdrant nor Redis.

CREATE EXTENSION apex_saga;

-- Maintainers and sections.
CREATE TABLE entities (
  id   uuid PRIMARY KEY DEFAULT uuid7(),
  kind text NOT NULL CHECK (kind IN ('maintainer', 'section')),
  name text NOT NULL,
  UNIQUE (kind, name)
);

-- Packages. The embedding is an ordinary array: a wrong number of dimensions is for Qdrant to refuse.
CREATE TABLE documents (
  id            uuid PRIMARY KEY DEFAULT uuid7(),
  name          text NOT NULL UNIQUE,
  title         text NOT NULL,
  version       text NOT NULL,
  installed_kb  int,
  section_id    uuid REFERENCES entities,
  maintainer_id uuid REFERENCES entities,
  embedding     real[]
);

-- The paragraphs of their descriptions.
CREATE TABLE chunks (
  id          uuid PRIMARY KEY DEFAULT uuid7(),
  document_id uuid NOT NULL REFERENCES documents,
  place       int NOT NULL,
  body        text NOT NULL,
  embedding   real[],
  UNIQUE (document_id, place)
);

CREATE TABLE depends (
  package_id uuid REFERENCES documents,
  needs_id   uuid REFERENCES documents,
  PRIMARY KEY (package_id, needs_id)
);

SELECT apex.attach('entities',
  graph => apex.graph(label => 'Entity', properties => ARRAY['kind', 'name']));

SELECT apex.attach('documents',
  graph  => apex.graph(label => 'Document', properties => ARRAY['name', 'title', 'version', 'installed_kb'],
                       relations => ARRAY[apex.relation('IN_SECTION', via => 'section_id'),
                                          apex.relation('MAINTAINED_BY', via => 'maintainer_id')]),
  vector => apex.vector(collection => 'documents', embedding => 'embedding', dimensions => 256,
                        distance => 'cosine', payload => ARRAY['name', 'title', 'version']),
  cache  => apex.cache(entity => 'document', mode => 'write', entry => 'doc:{id}', ttl => '1 hour',
                       invalidate => ARRAY['doc:{id}:chunks', 'query:*{id}*', 'search:*{id}*']));

-- A document and its chunks, written in one transaction, are one saga: all of them arrive, or none.
SELECT apex.attach('chunks', aggregate => 'document_id',
  graph  => apex.graph(label => 'Chunk', properties => ARRAY['place'],
                       relations => ARRAY[apex.relation('PART_OF', via => 'document_id')]),
  vector => apex.vector(collection => 'chunks', embedding => 'embedding', dimensions => 256,
                        distance => 'cosine', payload => ARRAY['document_id', 'place', 'body']));

SELECT apex.attach('depends',
  graph => apex.edge('DEPENDS_ON', from_column => 'package_id', to_column => 'needs_id'));
