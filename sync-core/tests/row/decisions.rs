//! What the cloud decides about one pushed change, and what a person's decision writes.

use proptest::prelude::*;
use sync_core::change::{Addition, Edit, Op, Row, RowChange, Stamp};
use sync_core::conflict::{
    BesidesEffect, ConflictKind, DecideError, Effect, Parked, Resolution, besides_digest, decide, merged_row, units,
};
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::policy::Policy;
use sync_core::reconcile::{Current, Decision, Reconciled, Side, reconcile};
use sync_core::value::Value;

use crate::table::{A, B, MARK, table};
use crate::tokens::at;

fn row(a: i64, b: i64) -> Row {
    vec![Value::Int(1), Value::Int(a), Value::Int(b), Value::Bool(false)]
}

fn marked(a: i64, b: i64) -> Row {
    let mut row = row(a, b);
    row[MARK] = Value::Bool(true);
    row
}

fn change(op: Op) -> RowChange {
    RowChange {
        table: TableNo(1),
        key: Key(vec![Value::Int(1)]),
        stamp: Stamp::default(),
        base: Some(at(1)),
        op,
        additions: Vec::new(),
        times: Vec::new(),
    }
}

fn edit(position: usize, base: i64, new: i64) -> Edit {
    Edit { column: number(position), base: Value::Int(base), new: Value::Int(new) }
}

fn number(position: usize) -> ColumnNo {
    table().columns[position].no
}

fn pairs(row: &Row) -> Vec<(ColumnNo, Value)> {
    table().columns.iter().map(|column| column.no).zip(row.iter().cloned()).collect()
}

fn judge(current: Option<&Row>, op: Op) -> Decision {
    let place = at(2);
    let seen = Current::new(current, current.map(|_| &place), current.is_none());
    reconcile(&table(), seen, &change(op), false).decision
}

fn kind(decision: &Decision) -> ConflictKind {
    match decision {
        Decision::Park { kind, .. } => *kind,
        other => panic!("not parked: {other:?}"),
    }
}

#[test]
fn edits_of_different_columns_merge() {
    assert_eq!(judge(Some(&row(1, 9)), Op::Update(vec![edit(A, 1, 5)])), Decision::Write(row(5, 9)));
}

#[test]
fn the_same_edit_on_both_sides_is_no_conflict() {
    assert_eq!(judge(Some(&row(5, 2)), Op::Update(vec![edit(A, 1, 5)])), Decision::NoOp);
}

