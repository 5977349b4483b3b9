//! Columns of the policy `add` at a site: live is the newest cloud image with what is not answered added to it. They are never compared, but
//! for edits from or to NULL, which are edits like any other.

use super::Unanswered;
use crate::catalog::Column;
use crate::policy::{Policy, about_equal, add, difference};
use crate::value::Value;

/// The value with all that is unanswered of this column added to it.
pub(super) fn on(column: &Column, value: &Value, unanswered: &[Unanswered]) -> Value {
    amounts(column, unanswered).fold(value.clone(), |sum, amount| add(&column.ty, &sum, amount).unwrap_or(sum))
}

/// The value without it: what an edit gave besides.
pub(super) fn without(column: &Column, value: &Value, unanswered: &[Unanswered]) -> Value {
    let zero = difference(&column.ty, value, value);
    let sum = zero.map(|zero| on(column, &zero, unanswered));
    sum.and_then(|sum| difference(&column.ty, &sum, value)).unwrap_or_else(|| value.clone())
}

/// Whether the difference between an image and the live value is all additions.
pub(super) fn explain(column: &Column, image: &Value, live: &Value, unanswered: &[Unanswered]) -> bool {
    column.policy == Policy::Add && !image.is_null() && !live.is_null() && about_equal(&on(column, image, unanswered), live)
}

fn amounts<'a>(column: &Column, unanswered: &'a [Unanswered]) -> impl Iterator<Item = &'a Value> {
    let no = column.no;
    unanswered.iter().filter(move |one| one.addition.column == no).map(|one| &one.addition.amount)
}
