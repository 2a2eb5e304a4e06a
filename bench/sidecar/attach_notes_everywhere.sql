-- Everything there is to a row in small: 2 properties, a vector of 32 dimensions, 1 cache key.
SELECT apex.attach('notes',
  graph  => apex.graph('Note', properties => ARRAY['title', 'user_id']),
  vector => apex.vector('notes', embedding => 'floats', dimensions => 32, payload => ARRAY['title']),
  cache  => apex.cache('note', mode => 'write', entry => 'note:{id}', invalidate => '{}'));
