-- every object of the extension says what it is for
SELECT pg_describe_object(classid, objid, 0) COLLATE "C" AS without_comment
FROM pg_depend
WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'apex_saga')
  AND classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass)
  AND obj_description(objid, classid::regclass::name) IS NULL
ORDER BY 1;

-- functions in SQL and PL/pgSQL pin their search_path, or are bound when they are created
SELECT oid::regprocedure AS without_search_path
FROM pg_proc
WHERE oid IN (SELECT objid FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_proc'::regclass
                AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'apex_saga'))
  AND prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')
  AND prosqlbody IS NULL
  AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search_path=pg_catalog%')
ORDER BY 1;

-- what runs as the owner pins its search_path in any case
SELECT oid::regprocedure AS definer_without_search_path
FROM pg_proc
WHERE prosecdef AND pronamespace = 'apex'::regnamespace
  AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search_path=pg_catalog%')
ORDER BY 1;

-- tables of the extension are closed to everybody
SELECT oid::regclass AS open_to_public
FROM pg_class
WHERE relnamespace = 'apex'::regnamespace AND relkind IN ('r', 'S', 'p')
  AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0)
ORDER BY 1;

-- what everybody may call
SELECT oid::regprocedure AS open_function
FROM pg_proc
WHERE pronamespace = 'apex'::regnamespace
  AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
ORDER BY oid::regprocedure::text COLLATE "C";
