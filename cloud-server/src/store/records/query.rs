//! SQL for a few rows at a time. (Pushes and pulls move rows in bulk: see `bulk`.)

use sync_core::catalog::{Column, Table};
use sync_core::id::Key;
use sync_core::value::{ColumnType, Value};
use tokio_postgres::types::ToSql;

use crate::store::row::{compared, compared_as, quote, written};

/// A query under construction: every value is bound as text and cast, no value ever stands in the SQL.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) sql: String,
    params: Vec<Param>,
}

#[derive(Debug)]
enum Param {
    One(Option<String>),
    Many(Vec<Option<String>>),
}

impl Query {
    /// Binds a value to compare a column with.
    pub(super) fn bind(&mut self, column: &Column, value: &Value) -> String {
        let text = self.bind_form(&column.ty, value);
        match column.ty {
            ColumnType::Text | ColumnType::Char => compared(column, &text),
            _ => format!("{text}::{}", compared_as(column)),
        }
    }

    /// Binds a value to write into a column.
    pub(super) fn bind_new(&mut self, column: &Column, value: &Value) -> String {
        let text = self.bind_form(&column.ty, value);
        match column.ty {
            ColumnType::Text | ColumnType::Char | ColumnType::Bits | ColumnType::Array(_) => written(column, &text),
            _ => format!("{text}::{}", column.sql_type),
        }
    }

    /// Binds the text from which PostgreSQL reads a value.
    fn bind_form(&mut self, ty: &ColumnType, value: &Value) -> String {
        self.params.push(Param::One((!value.is_null()).then(|| ty.postgres_text(value).into_owned())));
        format!("${}::text", self.params.len())
    }

    /// Binds a value as another type.
    pub(super) fn bind_as(&mut self, value: &Value, sql_type: &str) -> String {
        self.params.push(Param::One(text_of(value)));
        format!("${}::text::{sql_type}", self.params.len())
    }

    /// Binds a text.
    pub(super) fn bind_text(&mut self, text: &str) -> String {
        self.params.push(Param::One(Some(text.to_owned())));
        format!("${}::text", self.params.len())
    }

    /// The condition that these columns of `t` have the values of one of `rows`.
    pub(super) fn any_of(&mut self, columns: &[&Column], rows: &[Vec<Value>]) -> String {
        let mut bind = |at: usize| {
            self.params.push(Param::Many(rows.iter().map(|row| row.get(at).and_then(text_of)).collect()));
            format!("${}::text[]", self.params.len())
        };
        if let [column] = columns {
            return format!("t.{} = ANY ({}{})", quote(&column.name), bind(0), array_cast(column));
        }
        let names: Vec<_> = columns.iter().map(|column| format!("t.{}", quote(&column.name))).collect();
        let arrays: Vec<_> = (0..columns.len()).map(bind).collect();
        let aliases: Vec<_> = (0..columns.len()).map(|at| format!("c{at}")).collect();
        let cast = |(column, alias): (&&Column, &String)| match column.ty {
            ColumnType::Text | ColumnType::Char => compared(column, &format!("u.{alias}")),
            _ => format!("u.{alias}::{}", column.sql_type),
        };
        let casts: Vec<_> = columns.iter().zip(&aliases).map(cast).collect();
        format!("({}) IN (SELECT {} FROM unnest({}) AS u({}))", names.join(", "), casts.join(", "), arrays.join(", "), aliases.join(", "))
    }

    /// The condition that `t` is the row of this key.
    pub(super) fn is_key(&mut self, table: &Table, key: &Key) -> String {
        let columns = table.key_columns().zip(&key.0);
        let conditions: Vec<_> =
            columns.map(|(column, value)| format!("t.{} = {}", quote(&column.name), self.bind(column, value))).collect();
        conditions.join(" AND ")
    }

    /// What the driver takes.
    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params
            .iter()
            .map(|param| match param {
                Param::One(text) => text as &(dyn ToSql + Sync),
                Param::Many(texts) => texts as &(dyn ToSql + Sync),
            })
            .collect()
    }
}

/// Casts an array of texts so that its elements compare with the column and its index serves. `varchar(n)` would cut them.
fn array_cast(column: &Column) -> String {
    match column.ty {
        ColumnType::Text if column.sql_type.starts_with("character varying") => String::new(),
        ColumnType::Char => "::bpchar[]".to_owned(),
        _ => format!("::{}[]", column.sql_type),
    }
}

fn text_of(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_text().into_owned())
}
