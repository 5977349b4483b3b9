//! Brings a site's tables from one catalog to another, in the transaction of [`install`](crate::store::install::install).
//!
//! Tables and columns are matched by number, over any number of catalogs in between. First every table that changes goes out of the way
//! under an interim name, so that names may have been swapped; then each is altered, built anew from the old one, or hidden; then they get
//! their names. `rejoin_row` and its sequence, held rows, base images and notes stay. What a clean row has no value for is empty until the
//! feed brings it: after a new catalog nothing goes up before a pull came down.

mod amounts;
mod aside;
pub(super) mod astray;
mod cells;
mod convert;
mod flight;
mod kind;
pub(super) mod made;
mod names;
mod notes;
pub(super) mod programs;
mod scratch;
mod settle;
mod strays;
mod uniques;

use rusqlite::Connection;
use sync_core::catalog::{Catalog, Column, Table, Travel};
use sync_core::id::{ColumnNo, TableNo};

use self::aside::{Which, rebuilt};
use self::cells::{Cell, Cells, Filling};
use self::convert::Converters;
use self::kind::Kind;
use self::names::Before;
use self::scratch::Renamed;
use super::error::Result;
use super::hidden::{self, Stored, is_hidden, is_hidden_table};
use super::rows::{base_table, live_table, quoted, theirs_table};
use super::{leases, noted, schema};
use crate::fault;

pub(crate) use self::amounts::of as amount;
pub(crate) use self::settle::settle;

/// One table on its way from a catalog to the next.
struct Move<'a> {
    /// As the file has it, with what is hidden.
    old: Table,
    /// As the new catalog has it.
    new: Option<&'a Table>,
    kind: Kind,
    /// Unsent inserts without a value of their own in the new key: they do not come along.
    strays: Vec<i64>,
}

/// The tables' way.
struct Motion<'a> {
    connection: &'a Connection,
    converters: &'a Converters<'a>,
    after: &'a Catalog,
    site: &'a str,
    stored: Stored,
    /// Columns whose NOT NULL waits.
    waiting: Vec<(TableNo, ColumnNo)>,
}

/// Migrates the tables; indexes and triggers are made afterwards.
///
/// # Errors
/// The database.
pub(crate) fn migrate(connection: &Connection, before: &Catalog, after: &Catalog, site: &str) -> Result<()> {
    let converters = Converters::new(connection);
    let stored = hidden::stored(connection)?;
    let extended = hidden::extend(before, &stored);
    let mut moves = Vec::new();
    for old in &extended.tables {
        let new = after.table(old.no);
        let strays = new.map(|new| strays::find(connection, &converters, before, old, new)).transpose()?.flatten();
        let kind = match (new, &strays) {
            (Some(new), Some(_)) => kind::kind((before, old), (after, new)),
            (Some(_), None) => Kind::Anew,
            (None, _) if is_hidden_table(old) => continue,
            (None, _) => Kind::Dropped,
        };
        moves.push(Move { old: old.clone(), new, kind, strays: strays.unwrap_or_default() });
    }
    let waiting = settle::waiting(connection)?;
    let mut motion = Motion { connection, converters: &converters, after, site, stored, waiting };
    let notes = notes::read(connection, &moves)?;
    let flight = flight::begin(connection, &moves)?;
    for (old, new) in moves.iter().filter_map(|one| Some((&one.old, one.new?))).filter(|(old, _)| !old.engine) {
        amounts::follow(connection, old, new)?;
    }
    let moving = moves.iter().any(|one| one.kind != Kind::Kept);
    let programs = moving.then(|| programs::set_aside(connection)).transpose()?;
    if moving {
        programs::drop_ours(connection)?;
        motion.go(&moves)?;
    }
    for table in after.tables.iter().filter(|table| extended.table(table.no).is_none()) {
        schema::tables(after, table, site).iter().try_for_each(|sql| connection.execute_batch(sql))?;
    }
    if let Some(programs) = programs {
        programs.put_back(connection, &renamed(&moves))?;
    }
    for table in &after.tables {
        noted::follow_policies(connection, table)?;
        if let Some(old) = extended.table(table.no) {
            uniques::hold(connection, old, table)?;
            note_generation(connection, old, table)?;
        }
    }
    leases::follow(connection, before, after)?;
    made::note(connection, before, after)?;
    astray::note(connection)?;
    let now = hidden::extended(connection, after)?;
    let now = now.as_ref().unwrap_or(after);
    notes::write(connection, now, &notes)?;
    if let Some(flight) = flight {
        flight.end(connection, now, &notes)?;
    }
    fault::point("migrated");
    Ok(())
}

