-- From this commit on every change arrives in the stores, and the rows that were there before are sent too. A document, its
-- chunks and its facts are one aggregate: what one transaction writes of them arrives together or not at all.
BEGIN;
SELECT apex.attach('documents',
  graph => apex.graph('Document', properties => ARRAY['uuid', 'title', 'source']),
  cache => apex.cache(entity => 'document', mode => 'write', entry => 'doc:{uuid}', ttl => '1 hour'),
  backfill => true);
SELECT apex.attach('chunks', aggregate => 'document_id',
  graph => apex.graph('Chunk', properties => ARRAY['uuid'], relations => ARRAY[apex.relation('PART_OF', via => 'document_id')]),
  vector => apex.vector('chunks', embedding => 'embedding', dimensions => 8, payload => ARRAY['uuid', 'document_id', 'content']),
  backfill => true);
SELECT apex.attach('structured_data', aggregate => 'document_id',
  graph => apex.graph('Fact', properties => ARRAY['uuid', 'name', 'value'],
                      relations => ARRAY[apex.relation('STATED_IN', via => 'document_id')]),
  backfill => true);
COMMIT;