#[test]
fn of_two_edited_columns_only_the_clashing_one_parks() {
    let decision = judge(Some(&row(7, 2)), Op::Update(vec![edit(A, 1, 5), edit(B, 2, 6)]));
    let Decision::Park { kind: ConflictKind::UpdateUpdate, clashed, write, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((clashed, write), (vec![number(A)], Some(row(7, 6))));
}

#[test]
fn an_edit_of_a_deleted_row_parks_whether_it_is_gone_or_marked() {
    assert_eq!(kind(&judge(None, Op::Update(vec![edit(A, 1, 5)]))), ConflictKind::UpdateDelete);
    assert_eq!(kind(&judge(Some(&marked(1, 2)), Op::Update(vec![edit(A, 1, 5)]))), ConflictKind::UpdateDelete);
}

#[test]
fn a_delete_holds_only_against_the_row_that_was_seen() {
    assert_eq!(judge(Some(&row(1, 2)), Op::Delete(pairs(&row(1, 2)))), Decision::Delete);
    assert_eq!(kind(&judge(Some(&row(1, 3)), Op::Delete(pairs(&row(1, 2))))), ConflictKind::DeleteUpdate);
    assert_eq!(judge(None, Op::Delete(pairs(&row(1, 2)))), Decision::NoOp);
}

#[test]
fn a_mark_of_deletion_holds_only_against_the_row_that_was_seen() {
    let mark = || {
        let mark = Edit { column: number(MARK), base: Value::Bool(false), new: Value::Bool(true) };
        Op::Update(vec![edit(A, 1, 1), edit(B, 2, 2), mark])
    };
    assert_eq!(judge(Some(&row(1, 2)), mark()), Decision::Write(marked(1, 2)));
    assert_eq!(kind(&judge(Some(&row(1, 3)), mark())), ConflictKind::DeleteUpdate);
    assert_eq!(judge(Some(&marked(1, 3)), mark()), Decision::NoOp);
}

#[test]
fn an_insert_of_a_taken_key_is_a_no_op_or_a_conflict() {
    assert_eq!(judge(None, Op::Insert(pairs(&row(1, 2)))), Decision::Write(row(1, 2)));
    assert_eq!(judge(Some(&row(1, 2)), Op::Insert(pairs(&row(1, 2)))), Decision::NoOp);
    assert_eq!(kind(&judge(Some(&row(1, 3)), Op::Insert(pairs(&row(1, 2))))), ConflictKind::InsertInsert);
}

/// History 18: a restored copy offers an insert that was taken and deleted since.
#[test]
fn h18_a_reoffered_insert_onto_a_tombstone_parks() {
    let seen = Current::new(None, None, true);
    let decision = reconcile(&table(), seen, &change(Op::Insert(pairs(&row(1, 2)))), true).decision;
    assert_eq!(kind(&decision), ConflictKind::UpdateDelete);
}

#[test]
fn a_rekey_moves_the_row_and_merges_its_edits() {
    let rekey = |edits| RowChange { key: Key(vec![Value::Int(8)]), ..change(Op::Rekey(Key(vec![Value::Int(1)]), edits)) };
    let current = row(1, 9);
    let place = at(2);
    let seen = Current::new(Some(&current), Some(&place), false);
    let mut moved = row(5, 9);
    moved[0] = Value::Int(8);
    assert_eq!(reconcile(&table(), seen, &rekey(vec![edit(A, 1, 5)]), false).decision, Decision::Write(moved.clone()));
    moved[A] = Value::Int(1);
    assert_eq!(reconcile(&table(), seen, &rekey(vec![]), false).decision, Decision::Write(moved));
}

#[test]
fn what_a_column_cannot_hold_parks_and_never_reaches_the_database() {
    let unknown = Edit { column: ColumnNo(77), base: Value::Null, new: Value::Int(1) };
    assert_eq!(kind(&judge(Some(&row(1, 2)), Op::Update(vec![unknown]))), ConflictKind::Schema);
    let wrong = Edit { column: number(A), base: Value::Int(1), new: Value::Text("one".into()) };
    assert_eq!(kind(&judge(Some(&row(1, 2)), Op::Update(vec![wrong]))), ConflictKind::Rejected);
}

fn parked<'a>(kind: ConflictKind, clashed: &'a [ColumnNo], local: &'a [Option<Value>], current: Option<&'a Row>) -> Parked<'a> {
    Parked { kind, clashed, base: &[], local, deleted: false, current }
}

fn known(row: &Row) -> Vec<Option<Value>> {
    row.iter().cloned().map(Some).collect()
}

#[test]
fn each_decision_on_a_clashing_column_writes_what_it_says() {
    let (local, current, clashed) = (known(&row(5, 2)), row(7, 9), [number(A)]);
    let parked = parked(ConflictKind::UpdateUpdate, &clashed, &local, Some(&current));
    let take = |resolution, values: &[(ColumnNo, Value)]| decide(&table(), &parked, resolution, values);
    assert_eq!(take(Resolution::CloudWins, &[]).unwrap(), Effect::Nothing);
    assert_eq!(take(Resolution::LocalWins, &[]).unwrap(), Effect::Write(row(5, 9)));
    assert_eq!(take(Resolution::Manual, &[(number(A), Value::Int(6))]).unwrap(), Effect::Write(row(6, 9)));
    assert_eq!(take(Resolution::Manual, &[]), Err(DecideError::Values));
    assert_eq!(take(Resolution::CloudWins, &[(number(A), Value::Int(6))]), Err(DecideError::Values));
    assert_eq!(take(Resolution::Pending, &[]), Err(DecideError::NoDecision));
    assert_eq!(take(Resolution::Manual, &[(ColumnNo(77), Value::Null)]), Err(DecideError::UnknownColumn(ColumnNo(77))));
}

#[test]
fn deleting_after_all_deletes_as_the_site_did() {
    let current = row(7, 2);
    let gone = vec![None; 4];
    let hard = decide(&table(), &parked(ConflictKind::DeleteUpdate, &[], &gone, Some(&current)), Resolution::LocalWins, &[]);
    assert_eq!(hard.unwrap(), Effect::Delete);
    let local = known(&marked(1, 2));
    let soft = decide(&table(), &parked(ConflictKind::DeleteUpdate, &[], &local, Some(&current)), Resolution::LocalWins, &[]);
    assert_eq!(soft.unwrap(), Effect::Write(marked(7, 2)));
}