/// The names that change, as far as programs know them.
fn renamed(moves: &[Move<'_>]) -> Vec<Renamed> {
    let moving = moves.iter().filter(|one| one.kind != Kind::Kept && !is_hidden_table(&one.old));
    let names = |one: &Move<'_>| {
        let column = |column: &Column| one.new.and_then(|new| new.column(column.no)).map(|now| now.name.clone());
        let visible = one.old.columns.iter().filter(|column| !is_hidden(column)).map(|known| (known.name.clone(), column(known)));
        let stamps = stamps(&one.old).into_iter().zip(one.new.map_or_else(|| stamps(&one.old), stamps));
        let columns = visible.chain(stamps.map(|(was, now)| (was.clone(), Some(now.clone()))));
        Renamed {
            from: one.old.sqlite_name(),
            to: one.new.map(Table::sqlite_name),
            columns: columns.filter(|(was, now)| now.as_ref() != Some(was)).collect(),
        }
    };
    moving.map(names).collect()
}

/// The names of a table's stamp columns.
fn stamps(table: &Table) -> [&String; 4] {
    let stamps = &table.stamps;
    [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at]
}

/// Rows of the table may be gone without a tombstone: what the pull after this one does not bring is gone.
fn note_generation(connection: &Connection, old: &Table, new: &Table) -> Result<()> {
    if new.generation > old.generation && new.travel != Travel::Up && !new.engine {
        let sql = "INSERT OR REPLACE INTO rejoin_generations (table_no, generation) VALUES (?1, ?2)";
        connection.execute(sql, (new.no.0, new.generation))?;
    }
    Ok(())
}

