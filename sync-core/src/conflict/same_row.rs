//! Two rows that are one: the row that stays, and the references that follow.

use crate::catalog::{Catalog, Table};
use crate::change::Row;
use crate::id::{ColumnNo, TableNo};
use crate::value::Value;

use super::{DecideError, Resolution};

/// What becomes of the cloud's row when the site's row is the same one: with CLOUD_WINS it stays, with LOCAL_WINS it takes the site's values
/// as far as they are known, with MANUAL the given ones. Its key stays.
///
/// # Errors
/// PENDING; values that the decision does not take, of a column that the table does not have, or of the key.
pub fn merged_row(
    table: &Table,
    cloud: &Row,
    local: &[Option<Value>],
    resolution: Resolution,
    values: &[(ColumnNo, Value)],
) -> Result<Row, DecideError> {
    if (resolution == Resolution::Manual) == values.is_empty() {
        return Err(if resolution == Resolution::Pending { DecideError::NoDecision } else { DecideError::Values });
    }
    let mut row = cloud.clone();
    match resolution {
        Resolution::Pending => return Err(DecideError::NoDecision),
        Resolution::CloudWins => {}
        Resolution::LocalWins => {
            for (at, (column, local)) in table.columns.iter().zip(local).enumerate() {
                if let Some(local) = local.as_ref().filter(|_| !table.key.contains(&column.no)) {
                    row[at] = local.clone();
                }
            }
        }
        Resolution::Manual => {
            for (no, value) in values {
                let at = table.position(*no).ok_or(DecideError::UnknownColumn(*no))?;
                if table.key.contains(no) && row[at] != *value {
                    return Err(DecideError::ReadOnly(table.columns[at].name.clone()));
                }
                row[at] = value.clone();
            }
        }
    }
    Ok(row)
}

/// Lets `rows` refer to `to` where they refer to `from`, both rows of `table`; where that changes what other ones of them refer to (a key
/// that holds a reference), those follow, to any depth. Returns which rows were changed.
pub fn repoint(catalog: &Catalog, rows: &mut [(TableNo, Row)], table: TableNo, from: &[Value], to: &[Value]) -> Vec<usize> {
    let mut changed: Vec<usize> = Vec::new();
    let mut moves: Vec<(TableNo, Row, Row)> = vec![(table, from.to_vec(), to.to_vec())];
    // A move follows from a change of a row, and each row is moved once for each of its values at most.
    let mut left = rows.len().saturating_mul(4) + 1;
    while let Some((no, from, to)) = moves.pop() {
        let Some(table) = catalog.table(no) else { continue };
        for (place, (own, row)) in rows.iter_mut().enumerate() {
            let Some(child) = catalog.table(*own) else { continue };
            let before = row.clone();
            for reference in child.references.iter().filter(|reference| reference.table == no) {
                let (Some(lost), Some(now)) = (table.named_by(reference, &from), table.named_by(reference, &to)) else { continue };
                if child.referred(reference, table, &before) == Some(lost) {
                    child.refer(reference, table, row, &now);
                }
            }
            if *row != before {
                if !changed.contains(&place) {
                    changed.push(place);
                }
                let named = |no: &ColumnNo| child.position(*no).is_some_and(|at| row[at] != before[at]);
                if left > 0 && catalog.referrers(*own).any(|(_, reference)| reference.target.iter().any(named)) {
                    left -= 1;
                    moves.push((*own, before, row.clone()));
                }
            }
        }
    }
    changed.sort_unstable();
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `t (id, above -> t)`, `c (t -> t, port)` with both as its key, `g (id, t, port -> c)`.
    fn catalog() -> Catalog {
        let column = |no: u32| {
            serde_json::json!({"no": no, "name": format!("c{no}"), "ty": "text", "sql_type": "text", "not_null": false, "default": null,
                               "max_length": null})
        };
        let table = |no: u32, key: &[u32], columns: u32, reference: serde_json::Value| {
            serde_json::json!({
                "no": no, "schema": "public", "name": format!("t{no}"), "path": "t", "engine": false, "key": key, "uniques": [], "indexes": [],
                "references": [reference], "scope": "global", "soft_delete": null,
                "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"},
                "columns": (1..=columns).map(column).collect::<Vec<_>>()
            })
        };
        let reference = |columns: &[u32], table: u32, target: &[u32]| serde_json::json!({"name": "r", "columns": columns, "table": table, "target": target, "on_delete": "cascade"});
        let tables = [
            table(1, &[1], 2, reference(&[2], 1, &[1])),
            table(2, &[1, 2], 2, reference(&[1], 1, &[1])),
            table(3, &[1], 3, reference(&[2, 3], 2, &[1, 2])),
        ];
        serde_json::from_value(serde_json::json!({"version": 1, "system": "s", "api": {}, "tables": tables})).unwrap()
    }

    fn row(values: &[&str]) -> Row {
        values.iter().map(|text| if text.is_empty() { Value::Null } else { Value::Text((*text).to_owned()) }).collect()
    }

    #[test]
    fn references_follow_to_any_depth_and_nothing_else_changes() {
        let mut rows = vec![
            (TableNo(3), row(&["g", "mine", "1"])),
            (TableNo(2), row(&["mine", "1"])),
            (TableNo(1), row(&["x", "mine"])),
            (TableNo(1), row(&["mine", "x"])),
            (TableNo(1), row(&["y", ""])),
            (TableNo(3), row(&["h", "mine", "2"])),
        ];
        let changed = repoint(&catalog(), &mut rows, TableNo(1), &row(&["mine", ""]), &row(&["theirs", ""]));
        assert_eq!(changed, [0, 1, 2]);
        let now: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        let wanted = [&["g", "theirs", "1"][..], &["theirs", "1"], &["x", "theirs"], &["mine", "x"], &["y", ""], &["h", "mine", "2"]];
        assert_eq!(now, wanted.map(row));
    }

    #[test]
    fn rows_that_refer_to_each_other_end() {
        let mut rows = vec![(TableNo(1), row(&["a", "b"])), (TableNo(1), row(&["b", "a"]))];
        assert_eq!(repoint(&catalog(), &mut rows, TableNo(1), &row(&["a", "b"]), &row(&["b", "a"])), [1]);
        assert_eq!(rows[1].1, row(&["b", "b"]));
    }
}
