-- The schema moves: which catalog each copy of a site has, tables whose rows are fed anew, numbers leased to sites.

-- Raised where rows may be gone without a tombstone: the table was made anew under its name, or capture was lost for a while.
ALTER TABLE rejoin.tables ADD COLUMN generation integer NOT NULL DEFAULT 0;

-- The catalog that the replica had when it last spoke; 0: it has not yet.
ALTER TABLE rejoin.replicas ADD COLUMN catalog_version bigint NOT NULL DEFAULT 0;

-- Numbers of a sequence taken by nextval and given to a replica: first, first + step, .. last. answer: the number of the answer that gave
-- them, per replica; a replica that says that it has not got that answer is given them again. 0: the replica has it.
CREATE TABLE rejoin.leases (
    table_no integer NOT NULL,
    column_no integer NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    step bigint NOT NULL,
    replica uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    answer bigint NOT NULL,
    -- Blocks of one stride and residue never overlap: the one that holds a number is the nearest below it.
    low bigint NOT NULL GENERATED ALWAYS AS (least(first, last)) STORED,
    high bigint NOT NULL GENERATED ALWAYS AS (greatest(first, last)) STORED,
    stride numeric NOT NULL GENERATED ALWAYS AS (abs(step::numeric)) STORED,
    residue numeric NOT NULL GENERATED ALWAYS AS (mod(mod(first::numeric, step::numeric) + abs(step::numeric), abs(step::numeric))) STORED,
    PRIMARY KEY (table_no, column_no, first)
);
CREATE INDEX leases_numbers ON rejoin.leases (table_no, column_no, stride, residue, low);
CREATE INDEX leases_replica ON rejoin.leases (replica, answer);

-- What the scopes of a root table are called: the name under which it first was the root, so that RENAME moves no row.
ALTER TABLE rejoin.tables ADD COLUMN scope_name text;
-- The file in which its rows stood when its catalog was published: another one since means that PostgreSQL wrote the table anew.
ALTER TABLE rejoin.tables ADD COLUMN filenode oid;

-- Whether the column stays at the cloud: it looks like a secret, or rejoin.toml says so.
ALTER TABLE rejoin.columns ADD COLUMN left_out boolean NOT NULL DEFAULT false;

-- A declared reference may hold as text what the key is: the key, so that its index is used; NULL for a text that is not the key's own,
-- but a uuid may be in capitals.
CREATE FUNCTION rejoin.as_uuid(held text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN held OPERATOR(pg_catalog.~)
        '^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12})$' THEN held::pg_catalog.uuid END
$$;
CREATE FUNCTION rejoin.as_bigint(held text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN held OPERATOR(pg_catalog.~) '^(0|-?[1-9][0-9]{0,17})$' THEN held::pg_catalog.int8
                WHEN held OPERATOR(pg_catalog.~) '^-?[1-9][0-9]{18}$' THEN
                    CASE WHEN held::pg_catalog.numeric OPERATOR(pg_catalog.>=) -9223372036854775808
                          AND held::pg_catalog.numeric OPERATOR(pg_catalog.<=) 9223372036854775807 THEN held::pg_catalog.int8 END END
$$;
REVOKE EXECUTE ON FUNCTION rejoin.as_uuid, rejoin.as_bigint FROM PUBLIC;

-- Tables that were written while their names had moved on: a migration renamed or dropped a column of a key or scope path, and nobody has
-- looked at the schema since. Their rows carry tick 0, which no pull sends, until they are stamped. rows_gone: some were deleted, or got
-- another key, without a mark.
CREATE TABLE rejoin.drifted (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_no integer NOT NULL,
    rows_gone boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    -- Whether somebody is putting it right: what happens from then on is written down anew.
    claimed boolean NOT NULL DEFAULT false,
    -- Whether the rows have their stamps, while no catalog can be published that would settle the rest.
    stamped boolean NOT NULL DEFAULT false
);

-- Writes it down, once.
CREATE FUNCTION rejoin.drifts(drifted_no integer, gone boolean) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO rejoin.drifted (table_no, rows_gone) SELECT drifted_no, gone
        WHERE NOT EXISTS (SELECT FROM rejoin.drifted d WHERE d.table_no = drifted_no AND (d.rows_gone OR NOT gone) AND NOT d.claimed)
$$;

-- Whether columns differ, whatever they are called by now.
CREATE FUNCTION rejoin.differ(relation oid, attnums smallint[], one jsonb, other jsonb) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum = ANY (attnums)
        AND one -> a.attname::text IS DISTINCT FROM other -> a.attname::text)
$$;
REVOKE EXECUTE ON FUNCTION rejoin.drifts, rejoin.differ FROM PUBLIC;

-- Rows that are still to be fed under the catalog in force, because DDL wrote them anew: all of a table, or those that hold the condition. In
-- batches; whoever is interrupted is followed by the next.
CREATE TABLE rejoin.feeds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_no integer NOT NULL,
    condition text,
    at timestamptz NOT NULL DEFAULT now()
);
-- Where the scopes stood when it began, the catalog being in force: rows with later ticks came under it by themselves.
CREATE TABLE rejoin.feed_heads (
    feed bigint NOT NULL REFERENCES rejoin.feeds ON DELETE CASCADE,
    scope text NOT NULL,
    head bigint NOT NULL,
    PRIMARY KEY (feed, scope)
);

