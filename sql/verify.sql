-- What `apex verify` reads: rows as their events hold them, page by page and by key, without a lock or an event.
CREATE SCHEMA verify_test;
SET search_path = verify_test, public;
\pset null '~'

CREATE TABLE item (id int PRIMARY KEY, name text, secret text, embedding real[]);
CREATE TABLE parted (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
SELECT apex.attach('item', apex.graph('Item', ARRAY['name']), apex.vector('verify_items', 'embedding', 2), pipeline => 'verify_test');
SELECT apex.attach('parted', apex.graph('Parted'), pipeline => 'verify_test');
INSERT INTO item VALUES (1, 'one', 'x', '{1,2}'), (2, NULL, 'y', NULL), (3, 'three', 'z', '{3,4}');
INSERT INTO parted SELECT n, date '2022-01-01' + n * 200 FROM generate_series(1, 3) n;
ALTER TABLE item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- As capture wrote them.
SELECT p.key, p.image, p.embedding, p.error, p.image = o.after AND p.embedding IS NOT DISTINCT FROM o.embedding AS as_captured
  FROM apex.verify_page('item', NULL, NULL, 10) p
  JOIN apex.outbox o ON o.relation = 'item'::regclass AND o.key = p.key ORDER BY p.key;

-- Page by page.
SELECT p.key FROM apex.verify_page('item', NULL, NULL, 2) p;
SELECT p.key FROM apex.verify_page('item', 'item'::regclass, '[2]', 2) p;
SELECT count(*) FROM apex.verify_page('item', 'item'::regclass, '[3]', 2) p;
SELECT p.at_part::regclass, p.key FROM apex.verify_page('parted', NULL, NULL, 2) p;
SELECT p.at_part::regclass, p.key FROM apex.verify_page('parted', 'parted_2'::regclass, '[2, "2023-02-05"]', 2) p;

-- By key; what is no key of the table is no row.
SELECT r.key, r.image FROM apex.verify_rows('item', '[[3], [9], ["none"], [1, 2], [1]]') r;
SELECT r.key FROM apex.verify_rows('parted', '[[2, "2023-02-05"], [2, "2022-02-05"]]') r;

-- Another stamp once the row has been changed, even if changed back.
SELECT r.stamp FROM apex.verify_rows('item', '[[1]]') r \gset
SELECT r.stamp = :'stamp' AS same FROM apex.verify_rows('item', '[[1]]') r;
UPDATE item SET name = 'one' WHERE id = 1;
SELECT r.stamp = :'stamp' AS same FROM apex.verify_rows('item', '[[1]]') r;

-- Sending rows again: nothing waits, a row that is not there is a delete.
SELECT max(seq) AS before FROM apex.outbox \gset
SELECT * FROM apex.refresh_rows('item', '[[1], [7], ["none"]]');
SELECT op, key, after FROM apex.outbox WHERE seq > :before AND relation = 'item'::regclass ORDER BY seq;

-- For the sidecar's role, which still has no right on the table, and for nobody else.
CREATE ROLE regress_apex_sidecar;
CREATE ROLE regress_apex_user;
GRANT USAGE ON SCHEMA verify_test TO regress_apex_sidecar, regress_apex_user;
SELECT apex.grant_sidecar('regress_apex_sidecar');
SET ROLE regress_apex_sidecar;
SELECT count(*) FROM apex.verify_page('item', NULL, NULL, 10);
SELECT count(*) FROM apex.verify_rows('item', '[[1]]');
SELECT count(*) FROM apex.refresh_rows('item', '[[1]]');
SELECT count(*) FROM apex.read_rows('item', NULL, NULL, 10);
SELECT count(*) FROM item;
SET ROLE regress_apex_user;
SELECT count(*) FROM apex.verify_page('item', NULL, NULL, 10);
SELECT count(*) FROM apex.verify_rows('item', '[[1]]');
SELECT count(*) FROM apex.refresh_rows('item', '[[1]]');
RESET ROLE;

DROP OWNED BY regress_apex_sidecar;
DROP OWNED BY regress_apex_user;
DROP ROLE regress_apex_sidecar, regress_apex_user;
SELECT apex.detach(t) FROM unnest(ARRAY['item', 'parted']::regclass[]) t;
DELETE FROM apex.pipeline WHERE name = 'verify_test';
SET client_min_messages = warning;
DROP SCHEMA verify_test CASCADE;
