-- The engine's own tables at the cloud. All of them live in the schema rejoin, so that leaving Rejoin is DROP SCHEMA rejoin CASCADE
-- plus the stamp columns. Tables marked "synced" carry the stamps of any synced table and travel to sites by the same feed.

CREATE TYPE rejoin.sync_direction AS ENUM ('UPLOAD', 'DOWNLOAD', 'BIDIRECTIONAL');
CREATE TYPE rejoin.sync_status AS ENUM ('STARTED', 'COMPLETED', 'FAILED', 'PARTIAL');
CREATE TYPE rejoin.conflict_resolution AS ENUM ('PENDING', 'CLOUD_WINS', 'LOCAL_WINS', 'MANUAL');

-- Facts about this database: cloud_epoch, system (the built-in system installed), system_identifier, database_oid.
CREATE TABLE rejoin.state (
    key text PRIMARY KEY,
    value text NOT NULL
);

-- Numbers that survive RENAME: given once, never reused. The oids are evidence for a rename, believed only while
-- system identifier and database oid (rejoin.state) are unchanged.
CREATE TABLE rejoin.tables (
    no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    oid oid NOT NULL,
    -- Its rows must be sent again with the next catalog: the table was made anew under its name.
    feed_again boolean NOT NULL DEFAULT false,
    dropped_at timestamptz
);
CREATE UNIQUE INDEX tables_name ON rejoin.tables (schema_name, table_name) WHERE dropped_at IS NULL;

CREATE TABLE rejoin.columns (
    table_no integer NOT NULL REFERENCES rejoin.tables,
    no integer NOT NULL,
    column_name text NOT NULL,
    attnum smallint NOT NULL,
    dropped_at timestamptz,
    PRIMARY KEY (table_no, no)
);
CREATE UNIQUE INDEX columns_name ON rejoin.columns (table_no, column_name) WHERE dropped_at IS NULL;

-- Every catalog ever published, as canonical JSON.
CREATE TABLE rejoin.catalogs (
    version bigint PRIMARY KEY,
    body jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
);

