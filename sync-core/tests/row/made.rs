//! A row comes again because the schema moved: what its site had made of a column itself gives way where nobody wrote the row since.

use sync_core::change::{Image, Op, Row, Stamp, State};
use sync_core::site::{Base, Event, Live, Made, SiteRow, cut, step};
use sync_core::value::Value;

use crate::table::{A, B, table};
use crate::tokens::at;

fn row(a: i64, b: i64) -> Row {
    vec![Value::Int(1), Value::Int(a), Value::Int(b), Value::Bool(false)]
}

fn stamp(version: i64, second: u8) -> Stamp {
    Stamp { version, synced_at: Some(format!("2026-01-01T00:00:0{second}.000000Z")), ..Stamp::default() }
}

/// What the site pushes of a row, which it had of version 3, once the image came: the column `A` was made by the site, `new` or not.
fn pushed(live: Option<Row>, (image, stamp_of_image): (Row, Stamp), new: bool) -> Option<Op> {
    let table = table();
    let base = Base { row: Some(row(1, 1)), at: Some(at(1)), version: 3, synced_at: stamp(3, 1).synced_at, ..Base::default() };
    let live = live.map(|row| Live { row, stamp: stamp(4, 1), at: Some(at(1)) });
    let image = Image { at: at(5), stamp: stamp_of_image, state: State::Live(image) };
    let made = [Made { column: table.columns[A].no, new }];
    let before = SiteRow { live, base: Some(base), ..SiteRow::default() };
    let after = step(&table, before, &Event::Fed(&image, &made), &|_| Some(at(5).tick)).row;
    cut(&table, &after).map(|change| change.op)
}

fn said(op: Option<Op>, position: usize) -> Option<(Value, Option<Value>)> {
    let no = table().columns[position].no;
    match op? {
        Op::Update(edits) => edits.into_iter().find(|edit| edit.column == no).map(|edit| (edit.base, Some(edit.new))),
        Op::Delete(values) => values.into_iter().find(|(column, _)| *column == no).map(|(_, value)| (value, None)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delete_holds_against_what_the_cloud_made_and_not_against_what_somebody_wrote() {
    let int = Value::Int;
    let same = || (row(100, 1), stamp(3, 1));
    assert_eq!(said(pushed(None, same(), false), A), Some((int(100), None)));
    for written in [(row(100, 1), stamp(4, 1)), (row(100, 1), stamp(3, 2))] {
        assert_eq!(said(pushed(None, written, true), A), Some((int(1), None)));
    }
    // What the site did not make itself it is told of as ever.
    assert_eq!(said(pushed(None, (row(100, 7), stamp(3, 1)), false), B), Some((int(1), None)));
}

#[test]
fn an_edit_of_a_new_column_holds_and_one_of_a_column_that_was_there_was_of_another_meaning() {
    let int = Value::Int;
    let same = || (row(100, 1), stamp(3, 1));
    assert_eq!(said(pushed(Some(row(7, 1)), same(), true), A), Some((int(100), Some(int(7)))));
    assert_eq!(said(pushed(Some(row(7, 1)), same(), false), A), Some((int(1), Some(int(7)))));
    let elsewhere = pushed(Some(row(1, 9)), same(), false);
    assert_eq!((said(elsewhere.clone(), A), said(elsewhere, B)), (None, Some((int(1), Some(int(9))))));
}
