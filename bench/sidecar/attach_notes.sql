-- The whole row as JSON under one key.
SELECT apex.attach('notes', cache => apex.cache('note', mode => 'write', entry => 'note:{id}', invalidate => '{}'));
