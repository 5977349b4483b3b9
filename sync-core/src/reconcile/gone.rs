//! Edits of columns that the table no longer has, or that cannot hold the value any more: they park, and the rest of the change is decided
//! without them.

use std::borrow::Cow;

use super::{Decision, Reconciled};
use crate::catalog::Table;
use crate::change::{Edit, Op, RowChange};
use crate::conflict::ConflictKind;
use crate::id::ColumnNo;
use crate::value::Value;

/// The change without columns that are gone or outgrown, and those of them that it gave something. A delete gives nothing.
pub(super) fn split<'a>(table: &Table, change: &'a RowChange, outgrown: &[ColumnNo]) -> (Cow<'a, RowChange>, Vec<ColumnNo>) {
    let is_known = |no: ColumnNo| table.column(no).is_some() && !outgrown.contains(&no);
    let added = change.additions.iter().map(|addition| addition.column);
    if change.values().map(|(no, _)| no).chain(added.clone()).all(is_known) {
        return (Cow::Borrowed(change), Vec::new());
    }
    let given = change.values().filter(|(no, value)| change.gives(*no) && (!value.is_null() || !matches!(change.op, Op::Insert(_))));
    let mut gone: Vec<ColumnNo> = match change.op {
        Op::Delete(_) => Vec::new(),
        _ => given.map(|(no, _)| no).chain(added).filter(|no| !is_known(*no)).collect(),
    };
    gone.sort_unstable();
    gone.dedup();
    let pairs = |pairs: &[(ColumnNo, Value)]| pairs.iter().filter(|(no, _)| is_known(*no)).cloned().collect();
    let edits = |edits: &[Edit]| edits.iter().filter(|edit| is_known(edit.column)).cloned().collect();
    let op = match &change.op {
        Op::Insert(values) => Op::Insert(pairs(values)),
        Op::Delete(values) => Op::Delete(pairs(values)),
        Op::Update(list) => Op::Update(edits(list)),
        Op::Rekey(old, list) => Op::Rekey(old.clone(), edits(list)),
    };
    let mut known = RowChange { op, ..change.clone() };
    known.additions.retain(|addition| is_known(addition.column));
    known.times.retain(|(no, _)| is_known(*no));
    (Cow::Owned(known), gone)
}

/// Keeps what was given to columns that are gone in the row's conflict, which a person decides whatever the policies said of the rest.
pub(super) fn keep(table: &Table, reconciled: Reconciled, gone: Vec<ColumnNo>) -> Reconciled {
    let why = reason(table, &gone);
    let park = |write, reason| Decision::Park { kind: ConflictKind::Schema, clashed: gone.clone(), write, reason, policy: None };
    let decision = match reconciled.decision {
        Decision::Write(row) => park(Some(row), why),
        Decision::NoOp | Decision::Delete => park(None, why),
        Decision::Park { kind, mut clashed, write, reason, .. } => {
            // Without columns the row as a whole is parked, these with it.
            if !clashed.is_empty() {
                clashed.extend(gone);
            }
            Decision::Park { kind, clashed, write, reason: format!("{reason}; {why}"), policy: None }
        }
    };
    Reconciled { decision, ..reconciled }
}

