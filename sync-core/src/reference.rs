//! What a row refers to, asked in one way for foreign keys and for references that only `rejoin.toml` declares: those may be for rows of one
//! kind only, and may hold as text what the key of the row referred to is.

use std::borrow::Cow;

use crate::catalog::{Column, Reference, Table};
use crate::id::{ColumnNo, Key};
use crate::value::{ColumnType, Value};

impl Reference {
    /// The columns that decide what a row refers to by this reference: that of its kind, where only rows of one kind refer by it, and the
    /// referring ones.
    pub fn deciding(&self) -> impl Iterator<Item = ColumnNo> + '_ {
        self.when.iter().map(|(column, _)| *column).chain(self.columns.iter().copied())
    }

    /// The key of the row of `target` that has these values of the target columns; `None` where the reference goes by other columns than the key's.
    #[must_use]
    pub fn key(&self, target: &Table, values: &[Value]) -> Option<Key> {
        let value = |no: &ColumnNo| self.target.iter().position(|own| own == no).and_then(|at| values.get(at)).cloned();
        let fits = self.target.len() == target.key.len();
        target.key.iter().filter(|_| fits).map(value).collect::<Option<Vec<_>>>().filter(|key| key.len() == target.key.len()).map(Key)
    }
}

impl Table {
    /// What a row given as the values of `columns` refers to by a reference: the values of the reference's target columns. `None` where it
    /// refers to nothing by it: a NULL, another kind than the reference is for, or a text that is no such key.
    #[must_use]
    pub fn referred(&self, reference: &Reference, target: &Table, row: &[Value]) -> Option<Vec<Value>> {
        self.referred_by(reference, target, |no| self.position(no).and_then(|at| row.get(at)).map(Cow::Borrowed))
    }

    /// As [`Table::referred`], of a row of which only some values are known: `value` is asked for those of single columns. `None` too where one
    /// that decides is not known.
    pub fn referred_by<'v>(
        &self,
        reference: &Reference,
        target: &Table,
        value: impl Fn(ColumnNo) -> Option<Cow<'v, Value>>,
    ) -> Option<Vec<Value>> {
        if let Some((column, wanted)) = &reference.when
            && value(*column)?.as_ref() != wanted
        {
            return None;
        }
        let pairs = reference.columns.iter().zip(&reference.target);
        let values = pairs.map(|(column, wanted)| {
            let value = value(*column).filter(|value| !value.is_null())?;
            if reference.declared { key_value(self.column(*column)?, target.column(*wanted)?, value) } else { Some(value.into_owned()) }
        });
        values.collect()
    }

    /// Whether a row given as the values of `columns` means to refer to something by a reference, be it there or not: it is of the kind, and none of
    /// the referring columns is NULL.
    #[must_use]
    pub fn refers(&self, reference: &Reference, row: &[Value]) -> bool {
        let value = |no: ColumnNo| self.position(no).and_then(|at| row.get(at)).filter(|value| !value.is_null());
        let of_kind = reference.when.as_ref().is_none_or(|(column, wanted)| value(*column) == Some(wanted));
        of_kind && reference.columns.iter().all(|no| value(*no).is_some())
    }

    /// What rows refer to a row of this table by, given as the values of `columns`: its values of the reference's target columns. `None` where
    /// one is NULL: nothing can refer to it by this reference.
    #[must_use]
    pub fn named_by(&self, reference: &Reference, row: &[Value]) -> Option<Vec<Value>> {
        let value = |no: &ColumnNo| self.position(*no).and_then(|at| row.get(at)).filter(|value| !value.is_null()).cloned();
        reference.target.iter().map(value).collect()
    }

    /// What a row of this table holds in the reference's columns, in their order, where it refers to a row of `target` with these values of the
    /// target columns: the other way round of [`Table::referred`].
    #[must_use]
    pub fn referring(&self, reference: &Reference, target: &Table, values: &[Value]) -> Vec<Value> {
        let columns = reference.columns.iter().zip(&reference.target).zip(values);
        let held = columns.map(|((own, wanted), value)| match (self.column(*own), target.column(*wanted)) {
            (Some(own), Some(wanted)) if reference.declared && is_text_of(own, wanted) && !value.is_null() => {
                Value::Text(value.to_text().into_owned())
            }
            _ => value.clone(),
        });
        held.collect()
    }

    /// As [`Table::referring`], in every form that counts: a uuid in text is spelt in small letters or in capitals.
    #[must_use]
    pub fn spellings(&self, reference: &Reference, target: &Table, values: &[Value]) -> Vec<Vec<Value>> {
        let small = self.referring(reference, target, values);
        let capitals = small.iter().zip(values).map(|(held, value)| match (held, value) {
            (Value::Text(text), Value::Uuid(_)) => Value::Text(text.to_uppercase()),
            _ => held.clone(),
        });
        let capitals: Vec<Value> = capitals.collect();
        if capitals == small { vec![small] } else { vec![small, capitals] }
    }

    /// Lets a row given as the values of `columns` refer to a row of `target` with these values of the target columns. Its kind stays.
    pub fn refer(&self, reference: &Reference, target: &Table, row: &mut [Value], values: &[Value]) {
        for (no, value) in reference.columns.iter().zip(self.referring(reference, target, values)) {
            if let Some(place) = self.position(*no).and_then(|at| row.get_mut(at)) {
                *place = value;
            }
        }
    }
}

