//! The tree of the conflicts that hang from one: stored flat (each names the top), shaped by what the parked rows refer to.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::catalog::{Catalog, Table};
use crate::id::{ColumnNo, ConflictId, TableNo};
use crate::value::Value;

/// A parked row, as far as it is known.
#[derive(Debug, Clone)]
pub struct ParkedRow<'a> {
    /// Its conflict.
    pub conflict: ConflictId,
    /// Its table.
    pub table: &'a Table,
    /// The site's row: one entry for each column of the table, `None` where it was never sent.
    pub row: Vec<Option<Value>>,
}

/// Where a parked row stands below the one that all hang from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Which of the rows given.
    pub index: usize,
    /// The conflict that it hangs from directly: of a row that it refers to, else the top.
    pub parent: ConflictId,
    /// Levels below the top, from 1.
    pub depth: u32,
}

/// What is referred to: a table, columns of it, and their values.
type Target<'a> = (TableNo, &'a [ColumnNo], Vec<Value>);

/// Shapes the rows that hang from `top`: each once, parents before children, siblings in the order given. What refers to none of the others
/// stands directly below the top; of rows that refer to each other in a circle, the first one given does.
#[must_use]
pub fn tree(catalog: &Catalog, top: &ParkedRow<'_>, rows: &[ParkedRow<'_>]) -> Vec<Branch> {
    // Who may be referred to, and who refers to whom; `None` is the top.
    let mut offered: HashMap<Target<'_>, Option<usize>> = HashMap::new();
    for (row, index) in rows.iter().zip(0..).map(|(row, index)| (row, Some(index))).chain([(top, None)]) {
        offered.extend(offers(catalog, row).map(|target| (target, index)));
    }
    let mut below_top: Vec<usize> = Vec::new();
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); rows.len()];
    for (index, row) in rows.iter().enumerate() {
        let targets = row.table.references.iter().filter_map(|reference| {
            let value = |no| row.row.get(row.table.position(no)?)?.as_ref().map(Cow::Borrowed);
            let values = row.table.referred_by(reference, catalog.table(reference.table)?, value)?;
            offered.get(&(reference.table, &reference.target, values)).copied()
        });
        let mut loose = true;
        for parent in targets.filter(|parent| *parent != Some(index)) {
            loose = false;
            match parent {
                Some(parent) => below[parent].push(index),
                None => below_top.push(index),
            }
        }
        if loose {
            below_top.push(index);
        }
    }
    let mut placed = vec![false; rows.len()];
    let mut branches: Vec<Branch> = Vec::with_capacity(rows.len());
    let mut hang = |children: &[usize], parent: ConflictId, depth: u32, branches: &mut Vec<Branch>| {
        for index in children {
            if !std::mem::replace(&mut placed[*index], true) {
                branches.push(Branch { index: *index, parent, depth });
            }
        }
    };
    hang(&below_top, top.conflict, 1, &mut branches);
    let mut next = 0;
    // Whoever is not placed once all below is placed is in a circle that nothing else leads to, or below one.
    for index in 0..=rows.len() {
        while let Some(branch) = branches.get(next).copied() {
            hang(&below[branch.index], rows[branch.index].conflict, branch.depth + 1, &mut branches);
            next += 1;
        }
        if index < rows.len() {
            hang(&[index], top.conflict, 1, &mut branches);
        }
    }
    branches
}

/// What others may refer to this row by.
fn offers<'a>(catalog: &'a Catalog, row: &'a ParkedRow<'_>) -> impl Iterator<Item = Target<'a>> {
    let no = row.table.no;
    let targets = catalog.referrers(no).map(|(_, reference)| reference.target.as_slice());
    targets.filter_map(move |target| Some((no, target, values(row, target)?)))
}

