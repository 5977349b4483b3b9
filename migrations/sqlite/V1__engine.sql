-- The engine's own tables at a site. The synced tables, their base_* and theirs_* tables and the capture triggers are generated from the
-- catalog (local-server, store/schema.rs and store/capture.rs).

-- Facts: site, site_name, replica, epoch, cloud_epoch, catalog (version), paused, last_checked_at.
CREATE TABLE rejoin_state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The catalog that the tables were built from, as JSON; one row.
CREATE TABLE rejoin_catalog (
    version INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);

-- The replica's place in each scope it holds. dropping: the cloud no longer grants the scope; its rows go once their edits are in.
CREATE TABLE rejoin_cursors (
    scope TEXT PRIMARY KEY,
    tick INTEGER NOT NULL,
    change_id TEXT NOT NULL,
    mac TEXT NOT NULL,
    dropping INTEGER NOT NULL DEFAULT 0
);

-- The push chain. body: the bytes as sent, and seats: where its rows stand here, in the push's order; both are kept until it is answered.
-- The last answered row stays as the chain's end.
CREATE TABLE rejoin_pushes (
    no INTEGER PRIMARY KEY,
    hash TEXT NOT NULL,
    body BLOB,
    seats BLOB,
    mac TEXT,
    answered INTEGER NOT NULL DEFAULT 0
);

-- Pages of a pull as they arrived, with the window to go on with; bound to cloud epoch, catalog and subscriptions.
-- scopes: a digest of the scopes named. answered: the push that the pull named when it began; all its pages name the same one.
CREATE TABLE rejoin_spool (
    page INTEGER PRIMARY KEY AUTOINCREMENT,
    cloud_epoch TEXT NOT NULL,
    catalog INTEGER NOT NULL,
    scopes TEXT NOT NULL,
    answered BLOB,
    body BLOB NOT NULL
);

-- Resolutions made here that the cloud has not confirmed. push_no: the push that carries it.
CREATE TABLE rejoin_commands (
    conflict TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    push_no INTEGER,
    decided_by TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    refused TEXT
);

-- Edits made while their row's push was clashing, cut against the pushed values: they join the conflict with the next push.
CREATE TABLE rejoin_later (
    table_no INTEGER NOT NULL,
    record_id TEXT NOT NULL,
    body BLOB NOT NULL,
    push_no INTEGER,
    PRIMARY KEY (table_no, record_id)
);

CREATE TABLE rejoin_sessions (
    id TEXT PRIMARY KEY,
    user_name TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);

-- Seed 001's sync_log, and ours from bytes_up on. sent: whether the cloud has this row.
CREATE TABLE sync_log (
    id TEXT PRIMARY KEY,
    sync_direction TEXT NOT NULL CHECK (sync_direction IN ('UPLOAD', 'DOWNLOAD', 'BIDIRECTIONAL')),
    started_at TEXT NOT NULL,
    completed_at TEXT,
    status TEXT NOT NULL CHECK (status IN ('STARTED', 'COMPLETED', 'FAILED', 'PARTIAL')),
    records_synced INTEGER NOT NULL DEFAULT 0,
    conflicts_detected INTEGER NOT NULL DEFAULT 0,
    errors TEXT,
    server_id TEXT,
    created_at TEXT NOT NULL,
    bytes_up INTEGER NOT NULL DEFAULT 0,
    bytes_down INTEGER NOT NULL DEFAULT 0,
    cursors_before TEXT,
    cursors_after TEXT,
    sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX sync_log_recent ON sync_log (started_at DESC, id);