#[test]
fn an_edit_of_a_deleted_row_revives_it_when_it_wins() {
    let local = known(&row(5, 2));
    let gone = decide(&table(), &parked(ConflictKind::UpdateDelete, &[number(A)], &local, None), Resolution::LocalWins, &[]);
    assert_eq!(gone.unwrap(), Effect::Write(row(5, 2)));
    let current = marked(1, 2);
    let soft = decide(&table(), &parked(ConflictKind::UpdateDelete, &[number(A)], &local, Some(&current)), Resolution::LocalWins, &[]);
    assert_eq!(soft.unwrap(), Effect::Write(row(5, 2)));
    let partly: Vec<_> = [None, Some(Value::Int(5)), None, None].to_vec();
    let unknown = decide(&table(), &parked(ConflictKind::UpdateDelete, &[number(A)], &partly, None), Resolution::LocalWins, &[]);
    assert_eq!(unknown, Err(DecideError::Incomplete("id".into())));
}

#[test]
fn a_refused_unique_key_can_replace_its_blocker_or_be_changed() {
    let local = known(&row(5, 2));
    let parked = parked(ConflictKind::Unique, &[], &local, None);
    assert_eq!(decide(&table(), &parked, Resolution::LocalWins, &[]).unwrap(), Effect::Replace(row(5, 2)));
    assert_eq!(decide(&table(), &parked, Resolution::Manual, &[(number(A), Value::Int(6))]).unwrap(), Effect::Write(row(6, 2)));
}

fn ruled(policy: Policy, current: Option<&Row>, op: Op, reoffer: bool) -> Reconciled {
    let mut table = table();
    table.policy = policy;
    table.columns.iter_mut().for_each(|column| column.policy = policy);
    let place = at(2);
    reconcile(&table, Current::new(current, current.map(|_| &place), current.is_none()), &change(op), reoffer)
}

#[test]
fn a_tables_policy_decides_where_a_row_as_a_whole_clashes_and_the_loss_is_on_record() {
    let edit_of = || Op::Update(vec![edit(A, 1, 5)]);
    let Decision::Park { kind: ConflictKind::UpdateDelete, policy: Some(Policy::CloudWins), .. } =
        ruled(Policy::CloudWins, Some(&marked(1, 2)), edit_of(), false).decision
    else {
        panic!("the cloud's mark did not win")
    };
    let revived = ruled(Policy::LocalWins, Some(&marked(1, 2)), edit_of(), false);
    assert_eq!(revived.decision, Decision::Write(row(5, 2)), "an edit brings a marked row back");
    let deleted = ruled(Policy::LocalWins, Some(&row(1, 3)), Op::Delete(pairs(&row(1, 2))), false);
    assert_eq!((deleted.decision, deleted.losses[0].lost), (Decision::Delete, Side::Cloud));
    let inserted = ruled(Policy::LocalWins, Some(&row(1, 3)), Op::Insert(pairs(&row(1, 2))), false);
    assert_eq!((inserted.decision, inserted.losses[0].kind), (Decision::Write(row(1, 2)), ConflictKind::InsertInsert));
}

#[test]
fn a_lost_edit_of_a_column_is_on_record_and_a_reoffer_parks_whatever_the_policy() {
    let clash = || Op::Update(vec![edit(A, 1, 5), edit(B, 2, 6)]);
    let lost = ruled(Policy::CloudWins, Some(&row(7, 2)), clash(), false);
    assert_eq!(lost.decision, Decision::Write(row(7, 6)));
    assert_eq!(
        (lost.losses[0].columns.as_slice(), lost.losses[0].lost, lost.merged.as_slice()),
        (&[number(A)][..], Side::Local, &[number(A)][..])
    );
    let won = ruled(Policy::LocalWins, Some(&row(7, 2)), clash(), false);
    assert_eq!((won.decision, won.losses[0].lost), (Decision::Write(row(5, 6)), Side::Cloud));
    for policy in [Policy::CloudWins, Policy::LocalWins, Policy::Newest, Policy::Max] {
        let offered_again = ruled(policy, Some(&row(7, 2)), clash(), true);
        assert_eq!((kind(&offered_again.decision), offered_again.losses.len()), (ConflictKind::UpdateUpdate, 0));
    }
}