/// The values of these columns, where all of them are known and none is NULL.
fn values(row: &ParkedRow<'_>, columns: &[ColumnNo]) -> Option<Vec<Value>> {
    let value = |no: &ColumnNo| row.row.get(row.table.position(*no)?)?.clone().filter(|value| !value.is_null());
    columns.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// `t (id, parent -> t)` and `c (id, t -> t)`.
    fn catalog() -> Catalog {
        let table = |no: u32, name: &str| {
            serde_json::json!({
                "no": no, "schema": "public", "name": name, "path": name, "engine": false, "key": [1], "uniques": [], "indexes": [],
                "references": [{"name": "r", "columns": [2], "table": 1, "target": [1], "on_delete": "cascade"}],
                "scope": "global", "soft_delete": null,
                "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"},
                "columns": ([1, 2].map(|no| serde_json::json!({
                    "no": no, "name": format!("c{no}"), "ty": "text", "sql_type": "text", "not_null": false, "default": null,
                    "max_length": null
                })))
            })
        };
        let json = serde_json::json!({"version": 1, "system": "s", "api": {}, "tables": [table(1, "t"), table(2, "c")]});
        serde_json::from_value(json).unwrap()
    }

    /// Rows as `t a>b`: the row `a` of `t`, which refers to `b`.
    fn shape(top: &str, rows: &[&str]) -> String {
        let catalog = catalog();
        let parse = |no: u128, text: &str| {
            let (table, rest) = text.split_once(' ').unwrap();
            let (id, to) = rest.split_once('>').unwrap_or((rest, ""));
            let text = |text: &str| if text.is_empty() { Value::Null } else { Value::Text(text.to_owned()) };
            let table = catalog.tables.iter().find(|known| known.name == table).unwrap();
            ParkedRow { conflict: ConflictId(Uuid::from_u128(no)), table, row: vec![Some(text(id)), Some(text(to))] }
        };
        let top = parse(0, top);
        let rows: Vec<ParkedRow<'_>> = rows.iter().zip(1..).map(|(row, no)| parse(no, row)).collect();
        let branches = tree(&catalog, &top, &rows);
        let name = |conflict: ConflictId| {
            rows.iter().find(|row| row.conflict == conflict).map_or("top", |row| {
                let Some(Some(Value::Text(text))) = row.row.first() else { panic!("a key") };
                text
            })
        };
        let told = branches.iter().map(|branch| format!("{}{}:{}", name(branch.parent), branch.depth, name(rows[branch.index].conflict)));
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_stand_below_what_they_refer_to_parents_first() {
        assert_eq!(shape("t p", &["c x>b", "t b>a", "t a>p", "c y>p"]), "top1:a top1:y a2:b b3:x");
        assert_eq!(shape("t p", &["c lost>gone", "c none"]), "top1:lost top1:none");
    }

    #[test]
    fn rows_of_a_kind_stand_below_the_row_of_their_kind() {
        let mut catalog = catalog();
        let to = |table: u32, kind: &str| crate::catalog::Reference {
            table: TableNo(table),
            declared: true,
            when: Some((ColumnNo(1), Value::Text(kind.to_owned()))),
            ..catalog.tables[1].references[0].clone()
        };
        catalog.tables[1].references = vec![to(1, "a"), to(2, "b")];
        let parse = |no: u128, table: usize, values: [&str; 2]| ParkedRow {
            conflict: ConflictId(Uuid::from_u128(no)),
            table: &catalog.tables[table],
            row: values.map(|text| (!text.is_empty()).then(|| Value::Text(text.to_owned()))).to_vec(),
        };
        // The kind is the key here: `a` refers to a row of `t`, `b` to one of `c`; of the last one the kind is not known.
        let top = parse(9, 0, ["x", "-"]);
        let rows = [parse(0, 1, ["a", "x"]), parse(1, 1, ["b", "a"]), parse(2, 1, ["b", "x"]), parse(3, 1, ["", "a"])];
        let branches: Vec<(usize, u32)> = tree(&catalog, &top, &rows).iter().map(|branch| (branch.index, branch.depth)).collect();
        assert_eq!(branches, [(0, 1), (2, 1), (3, 1), (1, 2)]);
    }

    #[test]
    fn a_circle_ends_and_every_row_stands_once() {
        assert_eq!(shape("t p>b", &["t a>p", "t b>a"]), "top1:a a2:b");
        assert_eq!(shape("t p", &["c z>a", "t a>b", "t b>a", "t s>s"]), "top1:s top1:z top1:a a2:b");
        assert_eq!(shape("t p", &["t a>b", "t b>a", "c z>b"]), "top1:a a2:b b3:z");
    }

    #[test]
    fn ten_thousand_rows_in_a_chain_are_shaped_at_once() {
        let names: Vec<String> = (0..10_000).map(|no| format!("t n{no}>n{}", no + 1)).collect();
        let rows: Vec<&str> = names.iter().map(String::as_str).collect();
        let told = shape("t n10000", &rows);
        assert!(told.starts_with("top1:n9999 n99992:n9998 "), "{}", &told[..60]);
        assert!(told.ends_with("n110000:n0"));
    }
}
