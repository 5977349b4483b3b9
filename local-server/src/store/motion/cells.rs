//! What each column of a migrated table is filled from, as SQL over the table before: `l` its live rows, `b` their base images, `t` the
//! newest cloud images. A row that nobody edited gets the same value in all images, so that nobody looks like having edited it.

use rusqlite::Connection;
use sync_core::catalog::{Column, DefaultValue, Table};
use sync_core::id::ColumnNo;

use super::convert::{Converters, differs};
use super::names::Before;
use crate::store::error::Result;
use crate::store::hidden::{free, hide_column, is_hidden, wire};
use crate::store::rows::quoted;
use crate::store::schema;

/// One column and what fills it.
pub(super) struct Cell {
    pub(super) column: Column,
    pub(super) live: String,
    pub(super) base: String,
    pub(super) theirs: String,
    /// Whether a row may be left without a value although the column is NOT NULL.
    pub(super) may_be_null: bool,
    /// Base images of which nothing is known in this column, as a condition on `b`.
    pub(super) unknown: Option<String>,
}

/// What a base row says of a new key's column: of a row inserted here the row's own value, or what is under way to the cloud.
fn made_key(live: &str, base: &str) -> String {
    format!("CASE WHEN b.rejoin_kind <> 'insert' THEN {base} WHEN b.rejoin_push_no IS NULL THEN {live} ELSE coalesce({base}, {live}) END")
}

/// All columns of a migrated table.
#[derive(Default)]
pub(super) struct Cells {
    pub(super) cells: Vec<Cell>,
    /// What is hidden from now on: the number, and the column as it was.
    pub(super) hide: Vec<(ColumnNo, Column)>,
    /// Hidden columns that are not any more.
    pub(super) shown: Vec<ColumnNo>,
    /// Columns whose NOT NULL has to wait.
    pub(super) relaxed: Vec<ColumnNo>,
}

/// A column of the table before, with what unsent edits there are of it.
struct Source<'a> {
    column: &'a Column,
    name: String,
}

impl<'a> Source<'a> {
    fn new(column: &'a Column) -> Self {
        Self { column, name: quoted(&column.name) }
    }

    /// Whether the row has an unsent edit of the column. An insert's value is one, unless the cloud would have made it.
    fn edited(&self, unless: &str) -> String {
        let name = &self.name;
        format!(
            "(l.rejoin_row IS NOT NULL AND (b.rejoin_kind = 'change' AND l.{name} IS NOT b.{name} \
             OR b.rejoin_kind = 'insert' AND l.{name} IS NOT NULL{unless}))"
        )
    }
}

/// A function applied to a column; the column itself where there is none.
fn call(function: Option<&String>, value: &str) -> String {
    function.map_or_else(|| value.to_owned(), |function| format!("{function}({value})"))
}

/// A table being migrated. `old` is as the file has it, with hidden columns.
pub(super) struct Filling<'a> {
    pub(super) connection: &'a Connection,
    pub(super) converters: &'a Converters<'a>,
    pub(super) before: &'a Before,
    pub(super) old: &'a Table,
    pub(super) new: &'a Table,
    /// Where the live rows are copied: columns whose NOT NULL waits already. `None`: SQLite alters the live table, and hidden edits stay.
    pub(super) waiting: Option<&'a [ColumnNo]>,
}

impl Cell {
    /// A column that stays as it is.
    pub(super) fn as_it_is(column: &Column) -> Self {
        let name = quoted(&column.name);
        let (live, base, theirs) = (format!("l.{name}"), format!("b.{name}"), format!("t.{name}"));
        Self { column: column.clone(), live, base, theirs, may_be_null: false, unknown: None }
    }
}