/// Whether a column holds as text what the column of the key has a type of its own for.
#[must_use]
pub fn is_text_of(own: &Column, target: &Column) -> bool {
    own.ty == ColumnType::Text && target.ty != ColumnType::Text
}

/// Whether a reference between these columns is one whatever the case of its letters: both are `citext`.
#[must_use]
pub fn ignores_case(own: &Column, target: &Column) -> bool {
    own.is_citext() && target.is_citext()
}

/// The referring columns, each with the one of `target` that it refers to.
pub fn pairs<'a>(table: &'a Table, reference: &'a Reference, target: &'a Table) -> impl Iterator<Item = (&'a Column, &'a Column)> {
    let pairs = reference.columns.iter().zip(&reference.target);
    pairs.filter_map(|(own, wanted)| Some((table.column(*own)?, target.column(*wanted)?)))
}

/// The value of the target's type that a declared reference holds; a text counts only in the very form that the key's text has, but that of a uuid
/// may be in capitals.
fn key_value(own: &Column, target: &Column, value: Cow<'_, Value>) -> Option<Value> {
    if own.ty == target.ty {
        return Some(value.into_owned());
    }
    let text = value.to_text();
    let same = |parsed: &Value| parsed.to_text() == text || matches!(parsed, Value::Uuid(_)) && parsed.to_text().to_uppercase() == text;
    target.ty.parse(&text).ok().filter(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::id::TableNo;

    /// `assets (id uuid)`, `orders (id int)`, `comments (id, kind, entity text)` that refers to either, and `pairs (a, b -> both)`.
    fn catalog() -> Catalog {
        let column = |no: u32, ty: &str| serde_json::json!({"no": no, "name": format!("c{no}"), "ty": ty, "sql_type": ty, "not_null": false, "default": null, "max_length": null});
        let table = |no: u32, columns: serde_json::Value, references: serde_json::Value| {
            serde_json::json!({
                "no": no, "schema": "public", "name": format!("t{no}"), "path": "t", "engine": false, "key": [1], "uniques": [], "indexes": [],
                "references": references, "scope": "global", "soft_delete": null,
                "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"}, "columns": columns
            })
        };
        let to = |table: u32, kind: &str| {
            serde_json::json!({"name": kind, "columns": [3], "table": table, "target": [1], "on_delete": "cascade",
                                                             "declared": true, "when": [2, kind]})
        };
        let comments = serde_json::json!([column(1, "text"), column(2, "text"), column(3, "text")]);
        let tables = [
            table(1, comments.clone(), serde_json::json!([to(2, "asset"), to(3, "order")])),
            table(2, serde_json::json!([column(1, "uuid")]), serde_json::json!([])),
            table(3, serde_json::json!([column(1, "int4")]), serde_json::json!([])),
            table(
                4,
                comments,
                serde_json::json!([{"name": "pair", "columns": [2, 3], "table": 1, "target": [1, 2], "on_delete": "cascade"}]),
            ),
        ];
        serde_json::from_value(serde_json::json!({"version": 1, "system": "s", "api": {}, "tables": tables})).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_row_refers_by_its_kind_and_by_the_keys_own_text() {
        let catalog = catalog();
        let [comments, assets, orders, _] = [1, 2, 3, 4].map(|no| catalog.table(TableNo(no)).unwrap());
        let [to_asset, to_order] = [&comments.references[0], &comments.references[1]];
        let id = "0191f7a4-0000-7000-8000-0000000000aa";
        let of = |kind: Value, entity: Value| vec![text("c"), kind, entity];
        let asset = of(text("asset"), text(id));
        assert_eq!(comments.referred(to_asset, assets, &asset), Some(vec![Value::Uuid(id.parse().unwrap())]));
        assert_eq!(comments.referred(to_order, orders, &asset), None, "another kind");
        assert_eq!(comments.referred(to_order, orders, &of(text("order"), text("7"))), Some(vec![Value::Int(7)]));
        for nothing in [
            of(text("asset"), text(&id.replace("00aa", "00aA"))),
            of(text("asset"), text("7")),
            of(text("asset"), Value::Null),
            of(Value::Null, text(id)),
            of(text("other"), text(id)),
        ] {
            assert_eq!(comments.referred(to_asset, assets, &nothing), None, "{nothing:?}");
            assert_eq!(comments.referred(to_order, orders, &nothing), None, "{nothing:?}");
        }
        let capitals = of(text("asset"), text(&id.to_uppercase()));
        let named = comments.referred(to_asset, assets, &capitals).unwrap();
        assert_eq!(comments.spellings(to_asset, assets, &named), [[text(id)], [text(&id.to_uppercase())]]);
        assert_eq!(comments.spellings(to_order, orders, &[Value::Int(7)]), [[text("7")]]);
        let padded = of(text("order"), text("07"));
        assert_eq!(comments.referred(to_order, orders, &padded), None, "not the key's own text");
        assert!(comments.refers(to_order, &padded) && !comments.refers(to_asset, &padded));
        assert!(!comments.refers(to_order, &of(text("order"), Value::Null)));
    }

    #[test]
    fn of_a_row_that_is_known_in_part_what_decides_must_be_known() {
        let catalog = catalog();
        let (comments, orders) = (catalog.table(TableNo(1)).unwrap(), catalog.table(TableNo(3)).unwrap());
        let reference = &comments.references[1];
        let known = |values: &'static [(u32, &'static str)]| {
            comments.referred_by(reference, orders, |no| {
                values.iter().find(|(own, _)| ColumnNo(*own) == no).map(|(_, value)| Cow::Owned(text(value)))
            })
        };
        assert_eq!(known(&[(2, "order"), (3, "7")]), Some(vec![Value::Int(7)]));
        assert_eq!(known(&[(3, "7")]), None);
        assert_eq!(known(&[(2, "order")]), None);
        assert_eq!(reference.deciding().collect::<Vec<_>>(), [ColumnNo(2), ColumnNo(3)]);
    }

    #[test]
    fn what_a_row_is_let_refer_to_is_what_it_refers_to() {
        let catalog = catalog();
        let (comments, orders, pairs) =
            (catalog.table(TableNo(1)).unwrap(), catalog.table(TableNo(3)).unwrap(), catalog.table(TableNo(4)).unwrap());
        let mut row = vec![text("c"), text("order"), Value::Null];
        comments.refer(&comments.references[1], orders, &mut row, &[Value::Int(-12)]);
        assert_eq!(row[2], text("-12"));
        assert_eq!(comments.referred(&comments.references[1], orders, &row), Some(vec![Value::Int(-12)]));

        let to = vec![text("k"), text("x"), Value::Null];
        let mut pair = vec![text("p"), Value::Null, Value::Null];
        let named = comments.named_by(&pairs.references[0], &to).unwrap();
        pairs.refer(&pairs.references[0], comments, &mut pair, &named);
        assert_eq!(pair, [text("p"), text("k"), text("x")]);
        assert_eq!(pairs.referred(&pairs.references[0], comments, &pair), Some(named));
        assert_eq!(comments.named_by(&pairs.references[0], &[text("k"), Value::Null, Value::Null]), None);
    }
}
