# Makes an upgrade script of its hand-written part and the install source: awk -f upgrade.awk 1.0--1.1.sql 00_schema.sql ...
#
# What the source can say again on a database that has it is taken from there: functions, views and triggers are replaced,
# event triggers made anew, comments and what a dump takes along said anew. Rights are taken from the public where it has some:
# PostgreSQL takes all rights on an object for the extension's own as soon as a script changes one, and a dump would then not
# have those that were given to the sidecar's role. Tables, changed signatures and all that went away are in the
# hand-written part, which is to have this line where everything else comes:
#   -- [the functions of this version]
FNR == 1 { source++ }

source == 1 {
  if ($0 == "-- [the functions of this version]") place = "behind"
  part[place] = part[place] $0 "\n"
  next
}

source > 1 && !inside {
  inside = /^CREATE (FUNCTION|PROCEDURE|VIEW|TRIGGER|EVENT TRIGGER) / || /^(COMMENT ON|REVOKE) / ||
    /^ALTER EVENT TRIGGER / || /^ALTER TABLE .* ENABLE ALWAYS TRIGGER / || /^SELECT pg_catalog.pg_extension_config_dump/
  if (/^CREATE EVENT TRIGGER /) statements = statements "DROP EVENT TRIGGER IF EXISTS " $4 ";\n"
  else sub(/^CREATE/, "CREATE OR REPLACE")
  revoking = inside && /^REVOKE /
}

inside && revoking {
  for (rest = $0; match(rest, /[a-z_0-9.]+\([^()]*\)/); rest = substr(rest, RSTART + RLENGTH))
    closed = closed (closed == "" ? "" : ", ") "'" substr(rest, RSTART, RLENGTH) "'"
  if (/;$/) inside = 0
}

inside && !revoking {
  statements = statements $0 "\n"
  if (gsub(/\$\$/, "&") % 2) quoted = !quoted
  if (/^BEGIN ATOMIC$/) atomic = 1
  if (/^END;$/) atomic = 0
  if (/;$/ && !quoted && !atomic) inside = 0
}

END {
  if (place == "") { print "upgrade.awk: " ARGV[1] " has no line for the functions" > "/dev/stderr"; exit 1 }
  print part[""] statements
  print "DO $$\nDECLARE\n  f regprocedure;\nBEGIN\n  FOR f IN SELECT p.oid FROM pg_proc p WHERE p.oid = ANY (ARRAY[" closed "]::regprocedure[])"
  print "    AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0) LOOP"
  print "    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);\n  END LOOP;\nEND\n$$;\n" part["behind"]
}
