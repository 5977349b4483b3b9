//! Every limit of the engine, in one place. `docs/PROTOCOL.md` repeats the ones that cross the wire.

use std::time::Duration;

/// Levels of nesting in a JSON column.
pub const JSON_DEPTH_MAX: usize = 32;

/// Bytes of a name in PostgreSQL, and of a value of its type `name`.
pub const NAME_BYTES_MAX: usize = 63;

/// Bytes of one wire message as sent (compressed).
pub const WIRE_BYTES_MAX: usize = 8 << 20;
/// Bytes of one wire message after decompression.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// MessagePack elements in one message, which bounds what decoding allocates.
pub const MESSAGE_ELEMENTS_MAX: usize = 1 << 20;
/// Levels of nesting in one message.
pub const MESSAGE_DEPTH_MAX: usize = 16;
/// Bytes of one string or blob in a message, and so of one column value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Lines of a text that the policy `text` merges; a longer one parks.
pub const MERGE_LINES_MAX: usize = 2_000;

/// Rows in one push.
pub const PUSH_ROWS_MAX: usize = 2_000;
/// Bytes at which a push is cut, before compression.
pub const PUSH_BYTES_MAX: usize = 4 << 20;
/// Decisions in one push: ten thousand travel over several.
pub const PUSH_COMMANDS_MAX: usize = 200;
/// Bytes of a push that decisions may take, and so of one decision with its values.
pub const PUSH_COMMAND_BYTES_MAX: usize = 2 << 20;
/// Rows in one page of a pull.
pub const PAGE_ROWS_MAX: usize = 5_000;
/// Bytes at which a page of a pull is cut, before compression.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// Scopes one site may hold.
pub const SCOPES_MAX: usize = 10_000;
/// Levels from a row to its scope's root, and of cascades.
pub const REFERENCE_DEPTH_MAX: usize = 32;

/// Rows that one decision may delete or change besides its own.
pub const BESIDES_ROWS_MAX: usize = 10_000;
/// How many of them are shown.
pub const BESIDES_SHOWN_MAX: usize = 100;
/// How many declarations that two rows are one are followed from one row to the next.
pub const MERGED_CHAIN_MAX: i32 = 32;

/// Reasons that the outcome of a bulk decision tells.
pub const BULK_REASONS_MAX: usize = 20;
/// Events that a listener may be behind before it is told to look at everything again.
pub const EVENTS_BEHIND_MAX: usize = 256;

/// Tables that are named to somebody who asked for one that is not there.
pub const TABLES_NAMED_MAX: usize = 30;
/// Bytes of one API request body.
pub const BODY_BYTES_MAX: usize = 2 << 20;
/// Bytes of the body of one import (`/api/rejoin/import`), which is one transaction.
pub const IMPORT_BYTES_MAX: usize = 32 << 20;
/// Bytes of the file of one import, which grows to about four times as much in a body.
pub const IMPORT_FILE_BYTES_MAX: usize = 8 << 20;
/// Rows of one import.
pub const IMPORT_ROWS_MAX: usize = 100_000;
/// Rows in one page of an API list.
pub const LIST_ROWS_MAX: usize = 1_000;
/// Bytes of JSON at which a page of conflicts ends, whatever number was asked for: each side of one may be megabytes.
pub const CONFLICT_PAGE_BYTES: usize = 8 << 20;
/// Conflicts that are read at once for such a page.
pub const CONFLICT_PAGE_ROWS: usize = 25;
/// How long a detach waits for programs of ours that have ended and are connected a moment longer.
pub const LEAVING_WAIT: Duration = Duration::from_secs(2);
/// Filters of one list, besides those of its path: SQLite goes about as many conditions deep as there are filters.
pub const FILTERS_MAX: usize = 50;
/// Values with which a list's filter compares one column.
pub const FILTER_VALUES_MAX: usize = 100;
/// Groups of one answer.
pub const GROUPS_MAX: usize = 1_000;
/// Columns by which one answer groups.
pub const GROUPED_COLUMNS_MAX: usize = 8;
/// Figures that one answer shows of each group.
pub const FIGURES_MAX: usize = 20;
/// Names in one `include=`.
pub const INCLUDE_NAMES_MAX: usize = 8;
/// Levels of one `include=`: `comments.author` has two.
pub const INCLUDE_DEPTH_MAX: usize = 2;
/// Rows that are included of what refers to one record.
pub const INCLUDE_ROWS_MAX: usize = 100;
/// Lookups that one answer's `include=` may take.
pub const INCLUDE_LOOKUPS_MAX: usize = 1_000;
/// Rows in one page of an API list where nothing is asked.
pub const LIST_ROWS_DEFAULT: usize = 50;

