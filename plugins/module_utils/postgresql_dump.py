# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What psql is told, to count, to dump and to empty an app's database."""

from __future__ import annotations

#: Tables of the app's own: those of an extension are the extension's, and other sessions' temporary ones nobody's.
_TABLES = """\
pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema' AND NOT EXISTS
  (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"""
#: One line for each table: its name and how many rows it has.
COUNT = f"""\
SELECT format('SELECT %L, count(*) FROM %I.%I', nspname || '.' || relname, nspname, relname)
FROM {_TABLES} ORDER BY 1 \\gexec
"""
#: How many tables there are.
TABLES = f"SELECT count(*) FROM {_TABLES};\n"
#: About how many bytes a dump takes: indexes are made anew and are in none.
SIZE = f"SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM {_TABLES};\n"
#: One transaction counts and lends its view of the data to pg_dump, so that both see the same rows.
DUMP = f"""\
\\set QUIET on
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot() AS snapshot \\gset
\\setenv SNAPSHOT :snapshot
\\! pg_dump -Fc --compress=$COMPRESS --no-owner --no-acl --snapshot=$SNAPSHOT --file="$TARGET" && echo dumped
{COUNT}COMMIT;
"""
#: Everything of the app's own; extensions and what belongs to them stay. What is there is listed before the first of it
#: goes, since much of it goes together with something else.
EMPTY = """\
DO $$
DECLARE
  whole text[] := ARRAY(
    SELECT format('SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_namespace n
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema') AND NOT EXISTS
    (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
    UNION ALL SELECT format('PUBLICATION IF EXISTS %I', pubname) FROM pg_publication);
  public text[] := ARRAY(
    SELECT format('%s IF EXISTS %s CASCADE', CASE o.type WHEN 'composite type' THEN 'TYPE'
      WHEN 'statistics object' THEN 'STATISTICS' WHEN 'function' THEN 'ROUTINE' WHEN 'procedure' THEN 'ROUTINE'
      WHEN 'aggregate' THEN 'ROUTINE' ELSE upper(o.type) END, o.identity)
    FROM pg_depend s, pg_identify_object(s.classid, s.objid, 0) o
    WHERE s.refclassid = 'pg_namespace'::regclass AND s.refobjid = 'public'::regnamespace AND s.deptype = 'n'
    AND s.classid <> 'pg_extension'::regclass
    AND NOT EXISTS
    (SELECT FROM pg_depend d WHERE d.classid = s.classid AND d.objid = s.objid AND d.objsubid = 0
      AND d.deptype IN ('e', 'i')));
  words text;
BEGIN
  FOREACH words IN ARRAY whole || public LOOP
    EXECUTE 'DROP ' || words;
  END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
END $$;
"""
