-- 5 properties, 1 relationship, a vector of 384 dimensions, 2 cache keys.
SELECT apex.attach('authors', graph => apex.graph('Author', properties => ARRAY['name']), backfill => false);
SELECT apex.attach('documents',
  graph  => apex.graph('Document', properties => ARRAY['title', 'source', 'kind', 'words', 'created_at'],
                       relations => ARRAY[apex.relation('AUTHORED_BY', via => 'author_id')]),
  vector => apex.vector('documents', embedding => 'embedding', dimensions => 384, payload => ARRAY['title', 'kind']),
  cache  => apex.cache('document', mode => 'write', entry => 'doc:{id}', ttl => '1 hour', invalidate => ARRAY['doc:{id}:chunks']));