#[test]
fn the_newest_edit_is_never_later_than_its_receipt() {
    let mut table = table();
    table.columns[A].policy = Policy::Newest;
    let (present, place) = (row(7, 2), at(2));
    let times = [(number(A), "2026-01-01T12:00:00.000000Z".to_owned())];
    let judge = |time: &str, received: &str| {
        let current = Current { times: &times, received, ..Current::new(Some(&present), Some(&place), false) };
        let change = RowChange { times: vec![(number(A), time.to_owned())], ..change(Op::Update(vec![edit(A, 1, 5)])) };
        reconcile(&table, current, &change, false).decision
    };
    assert_eq!(judge("2026-01-01T12:00:01.000000Z", "2026-01-01T13:00:00.000000Z"), Decision::Write(row(5, 2)));
    assert_eq!(judge("2026-01-01T11:59:59.000000Z", "2026-01-01T13:00:00.000000Z"), Decision::NoOp);
    assert_eq!(judge("2026-01-01T12:00:00.000000Z", "2026-01-01T13:00:00.000000Z"), Decision::NoOp, "of equal times the cloud's stays");
    assert_eq!(judge("2099-01-01T00:00:00.000000Z", "2026-01-01T12:00:00.000000Z"), Decision::NoOp, "a clock that runs ahead wins nothing");
}

#[test]
fn an_update_that_wants_a_taken_value_replaces_its_holder_when_the_site_wins() {
    let (local, current, clashed) = (known(&row(5, 2)), row(1, 9), [number(A)]);
    let parked = parked(ConflictKind::Unique, &clashed, &local, Some(&current));
    assert_eq!(decide(&table(), &parked, Resolution::LocalWins, &[]).unwrap(), Effect::Replace(row(5, 9)));
}

#[test]
fn a_refused_delete_offered_again_deletes() {
    let current = row(7, 2);
    let gone = vec![None; 4];
    for kind in [ConflictKind::Rejected, ConflictKind::Check, ConflictKind::DeleteUpdate] {
        let there = Parked { deleted: true, ..parked(kind, &[], &gone, Some(&current)) };
        assert_eq!(decide(&table(), &there, Resolution::LocalWins, &[]).unwrap(), Effect::Delete);
        let absent = Parked { deleted: true, ..parked(kind, &[], &gone, None) };
        assert_eq!(decide(&table(), &absent, Resolution::LocalWins, &[]).unwrap(), Effect::Nothing);
    }
}

#[test]
fn what_the_site_added_is_added_to_what_there_is_by_now() {
    let mut adds = table();
    adds.columns[A].policy = Policy::Add;
    let (base, local, current, clashed) = (known(&row(10, 2)), known(&row(7, 2)), row(100, 9), [number(A)]);
    let parked = Parked { base: &base, ..parked(ConflictKind::Check, &clashed, &local, Some(&current)) };
    assert_eq!(decide(&adds, &parked, Resolution::LocalWins, &[]).unwrap(), Effect::Write(row(97, 9)));
    assert_eq!(decide(&table(), &parked, Resolution::LocalWins, &[]).unwrap(), Effect::Write(row(7, 9)), "without the policy");
    let full = row(i64::MIN, 9);
    let parked = Parked { current: Some(&full), ..parked };
    assert_eq!(decide(&adds, &parked, Resolution::LocalWins, &[]), Err(DecideError::OutOfRange("a".into())));
}

#[test]
fn no_decision_changes_the_key_of_a_row_that_is_there() {
    let (local, current) = (known(&row(5, 2)), row(7, 9));
    let parked = parked(ConflictKind::UpdateUpdate, &[], &local, Some(&current));
    let key = table().key[0];
    assert_eq!(decide(&table(), &parked, Resolution::Manual, &[(key, Value::Int(9))]), Err(DecideError::ReadOnly("id".into())));
    assert_eq!(
        merged_row(&table(), &current, &local, Resolution::Manual, &[(key, Value::Int(9))]),
        Err(DecideError::ReadOnly("id".into()))
    );
}

/// A row with small values, so that sides are often equal.
fn small() -> impl Strategy<Value = Row> {
    (0..3i64, 0..3i64, any::<bool>()).prop_map(|(a, b, mark)| vec![Value::Int(1), Value::Int(a), Value::Int(b), Value::Bool(mark)])
}

