-- Conflicts in full: groups, policies, history, undo, rows made one, notices. NULL wherever an older row could not have it: a site takes
-- new nullable columns of a synced table without being built anew.

ALTER TABLE rejoin.sync_conflicts
    -- The conflicts of one cause (see rejoin.conflict_groups); those that hang from another one have its group.
    ADD COLUMN group_id uuid,
    -- The policy that decided, where no person did: a loss on record.
    ADD COLUMN policy text,
    ADD COLUMN cloud_modified_by text,
    ADD COLUMN local_modified_by text;
-- The inbox, whatever else was resolved before.
CREATE INDEX sync_conflicts_inbox ON rejoin.sync_conflicts (created_at DESC, id) WHERE resolution = 'PENDING';
CREATE INDEX sync_conflicts_group ON rejoin.sync_conflicts (group_id, id);
CREATE INDEX sync_conflicts_site ON rejoin.sync_conflicts (site_name COLLATE "C", created_at DESC, id);
CREATE INDEX sync_conflicts_record ON rejoin.sync_conflicts (table_name COLLATE "C", record_id COLLATE "C", id);
CREATE INDEX sync_conflicts_root ON rejoin.sync_conflicts (root_id) WHERE root_id IS NOT NULL;

-- One cause: one replica's clashes of one table and kind in one push or in pushes that followed on each other without a pause.
CREATE TABLE rejoin.conflict_groups (
    id uuid PRIMARY KEY,
    site_id uuid NOT NULL REFERENCES rejoin.sites,
    replica uuid NOT NULL,
    table_no integer NOT NULL,
    kind text NOT NULL,
    first_push bigint NOT NULL,
    last_push bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conflict_groups_recent ON rejoin.conflict_groups (created_at DESC, id);
CREATE INDEX conflict_groups_last ON rejoin.conflict_groups (replica, table_no, kind, last_push DESC);

-- What each decision wrote, to take it back: writes is [{"table":no,"record":id,"before":{..}|null,"after":"etag"|null}, ..].
CREATE TABLE rejoin.resolutions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conflict_id uuid NOT NULL,
    -- The conflict's revision after the decision.
    revision bigint NOT NULL,
    resolution rejoin.conflict_resolution NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    writes jsonb NOT NULL,
    -- The conflicts that were decided with it because they hang from it.
    dependents uuid[] NOT NULL DEFAULT '{}',
    undone_at timestamptz
);
CREATE INDEX resolutions_conflict ON rejoin.resolutions (conflict_id, id DESC);

-- What happened to each row: written by statement triggers on the synced tables, pruned by age. key: as in rejoin.tombstones.
-- changes: {"column":[old,new], ..}; of an insert and a delete the row's image, {"column":value, ..}.
CREATE TABLE rejoin.history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_no integer NOT NULL,
    key text[] NOT NULL,
    op text NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    author text NOT NULL,
    -- The push that wrote it, if one did.
    replica uuid,
    push_no bigint,
    changes jsonb NOT NULL
);
CREATE INDEX history_row ON rejoin.history (table_no, key, id DESC);

-- A value over so many bytes is not kept in the history: an object that tells its size takes its place.
CREATE FUNCTION rejoin.bounded_value(value jsonb, bytes integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN pg_column_size(value) > bytes THEN jsonb_build_object('rejoinTooLarge', octet_length(value::text)) ELSE value END
$$;

-- Of an image.
CREATE FUNCTION rejoin.bounded_image(image jsonb, bytes integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_object_agg(e.key, rejoin.bounded_value(e.value, bytes)) FROM jsonb_each(image) e
$$;

-- Of pairs of an old and a new value.
CREATE FUNCTION rejoin.bounded_pairs(pairs jsonb, bytes integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_object_agg(e.key, jsonb_build_array(rejoin.bounded_value(e.value -> 0, bytes), rejoin.bounded_value(e.value -> 1, bytes)))
    FROM jsonb_each(pairs) e
$$;
REVOKE EXECUTE ON FUNCTION rejoin.bounded_value, rejoin.bounded_image, rejoin.bounded_pairs FROM PUBLIC;

-- When each column of the policy newest was last edited, where that is known; the row's own time says too little.
CREATE TABLE rejoin.edit_times (
    table_no integer NOT NULL,
    key text[] NOT NULL,
    column_no integer NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (table_no, key, column_no)
);

-- Additions that were counted.
CREATE TABLE rejoin.additions (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

-- Rows that a person declared to be another one: what still refers to them by a later push refers to that one.
CREATE TABLE rejoin.merged_rows (
    table_no integer NOT NULL,
    key text[] NOT NULL,
    into_key text[] NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_no, key)
);

-- Webhook messages: written with what they tell of, sent afterwards, kept for a while. cause: told once.
CREATE TABLE rejoin.notices (
    id uuid PRIMARY KEY,
    cause text NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('conflicts', 'silence', 'back', 'failure')),
    -- What is known when it is written.
    about jsonb NOT NULL,
    -- The message, composed for the first attempt; every further one sends the same bytes.
    body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Not sent before.
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    first_at timestamptz,
    next_at timestamptz NOT NULL DEFAULT now(),
    -- The receivers that took it, and those that never will.
    accepted_by text[] NOT NULL DEFAULT '{}',
    refused_by text[] NOT NULL DEFAULT '{}',
    delivered_at timestamptz,
    given_up_at timestamptz,
    last_error text
);
CREATE INDEX notices_due ON rejoin.notices (next_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX notices_recent ON rejoin.notices (created_at DESC, id);

-- The last sign of life of a silent site, from when its silence was told of until it is back.
ALTER TABLE rejoin.sites ADD COLUMN silent_since timestamptz;
