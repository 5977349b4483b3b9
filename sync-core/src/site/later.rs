//! Edits made while their row's push was clashing, which wait to join the conflict.

use crate::change::{Edit, Op, RowChange};

/// One edit of a row out of two that wait for the same conflict, `second` made after `first`.
///
/// Every column keeps the base of the earlier edit: `second` was cut against what the cloud put in place of `first`, which its author may
/// never have seen. What `second` only asserts leaves alone what `first` wrote.
#[must_use]
pub fn merge_later(first: &RowChange, second: RowChange) -> RowChange {
    let (Op::Update(before), Op::Update(after)) = (&first.op, &second.op) else { return second };
    let mut edits: Vec<Edit> = before.clone();
    for edit in after {
        match edits.iter_mut().find(|known| known.column == edit.column) {
            Some(known) if edit.base != edit.new => known.new = edit.new.clone(),
            Some(_) => {}
            None => edits.push(edit.clone()),
        }
    }
    edits.sort_by_key(|edit| edit.column);
    RowChange { op: Op::Update(edits), ..second }
}

#[cfg(test)]
mod tests {
    use super::merge_later;
    use crate::change::{Edit, Op, RowChange, Stamp};
    use crate::id::{ColumnNo, Key, TableNo};
    use crate::value::Value;

    fn edit(column: u32, base: &str, new: &str) -> Edit {
        Edit { column: ColumnNo(column), base: Value::Text(base.into()), new: Value::Text(new.into()) }
    }

    fn later(version: i64, edits: Vec<Edit>) -> RowChange {
        RowChange {
            table: TableNo(1),
            key: Key(vec![Value::Text("k".into())]),
            stamp: Stamp { version, ..Stamp::default() },
            base: None,
            op: Op::Update(edits),
            additions: Vec::new(),
            times: Vec::new(),
        }
    }

    #[test]
    fn the_later_value_counts_on_the_earlier_base_and_no_column_is_lost() {
        let first = later(3, vec![edit(2, "base", "first"), edit(4, "x", "only first")]);
        let merged = merge_later(&first, later(5, vec![edit(3, "y", "only second"), edit(2, "cloud", "second")]));
        assert_eq!(merged, later(5, vec![edit(2, "base", "second"), edit(3, "y", "only second"), edit(4, "x", "only first")]));
    }

    #[test]
    fn an_assertion_takes_nothing_back() {
        let first = later(3, vec![edit(2, "base", "first")]);
        let merged = merge_later(&first, later(5, vec![edit(2, "cloud", "cloud"), edit(3, "false", "true")]));
        assert_eq!(merged, later(5, vec![edit(2, "base", "first"), edit(3, "false", "true")]));
        // What was only asserted before is edited now.
        let merged = merge_later(&later(3, vec![edit(2, "base", "base")]), later(5, vec![edit(2, "cloud", "second")]));
        assert_eq!(merged, later(5, vec![edit(2, "base", "second")]));
    }
}
