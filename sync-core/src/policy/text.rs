//! Three-way merge of texts, line by line.

use crate::limits::MERGE_LINES_MAX;
use crate::value::Value;

/// Both sides' changes; `None` where they touch, or a side is no text. A text of one line is one line: two changes of it always touch.
/// Nor is a text of more than [`MERGE_LINES_MAX`] lines merged.
pub(super) fn merge(base: &Value, cloud: &Value, local: &Value) -> Option<Value> {
    let (Value::Text(cloud), Value::Text(local)) = (cloud, local) else { return None };
    let base = match base {
        Value::Text(base) => base.as_str(),
        Value::Null => "",
        _ => return None,
    };
    // The merge takes time by the product of its lines, and scopes are locked meanwhile.
    if [base, cloud, local].iter().any(|text| text.lines().count() > MERGE_LINES_MAX) {
        return None;
    }
    // A last line without its end would differ from the same line with something after it.
    let [base, cloud, local] = [base, cloud, local].map(|text| format!("{text}\n"));
    let mut merged = diffy::merge(&base, &cloud, &local).ok()?;
    merged.pop();
    Some(Value::Text(merged))
}
