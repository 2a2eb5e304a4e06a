-- The library is loaded, and with it its settings.
SELECT uuid7() IS NOT NULL AS loaded;

-- apex.traceparent: a W3C trace context, or nothing
SHOW apex.traceparent;
SET apex.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
SHOW apex.traceparent;
SET apex.traceparent = 'hello';
\echo :LAST_ERROR_SQLSTATE
SET apex.traceparent = '';
RESET apex.traceparent;

-- the prefix is reserved: a setting that is not ours is an error, not silence
SET apex.tracparent = 'x';
\echo :LAST_ERROR_SQLSTATE