impl Filling<'_> {
    pub(super) fn cells(&self) -> Result<Cells> {
        let mut all = Cells::default();
        let (old, new) = (self.old, self.new);
        let visible = |no: ColumnNo| old.columns.iter().find(|column| column.no == no && !is_hidden(column));
        let mut taken: Vec<ColumnNo> =
            new.columns.iter().chain(old.columns.iter().filter(|column| is_hidden(column))).map(|c| c.no).collect();
        let mut hide = |all: &mut Cells, source: &Source<'_>, when: &str| -> Result<()> {
            if old.engine || !self.any(when)? {
                return Ok(());
            }
            let no = ColumnNo(free(source.column.no.0, &|no| taken.contains(&ColumnNo(no))));
            taken.push(no);
            let name = &source.name;
            all.cells.push(Cell {
                column: hide_column(source.column, no),
                live: format!("CASE WHEN {when} THEN l.{name} END"),
                base: format!("CASE WHEN {when} THEN b.{name} END"),
                theirs: "NULL".to_owned(),
                may_be_null: false,
                unknown: None,
            });
            all.hide.push((no, source.column.clone()));
            tracing::info!(table = new.name, column = source.column.name, "edits that are not sent yet no longer fit this column");
            Ok(())
        };
        for column in &new.columns {
            let source = visible(column.no).map(Source::new);
            let mut cell = match &source {
                None => self.added(column),
                Some(source) if !differs(source.column, column) => self.same(source, column),
                Some(source) => {
                    let (cell, misfit) = self.converted(source, column)?;
                    if !new.key.contains(&column.no) {
                        hide(&mut all, source, &misfit)?;
                    }
                    cell
                }
            };
            for copy in old.columns.iter().filter(|known| is_hidden(known) && wire(known.no) == column.no) {
                if self.waiting.is_none() {
                    all.cells.push(Cell::as_it_is(copy));
                    continue;
                }
                let carried = self.show(&Source::new(copy), source.as_ref(), &mut cell)?;
                all.shown.extend(carried.is_none().then_some(copy.no));
                all.cells.extend(carried);
            }
            all.cells.push(cell);
        }
        for column in old.columns.iter().filter(|column| new.column(wire(column.no)).is_none()) {
            if is_hidden(column) {
                all.cells.push(Cell::as_it_is(column));
                continue;
            }
            let source = Source::new(column);
            let made = match &column.default {
                Some(DefaultValue::Constant(value)) if !value.is_null() => {
                    format!(" AND l.{} IS NOT {}", source.name, schema::literal(value))
                }
                _ => String::new(),
            };
            hide(&mut all, &source, &source.edited(&made))?;
        }
        self.relax(&mut all)?;
        all.cells.sort_by_key(|cell| cell.column.no);
        Ok(all)
    }

    fn same(&self, source: &Source<'_>, column: &Column) -> Cell {
        let name = &source.name;
        // A key that the base did not have, of a row inserted here: the row's own.
        let key = self.new.key.contains(&column.no) && !self.old.key.contains(&column.no);
        let base = if key { made_key(&format!("l.{name}"), &format!("b.{name}")) } else { format!("b.{name}") };
        Cell {
            column: column.clone(),
            live: format!("l.{name}"),
            base,
            theirs: format!("t.{name}"),
            may_be_null: !source.column.not_null
                || source.column.default == Some(DefaultValue::Cloud)
                || self.waiting.is_some_and(|waiting| waiting.contains(&column.no)),
            unknown: None,
        }
    }

    /// The cell, and when a row's edit does not fit.
    fn converted(&self, source: &Source<'_>, column: &Column) -> Result<(Cell, String)> {
        let (function, name) = (self.converters.function(source.column, column)?, &source.name);
        let (live, base) = (format!("{function}(l.{name})"), format!("{function}(b.{name})"));
        let misfit = format!(
            "({} AND (l.{name} IS NOT NULL AND {live} IS NULL OR b.rejoin_kind = 'change' AND l.{name} IS NULL AND {base} IS NULL))",
            source.edited("")
        );
        let (live, base) = match (self.old.engine, self.new.key.contains(&column.no)) {
            (true, _) => (live, base),
            (false, false) => (format!("CASE WHEN {misfit} THEN {base} ELSE {live} END"), base),
            (false, true) if self.old.key.contains(&column.no) => (live, base),
            (false, true) => (live.clone(), made_key(&live, &base)),
        };
        let unknown = format!("b.{name} IS NOT NULL AND {function}(b.{name}) IS NULL");
        let theirs = format!("{function}(t.{name})");
        Ok((Cell { column: column.clone(), live, base, theirs, may_be_null: true, unknown: Some(unknown) }, misfit))
    }

    /// Rows that were here before hold what the cloud says they do; what was made here gets the default.
    fn added(&self, column: &Column) -> Cell {
        let made = column.default.as_ref().and_then(|default| schema::default_sql(column, default)).unwrap_or_else(|| "NULL".to_owned());
        let held = column.added.as_ref().map_or_else(|| "NULL".to_owned(), schema::literal);
        let later = matches!(column.default, Some(DefaultValue::Now | DefaultValue::Uuid | DefaultValue::Cloud));
        let live = match self.old.engine {
            true => held.clone(),
            false => format!("CASE b.rejoin_kind WHEN 'insert' THEN {made} ELSE {held} END"),
        };
        Cell {
            column: column.clone(),
            live,
            base: format!("CASE b.rejoin_kind WHEN 'change' THEN {held} END"),
            theirs: format!("CASE t.rejoin_state WHEN 'live' THEN {held} END"),
            may_be_null: true,
            // What the cloud has made of such a default, only the feed can say.
            unknown: (later && column.added.is_none()).then(|| "1".to_owned()),
        }
    }

    /// Hidden edits that fit the column which is there (again) are edits of it. What has to stay hidden, if anything.
    fn show(&self, copy: &Source<'_>, visible: Option<&Source<'_>>, cell: &mut Cell) -> Result<Option<Cell>> {
        let name = &copy.name;
        let function = if differs(copy.column, &cell.column) { Some(self.converters.function(copy.column, &cell.column)?) } else { None };
        let (live, base) = (call(function.as_ref(), &format!("l.{name}")), call(function.as_ref(), &format!("b.{name}")));
        let edited = copy.edited("");
        let fits = format!("(l.{name} IS NULL OR {live} IS NOT NULL) AND (b.{name} IS NULL OR {base} IS NOT NULL)");
        let other = visible.map(|visible| format!(" AND NOT {}", visible.edited(""))).unwrap_or_default();
        let takes = format!("coalesce({edited} AND {fits}{other}, 0)");
        cell.may_be_null = true;
        cell.live = format!("CASE WHEN {takes} THEN {live} ELSE {} END", cell.live);
        cell.base = format!("CASE WHEN {takes} THEN {base} ELSE {} END", cell.base);
        let stays = format!("{edited} AND NOT {takes}");
        if !self.any(&stays)? {
            return Ok(None);
        }
        Ok(Some(Cell {
            live: format!("CASE WHEN {stays} THEN l.{name} END"),
            base: format!("CASE WHEN {stays} THEN b.{name} END"),
            ..Cell::as_it_is(copy.column)
        }))
    }

    /// Takes NOT NULL off where rows have no value yet.
    fn relax(&self, all: &mut Cells) -> Result<()> {
        if self.waiting.is_none() {
            return Ok(());
        }
        for cell in &mut all.cells {
            let held = cell.column.not_null && cell.column.default != Some(DefaultValue::Cloud) && !self.new.key.contains(&cell.column.no);
            if held && cell.may_be_null && self.any_live(&format!("{} IS NULL", cell.live))? {
                cell.column.not_null = false;
                all.relaxed.push(cell.column.no);
            }
        }
        Ok(())
    }

    fn any(&self, condition: &str) -> Result<bool> {
        let Before { live, base, .. } = self.before;
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {base} b LEFT JOIN {live} l ON l.rejoin_row = b.rejoin_row WHERE {condition})");
        Ok(self.connection.query_row(&sql, [], |row| row.get(0))?)
    }

    fn any_live(&self, condition: &str) -> Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {condition})", self.before.live_rows(self.old));
        Ok(self.connection.query_row(&sql, [], |row| row.get(0))?)
    }
}
