-- What is said here holds with preload and without.

-- apex.arm: true, and a worker of this database runs from then on
SELECT apex.arm();
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'apex_saga wake-up' AND datname = current_database();

-- apex.arm: again, in a transaction and in a read-only one, with the same worker
SELECT pid AS worker FROM pg_stat_activity WHERE backend_type = 'apex_saga wake-up' AND datname = current_database() \gset
BEGIN READ ONLY;
SELECT apex.arm();
ROLLBACK;
SELECT count(*) = 1 AS same FROM pg_stat_activity WHERE pid = :worker AND backend_type = 'apex_saga wake-up';

-- apex.arm: a terminated worker is replaced by the next one who arms
SELECT pg_terminate_backend(:worker, 5000);
SELECT apex.arm();
SELECT pid <> :worker AS another FROM pg_stat_activity WHERE backend_type = 'apex_saga wake-up' AND datname = current_database();

-- apex.arm: not for everybody
CREATE ROLE regress_apex_nobody;
SET ROLE regress_apex_nobody;
SELECT apex.arm();
RESET ROLE;
DROP ROLE regress_apex_nobody;

-- the worker stays while the session that armed it is connected, and leaves after it: DROP DATABASE is not in its way
SELECT current_database() AS main \gset
CREATE DATABASE regress_apex_other;
\c regress_apex_other
SET client_min_messages = warning;
CREATE EXTENSION apex_saga;
RESET client_min_messages;
SELECT apex.arm();
-- Longer than a worker stays for nobody.
SELECT pg_sleep(3.5);
SELECT count(*) AS still_there FROM pg_stat_activity WHERE backend_type = 'apex_saga wake-up' AND datname = current_database();
\c :main
DROP DATABASE regress_apex_other;

-- the extension dropped and created again while the worker runs; DROP DATABASE ... WITH (FORCE) ends the worker at once
CREATE DATABASE regress_apex_other;
\c regress_apex_other
SET client_min_messages = warning;
CREATE EXTENSION apex_saga;
SELECT apex.arm();
DROP EXTENSION apex_saga CASCADE;
CREATE EXTENSION apex_saga;
SELECT apex.arm();
\c :main
DROP DATABASE regress_apex_other WITH (FORCE);
