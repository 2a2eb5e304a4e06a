-- pg_upgrade refuses a database that has a column of type regprocedure.
ALTER TABLE apex.mapping ALTER COLUMN handler TYPE text;

-- [the functions of this version]