fn any_kind() -> impl Strategy<Value = ConflictKind> {
    use ConflictKind::{Check, DeleteUpdate, ForeignKey, InsertInsert, Rejected, Schema, Unique, UpdateDelete, UpdateUpdate};
    prop::sample::select(vec![UpdateUpdate, UpdateDelete, DeleteUpdate, InsertInsert, Unique, ForeignKey, Check, Schema, Rejected])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// CLOUD_WINS never writes; LOCAL_WINS leaves every column alone that did not clash (but the mark, when an edit revives the row); MANUAL
    /// writes the values given over what there is; none of them changes the key; and carried out again a write is the same.
    #[test]
    fn decisions_keep_their_laws(kind in any_kind(), local in small(), current in prop::option::of(small()), clash_a: bool, manual in 0..3i64) {
        let table = table();
        let (known, clashed) = (known(&local), [number(A)]);
        let clashed = if clash_a { &clashed[..] } else { &[] };
        let parked = parked(kind, clashed, &known, current.as_ref());
        prop_assert_eq!(decide(&table, &parked, Resolution::CloudWins, &[]).unwrap(), Effect::Nothing);

        let won = decide(&table, &parked, Resolution::LocalWins, &[]);
        if kind == ConflictKind::Schema && !clash_a {
            // All that the site edited is gone from the schema.
            prop_assert_eq!(won, Err(DecideError::Gone));
            return Ok(());
        }
        let won = won.unwrap();
        if let (Effect::Write(row) | Effect::Replace(row), Some(current)) = (&won, &current) {
            prop_assert_eq!(&row[0], &current[0]);
            if clash_a {
                prop_assert_eq!(&row[B], &current[B]);
                if kind != ConflictKind::DeleteUpdate {
                    prop_assert_eq!(&row[A], &local[A]);
                }
            }
            let again = parked_again(kind, clashed, &known, row);
            prop_assert_eq!(decide(&table, &again, Resolution::LocalWins, &[]).unwrap(), won.clone());
        }
        let given = [(number(B), Value::Int(manual))];
        if let Effect::Write(row) = decide(&table, &parked, Resolution::Manual, &given).unwrap() {
            prop_assert_eq!(&row[B], &given[0].1);
            prop_assert_eq!(&row[A], &current.as_ref().unwrap_or(&local)[A]);
        }
    }

    /// Every node once; whatever a node refers to is in its own unit or in an earlier one; what is in one unit can be reached both ways.
    #[test]
    fn units_come_after_all_that_they_refer_to(edges in prop::collection::vec(prop::collection::vec(0..12usize, 0..4), 1..12)) {
        let count = edges.len();
        let refers: Vec<Vec<usize>> = edges.into_iter().map(|targets| targets.into_iter().filter(|target| *target < count).collect()).collect();
        let units = units(&refers);
        let place = |node: usize| units.iter().position(|unit| unit.contains(&node)).unwrap();
        prop_assert_eq!(units.iter().map(Vec::len).sum::<usize>(), count);
        let reaches = |from: usize, to: usize| {
            let (mut seen, mut open) = (vec![false; count], vec![from]);
            while let Some(node) = open.pop() {
                for target in &refers[node] {
                    if !std::mem::replace(&mut seen[*target], true) {
                        open.push(*target);
                    }
                }
            }
            seen[to]
        };
        for (node, targets) in refers.iter().enumerate() {
            for target in targets {
                prop_assert!(place(*target) <= place(node));
            }
            for other in 0..count {
                let together = node == other || reaches(node, other) && reaches(other, node);
                prop_assert_eq!(place(node) == place(other), together);
            }
        }
    }

    /// The order of rows does not matter, their content does.
    #[test]
    fn a_digest_of_besides_is_one_of_a_set(rows in prop::collection::vec(small(), 0..5), at in any::<prop::sample::Index>()) {
        let table = table();
        let digest = |rows: &[Row]| besides_digest(rows.iter().map(|row| (&table, row.as_slice(), BesidesEffect::Deleted)));
        let mut turned = rows.clone();
        turned.reverse();
        prop_assert_eq!(digest(&rows), digest(&turned));
        prop_assert_eq!(digest(&rows).is_none(), rows.is_empty());
        if !rows.is_empty() {
            let mut changed = rows.clone();
            changed[at.index(rows.len())][A] = Value::Int(77);
            prop_assert_ne!(digest(&rows), digest(&changed));
            prop_assert_ne!(digest(&rows), besides_digest(rows.iter().map(|row| (&table, row.as_slice(), BesidesEffect::Cleared))));
        }
    }
}

