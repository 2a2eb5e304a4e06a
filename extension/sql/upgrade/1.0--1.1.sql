-- pg_upgrade refuses a database that has a column of type regprocedure.
ALTER TABLE apex.mapping ALTER COLUMN handler TYPE text;

ALTER TABLE apex.saga
  ADD COLUMN resolution text CHECK (resolution IN ('reverted', 'called')),
  ADD COLUMN resolution_error text;
DROP FUNCTION apex.resolve(regclass, jsonb, jsonb, jsonb, name, text);

-- [the functions of this version]

-- Columns that were renamed under the old version.
UPDATE apex.mapping m SET spec = apex.with_present_names(m.relation, m.spec)
 WHERE m.active AND m.spec <> apex.with_present_names(m.relation, m.spec);
