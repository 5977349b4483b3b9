//! What a notice says. Composed once, just before it is first sent, so that it can tell how much there is by then.

use chrono::{DateTime, SecondsFormat, Utc};
use deadpool_postgres::{Client, GenericClient};
use serde_json::{Value, json};
use sync_core::limits::{NOTICE_TEXT_CHARS_MAX, WEBHOOK_BODY_BYTES_MAX};
use uuid::Uuid;

use crate::store::error::StoreError;

/// The body of a notice: as it was composed before, else composed now.
///
/// # Errors
/// The store failed.
pub(super) async fn body(client: &mut Client, id: Uuid) -> Result<String, StoreError> {
    let transaction = client.transaction().await?;
    // Whoever adds to what it tells waits, and finds it composed.
    let sql = "SELECT kind, about, body, now() FROM rejoin.notices WHERE id = $1 FOR NO KEY UPDATE";
    let row = transaction.query_one(sql, &[&id]).await?;
    if let Some(body) = row.try_get(2)? {
        return Ok(body);
    }
    let (kind, about): (String, Value) = (row.try_get(0)?, row.try_get(1)?);
    let (name, data) = match kind.as_str() {
        "conflicts" => ("conflicts.new", conflicts(&transaction, &about).await?),
        "silence" => ("site.silent", about),
        "back" => ("site.back", about),
        "schema" => ("schema.suspended", about),
        _ => ("run.failed", about),
    };
    let now: DateTime<Utc> = row.try_get(3)?;
    let body = message(name, now, data);
    transaction.execute("UPDATE rejoin.notices SET body = $2 WHERE id = $1", &[&id, &body]).await?;
    transaction.commit().await?;
    Ok(body)
}

/// The envelope that Standard Webhooks recommends.
fn message(name: &str, at: DateTime<Utc>, data: Value) -> String {
    let timestamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let body = json!({ "type": name, "timestamp": timestamp, "data": data }).to_string();
    // Names and texts are bounded; this holds whatever else comes to stand in a notice.
    if body.len() <= WEBHOOK_BODY_BYTES_MAX { body } else { json!({ "type": name, "timestamp": timestamp, "data": {} }).to_string() }
}

async fn conflicts(db: &impl GenericClient, about: &Value) -> Result<Value, StoreError> {
    let group = about.get("group").and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok());
    let sql = "SELECT s.name, coalesce(c.table_name, t.table_name, ''), g.kind, c.roots, c.open, c.dependents, c.reason
               FROM rejoin.conflict_groups g JOIN rejoin.sites s ON s.id = g.site_id LEFT JOIN rejoin.tables t ON t.no = g.table_no
               CROSS JOIN LATERAL (
                   SELECT min(table_name) FILTER (WHERE root_id IS NULL) AS table_name, count(*) FILTER (WHERE root_id IS NULL) AS roots,
                          count(*) FILTER (WHERE root_id IS NULL AND resolution = 'PENDING') AS open,
                          count(*) FILTER (WHERE root_id IS NOT NULL) AS dependents,
                          (array_agg(reason ORDER BY created_at, id) FILTER (WHERE root_id IS NULL))[1] AS reason
                   FROM rejoin.sync_conflicts WHERE group_id = g.id) AS c
               WHERE g.id = $1";
    let Some(row) = db.query_opt(sql, &[&group]).await? else { return Ok(about.clone()) };
    let (conflicts, open, dependents): (i64, i64, i64) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    Ok(json!({
        "group": group,
        "site": row.try_get::<_, &str>(0)?,
        "table": row.try_get::<_, &str>(1)?,
        "kind": row.try_get::<_, &str>(2)?,
        "conflicts": conflicts,
        "open": open,
        "dependents": dependents,
        "reason": row.try_get::<_, Option<&str>>(6)?.map(bounded),
        "path": group.map(|group| format!("/conflicts?group={group}")),
    }))
}

/// A text of bounded length, without control characters.
pub(crate) fn bounded(text: &str) -> String {
    let mut short: String = text.chars().take(NOTICE_TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(NOTICE_TEXT_CHARS_MAX).is_some() {
        short.push_str("..");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_is_larger_than_allowed_and_no_text_longer() {
        let whole = message("a", DateTime::UNIX_EPOCH, json!({ "x": "y" }));
        assert_eq!(whole, r#"{"type":"a","timestamp":"1970-01-01T00:00:00.000Z","data":{"x":"y"}}"#);
        let cut = message("a", DateTime::UNIX_EPOCH, json!({ "x": "y".repeat(WEBHOOK_BODY_BYTES_MAX) }));
        assert_eq!(cut, r#"{"type":"a","timestamp":"1970-01-01T00:00:00.000Z","data":{}}"#);
        assert_eq!(bounded("a\nb"), "a b");
        assert_eq!(bounded(&"é".repeat(NOTICE_TEXT_CHARS_MAX + 1)).chars().count(), NOTICE_TEXT_CHARS_MAX + 2);
    }
}
