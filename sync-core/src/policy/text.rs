//! Three-way merge of texts, line by line.

use crate::value::Value;

/// Both sides' changes; `None` where they touch, or a side is no text. A text of one line is one line: two changes of it always touch.
pub(super) fn merge(base: &Value, cloud: &Value, local: &Value) -> Option<Value> {
    let (Value::Text(cloud), Value::Text(local)) = (cloud, local) else { return None };
    let base = match base {
        Value::Text(base) => base.as_str(),
        Value::Null => "",
        _ => return None,
    };
    // A last line without its end would differ from the same line with something after it.
    let [base, cloud, local] = [base, cloud, local].map(|text| format!("{text}\n"));
    let mut merged = diffy::merge(&base, &cloud, &local).ok()?;
    merged.pop();
    Some(Value::Text(merged))
}