-- One head per scope. Whoever changes a scope takes its head first; the row lock makes ticks commit-ordered.
CREATE TABLE rejoin.scopes (
    scope text PRIMARY KEY,
    head bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- What each tick was. replica, push_no: the push that made it, if one did. xid: the transaction that made it, while the database is the
-- one where it ran (rejoin.state); only the transaction itself asks.
CREATE TABLE rejoin.ticks (
    scope text NOT NULL,
    tick bigint NOT NULL,
    change_id uuid NOT NULL,
    at timestamptz NOT NULL,
    author text NOT NULL,
    replica uuid,
    push_no bigint,
    xid xid8 DEFAULT pg_current_xact_id(),
    PRIMARY KEY (scope, tick)
);

-- Rows gone from a scope: deleted (a tombstone, with the last image) or moved to another scope (a left mark).
-- key: the key columns' text forms, in key order.
CREATE TABLE rejoin.tombstones (
    scope text NOT NULL,
    table_no integer NOT NULL,
    key text[] NOT NULL,
    tick bigint NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL,
    author text NOT NULL,
    left_scope boolean NOT NULL DEFAULT false,
    image jsonb,
    PRIMARY KEY (scope, table_no, key)
);
CREATE INDEX tombstones_feed ON rejoin.tombstones (scope, tick, table_no, key);
CREATE INDEX tombstones_key ON rejoin.tombstones (table_no, key);

CREATE TABLE rejoin.sites (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    -- Whether the site holds every scope there is and will be ('*').
    all_scopes boolean NOT NULL DEFAULT false,
    key_hash text,
    enrol_hash text,
    enrol_expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    last_seen_at timestamptz
);

-- What a site holds besides global, its own scope and, with all_scopes, everything.
CREATE TABLE rejoin.subscriptions (
    site_id uuid NOT NULL REFERENCES rejoin.sites ON DELETE CASCADE,
    scope text NOT NULL,
    -- Taken from the site: pulls leave the scope out, pushes of edits made before are still taken; the row goes once the site's
    -- replicas have let the scope go.
    dropped_at timestamptz,
    PRIMARY KEY (site_id, scope)
);

CREATE TABLE rejoin.replicas (
    id uuid PRIMARY KEY,
    epoch uuid NOT NULL,
    site_id uuid NOT NULL REFERENCES rejoin.sites ON DELETE CASCADE,
    -- The last push taken.
    last_push bigint NOT NULL DEFAULT 0,
    last_hash text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Pushes with their stored answers (dropped when the replica's next push names them) and the rows answered "exact"
-- (kept until the replica's cursor has passed), both as wire bytes. ticks: {scope: tick} of what the push wrote.
CREATE TABLE rejoin.pushes (
    replica uuid NOT NULL REFERENCES rejoin.replicas ON DELETE CASCADE,
    no bigint NOT NULL,
    hash text NOT NULL,
    answer bytea,
    exact bytea,
    ticks jsonb,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (replica, no)
);

-- Where each replica stood at its last pull.
CREATE TABLE rejoin.cursors (
    replica uuid NOT NULL REFERENCES rejoin.replicas ON DELETE CASCADE,
    scope text NOT NULL,
    tick bigint NOT NULL,
    PRIMARY KEY (replica, scope)
);

-- Synced to every site (scope global), so that sign-in works there offline.
CREATE TABLE rejoin.users (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$'),
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    password_hash text,
    one_time_hash text,
    disabled boolean NOT NULL DEFAULT false
);

-- API tokens, synced like users.
CREATE TABLE rejoin.tokens (
    id text PRIMARY KEY,
    user_name text NOT NULL REFERENCES rejoin.users ON DELETE CASCADE,
    label text NOT NULL,
    secret_hash text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);

-- Sign-ins at the cloud; not synced.
CREATE TABLE rejoin.sessions (
    id text PRIMARY KEY,
    user_name text NOT NULL,
    secret_hash text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- Seed 001's sync_log, and ours from server_id on. A site's runs arrive here; id is made at the site.
CREATE TABLE rejoin.sync_log (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sync_direction rejoin.sync_direction NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    status rejoin.sync_status NOT NULL,
    records_synced integer NOT NULL DEFAULT 0,
    conflicts_detected integer NOT NULL DEFAULT 0,
    errors jsonb,
    server_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    bytes_up bigint NOT NULL DEFAULT 0,
    bytes_down bigint NOT NULL DEFAULT 0,
    cursors_before jsonb,
    cursors_after jsonb
);
CREATE INDEX sync_log_recent ON rejoin.sync_log (started_at DESC, id);

-- Seed 001's sync_conflicts, and ours. Synced: each row belongs to the scope of its site.
CREATE TABLE rejoin.sync_conflicts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    table_name text NOT NULL,
    record_id text NOT NULL,
    cloud_version bigint,
    local_version bigint,
    cloud_data jsonb,
    local_data jsonb,
    cloud_updated_at timestamptz,
    local_updated_at timestamptz,
    resolution rejoin.conflict_resolution NOT NULL DEFAULT 'PENDING',
    resolved_at timestamptz,
    resolved_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- ours
    kind text NOT NULL,
    reason text NOT NULL,
    columns text[] NOT NULL DEFAULT '{}',
    base_data jsonb,
    -- The record id of the cloud's row that stands against the site's: another one than record_id for kind unique.
    cloud_record_id text,
    table_no integer NOT NULL,
    site_id uuid NOT NULL REFERENCES rejoin.sites,
    site_name text NOT NULL,
    replica uuid NOT NULL,
    push_no bigint NOT NULL,
    -- The conflict that this one hangs from: an insert refused because its parent was.
    root_id uuid,
    revision bigint NOT NULL DEFAULT 1,
    held boolean NOT NULL DEFAULT false
);
-- One open conflict per (row, replica): a later clash joins it.
CREATE UNIQUE INDEX sync_conflicts_open ON rejoin.sync_conflicts (table_no, record_id, replica) WHERE resolution = 'PENDING';
CREATE INDEX sync_conflicts_recent ON rejoin.sync_conflicts (created_at DESC, id);

-- Heads and ticks. A transaction has one tick per scope, whoever asks for it: the server, a stamp trigger, a trigger of the user's.
-- Settings, local to the transaction and taken back by ROLLBACK TO together with the heads:
--   rejoin.one   'scope=tick', the last one taken explicitly; while it is empty no stamp counts that a writer brings along, so that rows
--                copied or saved with their stamps are stamped anew. What the stamp triggers' WHEN compares.
--   rejoin.last  'tick@scope', the last one taken by anybody; only a short cut.
--   rejoin.author, rejoin.replica, rejoin.push_no  who writes (empty: the database role).

-- The tick of this transaction in a scope; takes the scope's head if that was not done yet. For functions that fix their search_path.
CREATE FUNCTION rejoin.tick_of(wanted text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    last text := current_setting('rejoin.last', true);
    tick bigint;
BEGIN
    IF last <> '' THEN
        IF substr(last, strpos(last, '@') + 1) = wanted THEN
            RETURN split_part(last, '@', 1)::bigint;
        END IF;
        SELECT t.tick INTO tick FROM rejoin.scopes s JOIN rejoin.ticks t ON t.scope = s.scope AND t.tick = s.head
            WHERE s.scope = wanted AND t.xid = pg_current_xact_id();
    END IF;
    IF tick IS NULL THEN
        INSERT INTO rejoin.scopes AS s (scope, head) VALUES (wanted, 1)
            ON CONFLICT (scope) DO UPDATE SET head = s.head + 1 RETURNING s.head INTO tick;
        INSERT INTO rejoin.ticks (scope, tick, change_id, at, author, replica, push_no)
            VALUES (wanted, tick, gen_random_uuid(), clock_timestamp(), rejoin.author(),
                    nullif(current_setting('rejoin.replica', true), '')::uuid,
                    nullif(current_setting('rejoin.push_no', true), '')::bigint);
    END IF;
    PERFORM set_config('rejoin.last', tick || '@' || wanted, true);
    RETURN tick;
END $$;

-- Who writes: what the server said, else the role that signed in.
CREATE FUNCTION rejoin.author() RETURNS text
LANGUAGE sql STABLE AS $$ SELECT coalesce(nullif(current_setting('rejoin.author', true), ''), session_user::text) $$;

-- Takes a scope's head for a writer that stamps its rows by itself, or for a program that wants its heads in order.
CREATE FUNCTION rejoin.take_one(wanted text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tick bigint := rejoin.tick_of(wanted);
BEGIN
    PERFORM set_config('rejoin.one', wanted || '=' || tick, true);
    RETURN tick;
END $$;

-- Takes several, in ascending order, so that two programs that write the same scopes do not wait for each other in a circle.
CREATE FUNCTION rejoin.take(VARIADIC wanted text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    scope text;
BEGIN
    FOR scope IN SELECT DISTINCT w COLLATE "C" FROM unnest(wanted) w ORDER BY 1 LOOP
        PERFORM rejoin.take_one(scope);
    END LOOP;
END $$;

-- Whether a stamp counts: this transaction writes with stamps of its own, and took this tick for this scope.
CREATE FUNCTION rejoin.counts(scope text, tick bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT current_setting('rejoin.one', true) <> '' AND EXISTS (
        SELECT FROM rejoin.ticks t WHERE t.scope = $1 AND t.tick = $2 AND t.xid = pg_current_xact_id())
$$;

-- A record id as sync-core writes it: the values percent-encoded but for letters, digits and -._~:, joined by commas.
CREATE FUNCTION rejoin.record_id(VARIADIC parts text[]) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg((
        SELECT coalesce(string_agg(CASE WHEN c COLLATE "C" ~ '^[A-Za-z0-9._~:-]$' THEN c
                   ELSE regexp_replace(upper(encode(convert_to(c, 'UTF8'), 'hex')), '(..)', '%\1', 'g') END, '' ORDER BY at), '')
        FROM unnest(string_to_array(part, NULL)) WITH ORDINALITY AS letters(c, at)), ',' ORDER BY n)
    FROM unnest(parts) WITH ORDINALITY AS p(part, n)
$$;

-- Whoever may write a synced table may cause ticks and tombstones, through the triggers and nothing else.
GRANT USAGE ON SCHEMA rejoin TO PUBLIC;
REVOKE EXECUTE ON FUNCTION rejoin.tick_of, rejoin.author, rejoin.counts, rejoin.record_id FROM PUBLIC;