/// Why they park; whoever knows the names of columns that are gone puts them in.
pub(super) fn reason(table: &Table, gone: &[ColumnNo]) -> String {
    let missing: Vec<_> = gone.iter().filter(|no| table.column(**no).is_none()).map(|no| format!("column number {no}")).collect();
    let missing = (!missing.is_empty()).then(|| format!("{} no longer has {}", table.name, missing.join(", ")));
    let outgrown = gone.iter().filter_map(|no| table.column(*no)).map(|column| {
        let required = if column.not_null { " and must have a value" } else { "" };
        let length = column.max_length.map(|length| format!(" of at most {length} characters")).unwrap_or_default();
        format!("{} takes {}{length} now{required}", column.name, column.ty.describe())
    });
    missing.into_iter().chain(outgrown).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::{Current, reconcile};
    use super::*;
    use crate::change::Stamp;
    use crate::id::{Key, TableNo};

    fn table() -> Table {
        let column = |no: u32, ty: &str| serde_json::json!({"no": no, "name": format!("c{no}"), "ty": ty, "sql_type": ty, "not_null": false, "default": null, "max_length": null});
        serde_json::from_value(serde_json::json!({
            "no": 1, "schema": "public", "name": "t", "path": "t", "engine": false, "key": [1], "uniques": [], "indexes": [],
            "references": [], "scope": "global", "soft_delete": null,
            "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"},
            "columns": [column(1, "text"), column(3, "int8")],
        }))
        .unwrap()
    }

    fn change(op: Op) -> RowChange {
        let key = Key(vec![Value::Text("k".into())]);
        RowChange { table: TableNo(1), key, stamp: Stamp::default(), base: None, op, additions: Vec::new(), times: Vec::new() }
    }

    fn edit(no: u32, base: i64, new: i64) -> Edit {
        Edit { column: ColumnNo(no), base: Value::Int(base), new: Value::Int(new) }
    }

    #[test]
    fn an_edit_of_a_dropped_column_parks_and_the_rest_is_written() {
        let row = vec![Value::Text("k".into()), Value::Int(1)];
        let decide = |op| reconcile(&table(), Current::new(Some(&row), None, false), &change(op), false).decision;
        let Decision::Park { kind: ConflictKind::Schema, clashed, write: Some(written), policy: None, .. } =
            decide(Op::Update(vec![edit(2, 5, 6), edit(3, 1, 7)]))
        else {
            panic!("parks and writes")
        };
        assert_eq!((clashed, &written[1]), (vec![ColumnNo(2)], &Value::Int(7)));
        let parked = decide(Op::Update(vec![edit(2, 5, 6), edit(3, 2, 7)]));
        let Decision::Park { kind: ConflictKind::UpdateUpdate, clashed, write: None, .. } = parked else { panic!("{parked:?}") };
        assert_eq!(clashed, [ColumnNo(3), ColumnNo(2)]);
        assert_eq!(decide(Op::Update(vec![edit(2, 5, 5), edit(3, 1, 7)])), Decision::Write(vec![row[0].clone(), Value::Int(7)]));
        let whole = Op::Delete(vec![(ColumnNo(1), row[0].clone()), (ColumnNo(2), Value::Int(9)), (ColumnNo(3), Value::Int(1))]);
        assert_eq!(decide(whole), Decision::Delete);
        // What its author never saw, a delete does not assert.
        let delete = |value| decide(Op::Delete(vec![(ColumnNo(3), Value::Int(value))]));
        assert_eq!(delete(1), Decision::Delete);
        let Decision::Park { kind: ConflictKind::DeleteUpdate, clashed, .. } = delete(2) else { panic!("parks") };
        assert_eq!(clashed, [ColumnNo(3)]);
    }

    #[test]
    fn a_value_that_its_column_cannot_hold_any_more_parks_and_the_rest_is_written() {
        let row = vec![Value::Text("k".into()), Value::Int(1)];
        let edit = Edit { column: ColumnNo(3), base: Value::Text("one".into()), new: Value::Text("two".into()) };
        let outgrown = [ColumnNo(3)];
        let current = Current { outgrown: &outgrown, ..Current::new(Some(&row), None, false) };
        let Decision::Park { kind: ConflictKind::Schema, clashed, write: None, reason, .. } =
            reconcile(&table(), current, &change(Op::Update(vec![edit])), false).decision
        else {
            panic!("parks")
        };
        assert_eq!((clashed, reason.as_str()), (vec![ColumnNo(3)], "c3 takes a 64-bit integer now"));
    }

    #[test]
    fn an_insert_with_a_dropped_column_is_taken_without_it() {
        let insert = |value| Op::Insert(vec![(ColumnNo(1), Value::Text("k".into())), (ColumnNo(2), value), (ColumnNo(3), Value::Int(1))]);
        let decide = |op| reconcile(&table(), Current::new(None, None, false), &change(op), false).decision;
        let row = vec![Value::Text("k".into()), Value::Int(1)];
        assert_eq!(decide(insert(Value::Null)), Decision::Write(row.clone()));
        let Decision::Park { kind: ConflictKind::Schema, clashed, write, .. } = decide(insert(Value::Int(4))) else { panic!("parks") };
        assert_eq!((clashed, write), (vec![ColumnNo(2)], Some(row)));
    }
}