-- Whether a catalog ever had it.
ALTER TABLE rejoin.tables ADD COLUMN published boolean NOT NULL DEFAULT false;
UPDATE rejoin.tables t SET published = true
    WHERE t.no IN (SELECT (c ->> 'no')::integer FROM rejoin.catalogs k, jsonb_array_elements(k.body -> 'tables') c);
-- What in its rows keeps a new table out.
ALTER TABLE rejoin.tables ADD COLUMN obstacle text;

-- The members of partitioned tables, each table among them, as they were seen last. A partition that is gone took its rows along without a
-- mark; the rows of a new one were never stamped for this table. detached_at: it is a table of its own since, and keeps our columns.
CREATE TABLE rejoin.partitions (
    oid oid PRIMARY KEY,
    table_no integer NOT NULL,
    detached_at timestamptz
);

-- What tables (schema.table) and columns were called before, so that rejoin.toml is understood where it still says so.
ALTER TABLE rejoin.tables ADD COLUMN former text[] NOT NULL DEFAULT '{}';
ALTER TABLE rejoin.columns ADD COLUMN former text[] NOT NULL DEFAULT '{}';
-- Whether it stays at the cloud because it looked like a secret, under whatever name it had then.
ALTER TABLE rejoin.columns ADD COLUMN secret boolean NOT NULL DEFAULT false;

-- Somebody outside is told as well that the schema cannot be brought in.
ALTER TABLE rejoin.notices DROP CONSTRAINT notices_kind_check,
    ADD CONSTRAINT notices_kind_check CHECK (kind IN ('conflicts', 'silence', 'back', 'failure', 'schema'));

-- Makes a table fit to be attached as a partition: PostgreSQL asks for the columns that the partitioned table has of ours, and takes none with
-- triggers of ours, should it have been synced by itself. Called by whoever may change the table.
CREATE FUNCTION rejoin.before_attach(newcomer regclass, partitioned regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one record;
    held text;
BEGIN
    FOR one IN SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = newcomer AND NOT t.tgisinternal AND t.tgparentid = 0 AND p.pronamespace = 'rejoin'::regnamespace
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, newcomer);
    END LOOP;
    FOR one IN SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, pg_get_expr(d.adbin, d.adrelid) AS value,
            EXISTS (SELECT FROM pg_attribute n WHERE n.attrelid = newcomer AND n.attname = a.attname AND NOT n.attisdropped) AS there
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = partitioned AND NOT a.attisdropped AND a.attname IN (
            'rejoin_scope', 'rejoin_tick', 'rejoin_version', 'rejoin_updated_at', 'rejoin_modified_by', 'rejoin_synced_at') ORDER BY a.attnum
    LOOP
        held := concat(' DEFAULT ' || one.value, CASE WHEN one.attnotnull THEN ' NOT NULL' END);
        IF NOT one.there THEN
            EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s%s', newcomer, one.attname, one.type, held);
        ELSIF one.attnotnull AND one.value IS NOT NULL THEN
            EXECUTE format('UPDATE %s SET %2$I = %3$s WHERE %2$I IS NULL', newcomer, one.attname, one.value);
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %2$I SET DEFAULT %3$s, ALTER COLUMN %2$I SET NOT NULL', newcomer, one.attname, one.value);
        END IF;
    END LOOP;
END $$;
