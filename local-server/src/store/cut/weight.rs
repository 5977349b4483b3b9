//! What changes weigh in a push, and how much it may hold.

use sync_core::change::{Edit, Op, RowChange};
use sync_core::id::ColumnNo;
use sync_core::value::Value;

/// What one push may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes before compression, roughly.
    pub bytes: usize,
    /// MessagePack elements, roughly.
    pub elements: usize,
}

/// Roughly the bytes and MessagePack elements of a change.
pub(super) fn weigh(change: &RowChange) -> (usize, usize) {
    let values = |pairs: &[(ColumnNo, Value)]| pairs.iter().map(|(_, value)| value_bytes(value) + 4).sum::<usize>();
    let edits = |edits: &[Edit]| edits.iter().map(|edit| value_bytes(&edit.base) + value_bytes(&edit.new) + 6).sum::<usize>();
    let (bytes, elements) = match &change.op {
        Op::Insert(pairs) | Op::Delete(pairs) => (values(pairs), 3 * pairs.len()),
        Op::Update(list) => (edits(list), 4 * list.len()),
        Op::Rekey(old, list) => (edits(list) + old.0.iter().map(value_bytes).sum::<usize>(), 4 * list.len() + old.0.len() + 2),
    };
    let additions: usize = change.additions.iter().map(|addition| value_bytes(&addition.amount) + 24).sum();
    let times: usize = change.times.iter().map(|(_, at)| at.len() + 6).sum();
    let noted = 4 * change.additions.len() + 3 * change.times.len();
    (bytes + additions + times + 160, elements + noted + 20 + change.key.0.len())
}

/// Roughly the bytes of a value.
pub(super) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 9,
        Value::Uuid(_) => 18,
        Value::Text(text) => text.len() + 5,
        Value::Bytes(bytes) => bytes.len() + 5,
    }
}