impl Motion<'_> {
    fn go(&mut self, moves: &[Move<'_>]) -> Result<()> {
        let moving: Vec<&Move<'_>> = moves.iter().filter(|one| one.kind != Kind::Kept).collect();
        for one in &moving {
            let (place, interim) = (Before::in_place(&one.old), self.place(one));
            if place.live != interim.live {
                self.run(&format!("ALTER TABLE {} RENAME TO {}", place.live, interim.live))?;
            }
            if !one.old.engine {
                self.run(&format!("ALTER TABLE {} RENAME TO {}", place.base, interim.base))?;
                self.run(&format!("ALTER TABLE {} RENAME TO {}", place.theirs, interim.theirs))?;
            }
        }
        for one in &moving {
            tracing::info!(table = one.old.name, "bringing a table to the new catalog: {:?}", one.kind);
            match (one.kind, one.new) {
                (Kind::Altered, Some(new)) => self.alter(&one.old, new)?,
                (Kind::Rebuilt, Some(new)) => {
                    self.set_aside(&one.old, &one.strays)?;
                    self.rebuild(&one.old, new)?;
                }
                (Kind::Anew, Some(new)) => self.begin_anew(&one.old, new)?,
                _ => self.hide(&self.place(one), &one.old)?,
            }
            fault::point("migrate-middle");
        }
        for one in &moving {
            if let Some(new) = one.new {
                self.run(&format!("ALTER TABLE {} RENAME TO {}", Before::interim(one.old.no).live, live_table(new)))?;
            }
        }
        Ok(())
    }

    /// Where a table waits for its turn. One that goes stays under a name that no other one gets: what refers to it goes on naming it, and
    /// means it again once it is back.
    fn place(&self, one: &Move<'_>) -> Before {
        let interim = Before::interim(one.old.no);
        let name = one.old.sqlite_name();
        let is_free = one.new.is_none() && !self.after.tables.iter().any(|table| table.sqlite_name().eq_ignore_ascii_case(&name));
        if is_free { Before { live: Before::in_place(&one.old).live, ..interim } } else { interim }
    }

    fn run(&self, sql: &str) -> Result<()> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Lets SQLite rename and add columns of the live table; the companions, which are small, are built anew.
    fn alter(&mut self, old: &Table, new: &Table) -> Result<()> {
        let before = Before::interim(old.no);
        if !old.engine {
            let cells = self.filling(&before, old, new, None).cells()?;
            self.companions(&before, old, new, &cells)?;
            self.drop_companions(&before)?;
        }
        self.rename_columns(&before, false, old, new)?;
        for column in kind::added(old, new) {
            self.run(&format!("ALTER TABLE {} ADD COLUMN {}", before.live, schema::live_column(new, column)))?;
        }
        self.note_made(&before.live, old, new)
    }

    /// Gives columns their new names, so that SQLite gives them to the foreign keys that refer to them as well. The table as it is then.
    fn rename_columns(&self, before: &Before, companions: bool, old: &Table, new: &Table) -> Result<Table> {
        let mut named = old.clone();
        let taken = |name: &str| {
            let columns = new.columns.iter().map(|column| &column.name);
            columns.chain(stamps(new)).any(|taken| taken.eq_ignore_ascii_case(name))
        };
        let mut wanted = Vec::new();
        for column in named.columns.iter_mut().filter(|column| !is_hidden(column)) {
            let interim = format!("rejoin_interim_{}", column.no);
            let to = match new.column(column.no) {
                Some(now) => now.name.clone(),
                // Another one may get its name.
                None if taken(&column.name) => interim.clone(),
                None => continue,
            };
            if to != column.name {
                wanted.push((std::mem::replace(&mut column.name, to.clone()), interim, to));
            }
        }
        let rename = |holder: &str, wanted: &[(String, String, String)]| {
            let one = |from: &str, to: &str| self.run(&format!("ALTER TABLE {holder} RENAME COLUMN {} TO {}", quoted(from), quoted(to)));
            wanted.iter().try_for_each(|(from, interim, _)| one(from, interim))?;
            wanted.iter().filter(|(_, interim, to)| interim != to).try_for_each(|(_, interim, to)| one(interim, to))
        };
        if companions {
            rename(&before.base, &wanted)?;
            rename(&before.theirs, &wanted)?;
        }
        let moved = stamps(old).into_iter().zip(stamps(new)).enumerate().filter(|(_, (was, now))| was != now);
        wanted.extend(moved.map(|(at, (was, now))| (was.clone(), format!("rejoin_interim_stamp_{at}"), now.clone())));
        named.stamps = new.stamps.clone();
        rename(&before.live, &wanted)?;
        Ok(named)
    }

    fn rebuild(&mut self, old: &Table, new: &Table) -> Result<()> {
        let before = Before::interim(old.no);
        let (was, old) = (old, &self.rename_columns(&before, !old.engine, old, new)?);
        let waiting: Vec<ColumnNo> = self.waiting.iter().filter(|(table, _)| *table == old.no).map(|(_, column)| *column).collect();
        let mut cells = self.filling(&before, old, new, Some(&waiting)).cells()?;
        // One that is gone is told of by the name that it had, also where another one has it now.
        for (_, column) in cells.hide.iter_mut().filter(|(_, column)| new.column(column.no).is_none()) {
            column.name = was.column(column.no).map_or_else(|| column.name.clone(), |known| known.name.clone());
        }
        self.connection.execute("DELETE FROM rejoin_unsettled WHERE table_no = ?1 AND column_no > 0", [old.no.0])?;
        for no in &cells.relaxed {
            settle::wait(self.connection, old.no, *no)?;
        }
        self.companions(&before, old, new, &cells)?;
        self.live(&before, old, new, &cells.cells)?;
        self.note_made(&before.live, old, new)?;
        if !old.engine {
            self.drop_companions(&before)?;
        }
        if is_hidden_table(old) {
            self.connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1 AND column_no = 0", [old.no.0])?;
        }
        Ok(())
    }

    fn filling<'a>(&'a self, before: &'a Before, old: &'a Table, new: &'a Table, waiting: Option<&'a [ColumnNo]>) -> Filling<'a> {
        Filling { connection: self.connection, converters: self.converters, before, old, new, waiting }
    }

    /// Builds the live table from the one before, which goes; it keeps the interim name.
    fn live(&self, before: &Before, old: &Table, new: &Table, cells: &[Cell]) -> Result<()> {
        let made = self.copied(before, old, new, cells, &Which::All)?;
        self.run(&format!("DROP TABLE {live}; ALTER TABLE {made} RENAME TO {live}", live = before.live))
    }

    /// A live table made of the one before, or of some of its rows, and what it is called until it has its name.
    fn copied(&self, before: &Before, old: &Table, new: &Table, cells: &[Cell], which: &Which) -> Result<String> {
        let aside = rebuilt(with(new, cells));
        let made = live_table(&aside);
        self.run(&schema::live(self.after, &aside, self.site))?;
        let mut columns: Vec<(String, String)> = cells.iter().map(|cell| (quoted(&cell.column.name), cell.live.clone())).collect();
        columns.extend(stamps(new).into_iter().zip(stamps(old)).map(|(now, was)| (quoted(now), format!("l.{}", quoted(was)))));
        columns.extend(["rejoin_row", "rejoin_scope", "rejoin_tick", "rejoin_held"].map(|name| (name.to_owned(), format!("l.{name}"))));
        let rows = self.copy(&made, &columns, &format!("{}{}", before.live_rows(old), which.live(before)))?;
        self.keep_sequence(&before.live, &made)?;
        tracing::info!(table = new.name, rows, "built anew for the new catalog");
        Ok(made)
    }

    /// Builds base and theirs from those before.
    fn companions(&mut self, before: &Before, old: &Table, new: &Table, cells: &Cells) -> Result<()> {
        if old.engine {
            return Ok(());
        }
        self.copy_companions(before, old, new, &cells.cells, &Which::All)?;
        for cell in &cells.cells {
            let Some(unknown) = &cell.unknown else { continue };
            let sql = format!(
                "INSERT OR IGNORE INTO rejoin_unknown (table_no, rejoin_row, column_no)
                 SELECT {}, b.rejoin_row, {} FROM {} b WHERE b.rejoin_kind = 'change' AND {unknown}",
                new.no, cell.column.no, before.base
            );
            self.run(&sql)?;
        }
        for no in &cells.shown {
            self.connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1 AND column_no = ?2", (old.no.0, no.0))?;
        }
        for (no, column) in &cells.hide {
            self.store(new.no, *no, column)?;
        }
        Ok(())
    }

    /// Keeps what rows whose insert is under way were given in new columns: its answer says nothing of them, and they are nobody's edit.
    fn note_made(&self, live: &str, old: &Table, new: &Table) -> Result<()> {
        if old.engine {
            return Ok(());
        }
        for column in kind::added(old, new) {
            let (base, name) = (base_table(new), quoted(&column.name));
            self.run(&format!(
                "UPDATE {base} SET {name} = (SELECT l.{name} FROM {live} l WHERE l.rejoin_row = {base}.rejoin_row)
                 WHERE rejoin_kind = 'insert' AND rejoin_push_no IS NOT NULL"
            ))?;
        }
        Ok(())
    }

    fn drop_companions(&self, before: &Before) -> Result<()> {
        self.run(&format!("DROP TABLE {}; DROP TABLE {}", before.base, before.theirs))
    }

    fn copy_companions(&self, before: &Before, old: &Table, new: &Table, cells: &[Cell], which: &Which) -> Result<()> {
        let made = with(new, cells);
        schema::tables(self.after, &made, self.site).iter().skip(1).try_for_each(|sql| self.run(sql))?;
        let columns = |value: &dyn Fn(&Cell) -> String, alias: &str, rest: &[&str]| {
            let own = cells.iter().map(|cell| (quoted(&cell.column.name), value(cell)));
            own.chain(rest.iter().map(|name| ((*name).to_owned(), format!("{alias}.{name}")))).collect::<Vec<_>>()
        };
        // Under another key nothing is remembered of keys that are gone, nor of a row that was made here and removed again, unless it is
        // under way to the cloud.
        let rekeyed = old.key != new.key;
        let named: String =
            cells.iter().filter(|cell| new.key.contains(&cell.column.no)).map(|cell| format!(" AND {} IS NOT NULL", cell.base)).collect();
        let keyed = match rekeyed {
            true => format!(
                " AND (b.rejoin_kind = 'change' OR b.rejoin_kind = 'insert' AND (l.rejoin_row IS NOT NULL OR b.rejoin_push_no IS NOT NULL{named}))"
            ),
            false => String::new(),
        };
        let from = format!("{} b LEFT JOIN {} l ON l.rejoin_row = b.rejoin_row WHERE 1{keyed}{}", before.base, before.live, which.base());
        self.copy(&base_table(&made), &columns(&|cell| cell.base.clone(), "b", &BASE), &from)?;
        let theirs =
            |cell: &Cell| if rekeyed && new.key.contains(&cell.column.no) { key_of_theirs(before, old, cell) } else { cell.theirs.clone() };
        let from = format!("{} t{}", before.theirs, which.theirs());
        self.copy(&theirs_table(&made), &columns(&theirs, "t", &THEIRS), &from)?;
        if new.key.iter().any(|no| old.column(*no).map(|column| &column.ty) != new.column(*no).map(|column| &column.ty)) || rekeyed {
            let (table, key) = (theirs_table(&made), schema::names(new, &new.key));
            let missing: Vec<_> = new.key_columns().map(|column| format!("{} IS NULL", quoted(&column.name))).collect();
            self.run(&format!(
                "DELETE FROM {table} WHERE {} OR rowid NOT IN (SELECT max(rowid) FROM {table} GROUP BY {key})",
                missing.join(" OR ")
            ))?;
        }
        Ok(())
    }

    fn copy(&self, into: &str, columns: &[(String, String)], from: &str) -> Result<usize> {
        let (names, values): (Vec<&str>, Vec<&str>) = columns.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        Ok(self.connection.execute(&format!("INSERT INTO {into} ({}) SELECT {} FROM {from}", names.join(", "), values.join(", ")), [])?)
    }

    /// A row number is never used again.
    fn keep_sequence(&self, from: &str, to: &str) -> Result<()> {
        let name = |quoted: &str| quoted.trim_matches('"').replace("\"\"", "\"");
        let (from, to) = (name(from), name(to));
        self.connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [&to])?;
        self.connection
            .execute("INSERT INTO sqlite_sequence (name, seq) SELECT ?1, seq FROM sqlite_sequence WHERE name = ?2", (&to, &from))?;
        Ok(())
    }
}

