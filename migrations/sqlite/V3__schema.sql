-- Numbers of identity and serial keys that the cloud has leased to this replica and no row has yet: next, next + step, .. last. Taken by the
-- capture triggers, in the order of no. A row goes with its last number.
CREATE TABLE rejoin_leases (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    table_no INTEGER NOT NULL,
    column_no INTEGER NOT NULL,
    next INTEGER NOT NULL,
    last INTEGER NOT NULL,
    step INTEGER NOT NULL,
    replica TEXT NOT NULL
);
CREATE INDEX leases_of_column ON rejoin_leases (table_no, column_no, no);

-- The schema moves, at a site: what a migration leaves to be done by the pull after it.

-- Tables whose rows are fed anew (the cloud raised their generation): what the next whole pull does not bring is gone.
CREATE TABLE rejoin_generations (
    table_no INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL
);

-- What a migration left open until the feed has come. column_no > 0: the column is NOT NULL, but rows without a value are here still, so
-- its declaration waits; 0: clean rows are held, since they had the values of others in a unique key that is new.
CREATE TABLE rejoin_unsettled (
    table_no INTEGER NOT NULL,
    column_no INTEGER NOT NULL,
    PRIMARY KEY (table_no, column_no)
) WITHOUT ROWID;

-- Columns that base images say nothing of, being older: no delete or mark of deletion asserts them.
CREATE TABLE rejoin_unknown (
    table_no INTEGER NOT NULL,
    rejoin_row INTEGER NOT NULL,
    column_no INTEGER NOT NULL,
    PRIMARY KEY (table_no, rejoin_row, column_no)
) WITHOUT ROWID;

-- Views, triggers and indexes of other programs that a new catalog left without a meaning: gone from the file, their texts kept for whoever
-- made them.
CREATE TABLE rejoin_lost_programs (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    why TEXT NOT NULL,
    at TEXT NOT NULL
) WITHOUT ROWID;
