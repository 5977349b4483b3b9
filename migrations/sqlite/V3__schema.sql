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
