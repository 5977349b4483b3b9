-- Conflicts in full, at a site: what capture notes for the policies add and newest, and what is kept of columns and tables that are gone.

-- What was added to columns of the policy add, as operations, oldest first, until the cloud has answered for them. value_before and
-- value_after: the column as it was and became, for whoever captured it in plain SQL; amount: their difference, where the sync wrote it.
-- push_no: the unanswered push that carries it.
CREATE TABLE rejoin_additions (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    table_no INTEGER NOT NULL,
    rejoin_row INTEGER NOT NULL,
    column_no INTEGER NOT NULL,
    value_before,
    value_after,
    amount,
    push_no INTEGER
);
CREATE INDEX additions_of_row ON rejoin_additions (table_no, rejoin_row);

-- When the columns of the policy newest of a dirty row were last changed here, as canonical timestamptz text.
CREATE TABLE rejoin_times (
    table_no INTEGER NOT NULL,
    rejoin_row INTEGER NOT NULL,
    column_no INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (table_no, rejoin_row, column_no)
) WITHOUT ROWID;

-- Columns (column_no > 0) and whole tables (column_no 0) that the cloud no longer has, kept as long as an unsent edit is of them.
-- body: the column or table as the last catalog had it that did, as JSON.
CREATE TABLE rejoin_hidden (
    table_no INTEGER NOT NULL,
    column_no INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (table_no, column_no)
) WITHOUT ROWID;

-- done: the cloud has carried the decision out, and its effect is on its way here.
ALTER TABLE rejoin_commands ADD COLUMN done INTEGER NOT NULL DEFAULT 0;

-- Edits that an answer parked and whose conflict has not arrived by a pull yet: what was pushed, so that no edit is out of sight meanwhile.
CREATE TABLE rejoin_parked (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    conflict TEXT NOT NULL,
    table_no INTEGER NOT NULL,
    record_id TEXT NOT NULL,
    body BLOB NOT NULL
);