/// The columns of a base row that are not the table's own.
const BASE: [&str; 12] = [
    "rejoin_row",
    "rejoin_kind",
    "rejoin_version",
    "rejoin_scope",
    "rejoin_tick",
    "rejoin_synced_at",
    "rejoin_gone_version",
    "rejoin_gone_at",
    "rejoin_gone_by",
    "rejoin_push_no",
    "rejoin_held_conflict",
    "rejoin_held_digest",
];

/// The columns of a cloud image beside a row that are not the table's own.
const THEIRS: [&str; 7] =
    ["rejoin_state", "rejoin_version", "rejoin_updated_at", "rejoin_modified_by", "rejoin_synced_at", "rejoin_scope", "rejoin_tick"];

/// A table with exactly these columns.
fn with(table: &Table, cells: &[Cell]) -> Table {
    Table { columns: cells.iter().map(|cell| cell.column.clone()).collect(), ..table.clone() }
}

/// The new key of a cloud image that has only the old one: that of the row which it is an image of.
fn key_of_theirs(before: &Before, old: &Table, cell: &Cell) -> String {
    let same = |alias: &str| {
        let terms = old.key_columns().map(|column| quoted(&column.name)).map(|name| format!("{alias}.{name} = t.{name}"));
        terms.collect::<Vec<_>>().join(" AND ")
    };
    format!(
        "coalesce({}, (SELECT {} FROM {base} b LEFT JOIN {live} l ON l.rejoin_row = b.rejoin_row WHERE {} AND b.rejoin_kind = 'change'),
             (SELECT {} FROM {live} l LEFT JOIN {base} b ON b.rejoin_row = l.rejoin_row WHERE {}))",
        cell.theirs,
        cell.base,
        same("b"),
        cell.live,
        same("l"),
        base = before.base,
        live = before.live
    )
}