fn parked_again<'a>(kind: ConflictKind, clashed: &'a [ColumnNo], local: &'a [Option<Value>], current: &'a Row) -> Parked<'a> {
    parked(kind, clashed, local, Some(current))
}

/// The site deletes by the mark what it also edited, over a row that changed: by policy the whole edit is taken, and the site is told what it
/// cannot know.
#[test]
fn a_mark_that_wins_by_policy_takes_the_whole_edit_and_names_what_stands_otherwise() {
    let mark = Edit { column: number(MARK), base: Value::Bool(false), new: Value::Bool(true) };
    let op = || Op::Update(vec![edit(A, 1, 5), edit(B, 2, 2), mark.clone()]);
    let won = ruled(Policy::LocalWins, Some(&row(7, 8)), op(), false);
    assert_eq!((won.decision, won.merged.as_slice()), (Decision::Write(marked(5, 8)), &[number(B)][..]));
    let parked = ruled(Policy::Manual, Some(&row(7, 8)), op(), false).decision;
    let Decision::Park { kind: ConflictKind::DeleteUpdate, clashed, write: None, .. } = parked else { panic!("{parked:?}") };
    assert_eq!(clashed, [number(A), number(B), number(MARK)], "nothing of it is written, so all of it is parked");
}

#[test]
fn where_nothing_is_written_everything_that_was_edited_is_parked() {
    let mut table = table();
    table.columns[A].policy = Policy::Add;
    let (present, place) = (row(i64::MAX, 2), at(2));
    let addition = Addition { id: uuid::Uuid::nil(), column: number(A), amount: Value::Int(1) };
    let change = RowChange { additions: vec![addition], ..change(Op::Update(vec![edit(B, 2, 6)])) };
    let decision = reconcile(&table, Current::new(Some(&present), Some(&place), false), &change, false).decision;
    let Decision::Park { kind: ConflictKind::Check, clashed, write: None, .. } = decision else { panic!("{decision:?}") };
    assert_eq!(clashed, [number(A), number(B)]);
    let wrong = Edit { column: number(A), base: Value::Int(1), new: Value::Text("one".into()) };
    let unreadable = judge(Some(&row(1, 2)), Op::Update(vec![wrong, edit(B, 2, 6)]));
    let Decision::Park { kind: ConflictKind::Rejected, clashed, write: None, .. } = unreadable else { panic!("{unreadable:?}") };
    assert_eq!(clashed, [number(A), number(B)]);
}

#[test]
fn a_value_of_then_is_read_by_its_text_and_one_that_fits_no_more_is_never_passed_over() {
    let json = serde_json::json!({"a": "33", "b": "big"});
    let local = sync_core::write::row_from_json(&table(), &json);
    assert_eq!((&local[A], &local[B]), (&Some(Value::Int(33)), &None));
    let (current, clashed) = (row(1, 2), [number(A), number(B)]);
    let decided =
        |clashed| decide(&table(), &parked(ConflictKind::UpdateUpdate, clashed, &local, Some(&current)), Resolution::LocalWins, &[]);
    assert_eq!(decided(&clashed[..1]), Ok(Effect::Write(row(33, 2))));
    assert_eq!(decided(&clashed), Err(DecideError::Outgrown("b".to_owned())));
}

#[test]
fn an_etag_of_a_version_names_every_content_of_it_and_of_no_other() {
    use sync_core::change::{etag, etag_of_version, is_named_by};
    let of = |version, row: &Row| etag(&table(), version, row);
    let version = etag_of_version(&of(7, &row(1, 2)));
    assert!(is_named_by(&of(7, &row(1, 2)), &version) && is_named_by(&of(7, &row(3, 4)), &version));
    assert!(!is_named_by(&of(70, &row(1, 2)), &version) && !is_named_by(&of(6, &row(1, 2)), &version));
    assert!(is_named_by(&of(7, &row(1, 2)), &of(7, &row(1, 2))) && !is_named_by(&of(7, &row(1, 2)), &of(7, &row(3, 4))));
}
