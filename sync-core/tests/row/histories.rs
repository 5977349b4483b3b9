//! Histories that broke a draft of the design, or that the properties found: each by its name.

use sync_core::policy::Policy;

use crate::events::{Step, run};
use crate::policies;
use crate::table::{A, B};

/// History 1a: the row is dirty, a pull brings another value of the same column, the user puts the old value back by hand.
#[test]
fn h01a_put_back_by_hand() {
    run(&[Step::Edit(0, A), Step::CloudEdit(A), Step::Fetch(0), Step::Apply(0), Step::Toggle(0)]);
}

/// History 1b: the push is taken, its answer late; meanwhile the cloud's value moves on and is pulled.
#[test]
fn h01b_late_answer() {
    run(&[Step::Edit(0, A), Step::Cut(0), Step::Take(0), Step::CloudEdit(A), Step::Fetch(0), Step::Apply(0), Step::Deliver(0)]);
}

/// History 1d: an old answer after a newer pull of another column.
#[test]
fn h01d_old_answer_over_newer_pull() {
    run(&[Step::Edit(0, A), Step::Cut(0), Step::Take(0), Step::CloudEdit(B), Step::Fetch(0), Step::Apply(0), Step::Deliver(0)]);
}

/// History 9: the push clashes while its author types on; the later edit joins the conflict and never overwrites what nobody saw.
#[test]
fn h09_edit_while_clashing() {
    run(&[Step::Edit(0, A), Step::CloudEdit(A), Step::Cut(0), Step::Take(0), Step::Edit(0, A), Step::Deliver(0)]);
}

/// History 10, second half: deleted here, changed there: the delete is never rebased onto the update.
#[test]
fn h10_delete_is_never_rebased() {
    run(&[Step::Delete(0), Step::CloudEdit(A), Step::Fetch(0), Step::Apply(0), Step::Cut(0), Step::Take(0), Step::Deliver(0)]);
    run(&[Step::Mark(0), Step::CloudEdit(A), Step::Fetch(0), Step::Apply(0), Step::Cut(0), Step::Take(0), Step::Deliver(0)]);
}

/// History 4c: inserted, pushed, deleted before the answer: the delete follows.
#[test]
fn h04c_deleted_while_its_insert_is_under_way() {
    run(&[
        Step::CloudDelete,
        Step::Fetch(0),
        Step::Apply(0),
        Step::Insert(0),
        Step::Cut(0),
        Step::Take(0),
        Step::Delete(0),
        Step::Deliver(0),
    ]);
}

/// Found by the property above: two columns of one row are edited while an answer and a pull cross.
#[test]
fn an_edit_beside_the_pushed_column_keeps_the_base_its_author_saw() {
    run(&[Step::Edit(1, A), Step::Cut(1), Step::CloudEdit(B), Step::Edit(1, B)]);
    run(&[
        Step::CloudEdit(A),
        Step::Edit(1, A),
        Step::Cut(1),
        Step::CloudEdit(B),
        Step::Fetch(1),
        Step::Edit(1, B),
        Step::Apply(1),
        Step::Take(1),
        Step::Deliver(1),
        Step::Toggle(1),
    ]);
    run(&[Step::CloudEdit(B), Step::Fetch(0), Step::Edit(0, B), Step::Apply(0), Step::Toggle(0), Step::Edit(0, A)]);
}

/// History 12: both sites sell one piece; no value can tell that from the same sale twice.
#[test]
fn h12_two_equal_sales_count_twice() {
    let both = [0, 1].map(|site| [policies::Step::Add(Some(site), -1), policies::Step::Cut(site), policies::Step::Take(site)]).concat();
    policies::run(Policy::Manual, Policy::Manual, &both);
}

/// History 12, the other half: the file is put back to before the answer and offers its sale again.
#[test]
fn h12_a_sale_that_is_offered_again_counts_once() {
    let steps = [
        policies::Step::Add(Some(0), -1),
        policies::Step::Backup(0),
        policies::Step::Cut(0),
        policies::Step::Take(0),
        policies::Step::Deliver(0),
        policies::Step::Restore(0),
        policies::Step::Cut(0),
        policies::Step::Take(0),
    ];
    policies::run(Policy::Manual, Policy::Manual, &steps);
}

/// History 10: one edits a part of the group, the other another part.
#[test]
fn h10_a_group_clashes_as_one() {
    for pair in [Policy::Manual, Policy::CloudWins, Policy::LocalWins, Policy::Newest] {
        policies::run(
            Policy::Manual,
            pair,
            &[
                policies::Step::Pair(Some(0), false),
                policies::Step::Pair(None, true),
                policies::Step::Fetch(0),
                policies::Step::Apply(0),
                policies::Step::Cut(0),
                policies::Step::Take(0),
            ],
        );
    }
}