/// Listeners at a server's `/api/events` at the same time.
pub const EVENT_LISTENERS_MAX: usize = 256;
/// How often a listener hears that the server is there.
pub const EVENT_HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes of a text whose differences a conflict's detail marks; a longer one is shown as it is.
pub const DIFF_BYTES_MAX: usize = 16 << 10;
/// Policies in one trial.
pub const TRIAL_POLICIES_MAX: usize = 100;
/// Conflicts that a trial of policies looks at in one query.
pub const TRIAL_PAGE_ROWS: usize = 200;
/// Examples that a trial of policies names.
pub const TRIAL_EXAMPLES_MAX: usize = 20;

/// Characters of the shortest password.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Bytes of the longest password.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Password hashes computed at the same time; each takes 19 MiB and a core for some tens of milliseconds.
pub const PASSWORD_HASHES_AT_ONCE: usize = 2;
/// Characters of a user's name.
pub const USER_NAME_CHARS_MAX: usize = 63;
/// Characters of an API token's label.
pub const TOKEN_LABEL_CHARS_MAX: usize = 200;
/// Keys of a rate limit at which those that are no longer limited are forgotten.
pub const RATE_KEYS_SWEEP: usize = 10_000;

/// Rows of `sync_log` one site sends in one message.
pub const LOG_ROWS_MAX: usize = 500;
/// Rows of `sync_log` that a site keeps.
pub const LOG_KEPT_MAX: usize = 10_000;
/// How far above the cloud's version a pushed version counts.
pub const VERSION_LEAD_MAX: i64 = 1 << 20;

/// How long one request to the cloud may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the cloud tries a push again whose rows somebody holds, before it defers them.
pub const BUSY_RETRIES_MAX: u32 = 5;

/// How long after its last clash the conflicts of one cause still take the next push's in.
pub const CONFLICT_GROUP_PAUSE: Duration = Duration::from_secs(600);
/// Columns that a group of conflicts names.
pub const GROUP_COLUMNS_MAX: usize = 32;
/// Entries of a row's history that come with a conflict.
pub const CONFLICT_HISTORY_MAX: usize = 20;
/// Conflicts that one transaction of a bulk decision takes at once.
pub const BULK_CHUNK_ROWS: usize = 500;
/// Bytes, as stored, of the images of the conflicts that one transaction of a bulk decision takes at once.
pub const BULK_CHUNK_BYTES: usize = 8 << 20;
/// Conflicts that are decided by one action.
pub const BULK_CONFLICTS_MAX: usize = 200_000;
/// Conflicts that are decided all or none, in one transaction.
pub const BULK_AT_ONCE_MAX: usize = 10_000;

/// Bytes of one value that the history of rows keeps; of a larger one it keeps only the size.
pub const HISTORY_VALUE_BYTES_MAX: usize = 64 << 10;
/// How long the history of rows is kept where nothing else is said.
pub const HISTORY_KEEP_DEFAULT: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often the history is looked through for what is too old.
pub const HISTORY_PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How long the cloud knows which additions it counted and which rows were merged: a push may still name them for as long.
pub const ADDITIONS_KEEP: Duration = Duration::from_secs(400 * 24 * 3600);
/// How long a decision on a conflict can be taken back.
pub const RESOLUTIONS_KEEP: Duration = Duration::from_secs(90 * 24 * 3600);
/// Entries of the history that are removed at once when they are old.
pub const HISTORY_PRUNE_ROWS: usize = 10_000;

/// Numbers of a leased key that a site is given at a time where `rejoin.toml` says nothing.
pub const LEASE_DEFAULT: u32 = 1_000;
/// The most that it may say.
pub const LEASE_MAX: u32 = 100_000;
/// Below which share of that, in percent, a site asks for more.
pub const LEASE_REFILL_PERCENT: u64 = 20;
/// Numbers given out by one answer; a site that needs more asks again.
pub const LEASE_NUMBERS_MAX: usize = 100_000;
/// Columns for which one message asks for numbers.
pub const LEASE_WANTS_MAX: usize = 1_000;

/// Rows that are kept for a time only which one transaction of a site looks at, once they are old.
pub const KEEP_PURGE_ROWS: usize = 2_000;
/// How many such transactions one run makes at most; the next one goes on.
pub const KEEP_PURGE_BATCHES: usize = 500;
/// How often a site looks for such rows.
pub const KEEP_PURGE_EVERY: Duration = Duration::from_secs(600);

/// Writes that may wait for a site's one writer; whoever comes then waits to be let in.
pub const WRITER_QUEUE_MAX: usize = 256;
/// Waiting API writes that a site commits together.
pub const GROUP_COMMIT_MAX: usize = 64;
/// Read-only connections of a site.
pub const READERS_MAX: usize = 4;
/// How long a site waits for another program that holds its database.
pub const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a site looks whether another program has written into its database.
pub const FOREIGN_WRITE_POLL: Duration = Duration::from_millis(500);
/// Bytes of one SQLite value, row or statement at a site.
pub const SQLITE_BYTES_MAX: i32 = 64 << 20;
/// KiB of page cache of each SQLite connection.
pub const SQLITE_CACHE_KIB: i32 = 8 << 10;

/// Events that one process keeps for its slowest listener.
pub const EVENTS_KEPT: usize = 1024;

