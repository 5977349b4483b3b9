//! A database of a site with a catalog, and what it would push.

use std::collections::BTreeMap;

use local_server::daemon::DaemonStatus;
use local_server::store::hidden::{plan, tidy};
use local_server::store::install::install;
use local_server::store::outbox::{self, Pass};
use local_server::store::seats::Seat;
use local_server::store::status::status;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use sync_core::catalog::Catalog;
use sync_core::change::{Op, RowChange};
use sync_core::id::{CloudEpoch, PushNo, ReplicaEpoch, ReplicaId};
use sync_core::wire::message::Speaker;
use uuid::Uuid;

use crate::fixture::build;

pub(crate) struct Site {
    pub(crate) connection: Connection,
    pub(crate) catalog: Catalog,
}

/// What a push says, by the table's number there and the row's number here.
pub(crate) type Pushed = BTreeMap<(u32, i64), RowChange>;

impl Site {
    pub(crate) fn new(catalog: Catalog) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        build(&connection, &catalog);
        connection.execute_batch("INSERT INTO rejoin_state (key, value) VALUES ('site_name', 'venue')").unwrap();
        Self { connection, catalog }
    }

    /// As the sync's own connection is: no triggers, no foreign keys.
    pub(crate) fn sync<T>(&self, job: impl FnOnce(&Connection) -> T) -> T {
        let set = |on| {
            for switch in [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY] {
                self.connection.set_db_config(switch, on).unwrap();
            }
        };
        set(false);
        let result = job(&self.connection);
        set(true);
        result
    }

    pub(crate) fn run(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// Takes another catalog in one transaction.
    pub(crate) fn take(&mut self, change: impl FnOnce(&mut Catalog)) {
        let mut after = self.catalog.clone();
        after.version.0 += 1;
        change(&mut after);
        self.sync(|connection| {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            install(connection, Some(&self.catalog), &after, "venue").unwrap();
            connection.execute_batch("COMMIT").unwrap();
        });
        let check: String = self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        self.catalog = after;
    }

    /// What the status tells of what programs had in the file.
    pub(crate) fn lost(&self) -> Vec<String> {
        let status = status(&self.connection, None, "venue".to_owned(), DaemonStatus::default()).unwrap();
        status.lost_programs.iter().map(|lost| format!("{} {}", lost.kind, lost.name)).collect()
    }

    /// What the site would push now; it stays as it is.
    pub(crate) fn pushed(&self) -> Pushed {
        self.sync(|connection| {
            connection.execute_batch("BEGIN").unwrap();
            let pushed = self.cut();
            connection.execute_batch("ROLLBACK").unwrap();
            pushed
        })
    }

    /// Cuts the next push and leaves it unanswered.
    pub(crate) fn cut(&self) -> Pushed {
        let plan = plan(&self.connection, self.catalog.clone().into()).unwrap();
        let (replica, epoch, cloud_epoch) = (ReplicaId(Uuid::nil()), ReplicaEpoch(Uuid::nil()), CloudEpoch(Uuid::nil()));
        let speaker = Speaker { replica, epoch, cloud_epoch, catalog: self.catalog.version };
        let mut pass = Pass::default();
        let push = outbox::next(&self.connection, &plan, speaker, &mut pass).unwrap();
        assert_eq!(pass.problems, Vec::<String>::new());
        let Some(push) = push else { return Pushed::new() };
        let (push, seats, _) = outbox::sent(&self.connection, PushNo(push.no.0)).unwrap().unwrap();
        let seat = |seat: &Seat| if let Seat::Row(row) = seat { *row } else { panic!("{seat:?}") };
        push.rows.iter().zip(&seats.rows).map(|(row, at)| ((row.table.0, seat(at)), row.clone())).collect()
    }

    pub(crate) fn tidy(&self) {
        self.sync(|connection| {
            let plan = plan(connection, self.catalog.clone().into()).unwrap();
            tidy(connection, &plan).unwrap();
        });
    }

    /// A text that SQL makes; empty for NULL.
    pub(crate) fn text(&self, sql: &str) -> String {
        let value = self.connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0));
        value.unwrap_or_else(|error| panic!("{error}: {sql}")).unwrap_or_default()
    }
}

/// A change in a few words: its key, and each value it gives by column number.
pub(crate) fn words(change: &RowChange) -> String {
    let what = match &change.op {
        Op::Insert(values) => {
            let given = values.iter().filter(|(_, value)| !value.is_null());
            format!("+ {}", given.map(|(no, value)| format!("{no}={}", value.to_text())).collect::<Vec<_>>().join(" "))
        }
        Op::Delete(values) => {
            format!("- {}", values.iter().map(|(no, value)| format!("{no}={}", value.to_text())).collect::<Vec<_>>().join(" "))
        }
        Op::Update(edits) | Op::Rekey(_, edits) => {
            edits.iter().map(|edit| format!("{}:{}>{}", edit.column, edit.base.to_text(), edit.new.to_text())).collect::<Vec<_>>().join(" ")
        }
    };
    format!("{}/{} {what}", change.table, change.key)
}

/// All changes in a few words each.
pub(crate) fn all_words(pushed: &Pushed) -> Vec<String> {
    pushed.values().map(words).collect()
}