/// Addresses that notices are sent to.
pub const WEBHOOK_URLS_MAX: usize = 8;
/// Bytes of the shortest secret that notices are signed with.
pub const WEBHOOK_SECRET_BYTES_MIN: usize = 16;
/// Bytes of one notice as it is sent.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 16 << 10;
/// Characters of a reason or error that a notice repeats, or that is kept of a failed attempt.
pub const NOTICE_TEXT_CHARS_MAX: usize = 500;
/// How long one attempt to deliver may take, name lookup and all.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait before the second attempt to deliver; it doubles from attempt to attempt.
pub const WEBHOOK_RETRY_FIRST: Duration = Duration::from_secs(5);
/// The longest wait between two attempts.
pub const WEBHOOK_RETRY_LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// How long after the first attempt a notice is given up.
pub const WEBHOOK_GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Notices that one process takes on at once, and how many of them it sends at the same time.
pub const NOTICES_CLAIMED_MAX: usize = 16;
/// See [`NOTICES_CLAIMED_MAX`].
pub const NOTICES_AT_ONCE: usize = 4;
/// How long the notices that a process took on are its own: longer than all their attempts can take.
pub const NOTICE_LEASE: Duration = Duration::from_secs(120);
/// How often a process looks for notices that are due.
pub const NOTICE_POLL: Duration = Duration::from_secs(5);
/// How long the notice of a new group of conflicts waits for more of them, so that it can tell how many there are.
pub const NOTICE_SETTLE: Duration = Duration::from_secs(10);
/// Catalogs that are kept besides those that some copy of a site still has.
pub const CATALOGS_KEPT: i64 = 200;
/// How often a schema that cannot be brought in, or not whole, is tried again without a change: mending rows moves no schema.
pub const SCHEMA_RETRY: Duration = Duration::from_secs(20);
/// How often the cloud asks whether the schema moved.
pub const SCHEMA_POLL: Duration = Duration::from_secs(2);
/// How long a migration of several statements gets before it is looked at.
pub const SCHEMA_SETTLE: Duration = Duration::from_millis(100);
/// How long a file of settings must stay as it is before it counts: whoever writes it may be in the middle, and its beginning say something else.
pub const SETTINGS_SETTLE: Duration = Duration::from_millis(100);
/// How often it is read while it changes; then it waits for the next look.
pub const SETTINGS_READS_MAX: u32 = 20;
/// How long notices are kept.
pub const NOTICES_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Notices that the API lists.
pub const NOTICES_SHOWN_MAX: i64 = 100;
/// The shortest time between two notices of failed runs of one site.
pub const FAILURE_NOTICE_PAUSE: Duration = Duration::from_secs(60 * 60);
/// After how long a site is silent where nothing is said.
pub const SILENT_AFTER_DEFAULT: Duration = Duration::from_secs(4 * 60 * 60);
/// The shortest time after which a site may be called silent.
pub const SILENT_AFTER_MIN: Duration = Duration::from_secs(60);
/// The longest.
pub const SILENT_AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How often the cloud looks for silent sites.
pub const SILENCE_CHECK_EVERY: Duration = Duration::from_secs(60);
/// After which pause between two looks the cloud itself was away, so that no site could be heard.
pub const CLOUD_AWAY_AFTER: Duration = Duration::from_secs(5 * 60);
/// How long sites have to come back after the cloud was away, before any is called silent.
pub const SILENCE_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long a statement of ours that alters a table waits for its lock: everybody who comes after it waits behind it.
pub const ALTER_LOCK_WAIT: Duration = Duration::from_millis(300);
/// How long it is tried again, with pauses, before that is a failure.
pub const ALTER_PATIENCE: Duration = Duration::from_secs(60);
/// The same for `rejoin attach`, which somebody looks at.
pub const ATTACH_PATIENCE: Duration = Duration::from_secs(60 * 60);
/// How long a batch of rows stamped in one transaction may take before the next one is made smaller.
pub const STAMP_BATCH_TIME: Duration = Duration::from_millis(200);
/// Pages of a table stamped in one transaction: at first, and at most.
pub const STAMP_PAGES_FIRST: i64 = 32;
/// See [`STAMP_PAGES_FIRST`].
pub const STAMP_PAGES_MAX: i64 = 1024;
/// Pages stamped before the space of the old rows is given back to the table; a tenth of it where that is more.
pub const STAMP_VACUUM_PAGES: i64 = 512;
/// Tables of up to so many pages are indexed and closed at once, under a lock of a moment.
pub const SMALL_TABLE_PAGES: i64 = 1024;
/// How long a plan may look at rows: what is not counted by then is said to be so.
pub const PLAN_LOOK_TIME: Duration = Duration::from_secs(5);
/// Rows of which a plan reads the kinds that they refer to.
pub const PLAN_KIND_ROWS_MAX: usize = 10_000;
/// Kinds that a plan shows of one table.
pub const PLAN_KINDS_MAX: usize = 20;
