//! Column defaults: which of them a site can make by itself.

use sync_core::catalog::DefaultValue;
use sync_core::value::ColumnType;
use tokio_postgres::Client;

use super::FoundColumn;

/// What a default expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultForm {
    /// A literal with casts, to be evaluated by PostgreSQL.
    Literal,
    /// The time of the write.
    Now,
    /// A new uuid.
    Uuid,
    /// Anything else.
    Cloud,
}

const NOW: [&str; 6] =
    ["now()", "current_timestamp", "transaction_timestamp()", "statement_timestamp()", "clock_timestamp()", "localtimestamp"];
const UUID: [&str; 6] = ["gen_random_uuid()", "uuidv7()", "uuidv4()", "uuid_generate_v4()", "uuid_generate_v7()", "uuid_generate_v1mc()"];

/// Sorts an expression as `pg_get_expr` prints it.
pub(super) fn classify(expression: &str, ty: &ColumnType) -> DefaultForm {
    let bare = expression.trim().trim_end_matches("::text").trim_start_matches('(').trim_end_matches(')').to_ascii_lowercase();
    let function = bare.rsplit('.').next().unwrap_or_default();
    let is = |name: &str| function.strip_prefix(name.trim_end_matches(')')).is_some_and(|rest| rest.is_empty() || is_precision(rest));
    let moment = matches!(ty, ColumnType::Timestamptz | ColumnType::Timestamp);
    if moment && (NOW.iter().any(|name| is(name)) || bare == "timezone('utc'::text, now(") {
        DefaultForm::Now
    } else if matches!(ty, ColumnType::Uuid | ColumnType::Text) && UUID.iter().any(|name| is(name)) {
        DefaultForm::Uuid
    } else if is_literal(expression, ty) {
        DefaultForm::Literal
    } else {
        DefaultForm::Cloud
    }
}

/// `(3` of `CURRENT_TIMESTAMP(3)`.
fn is_precision(rest: &str) -> bool {
    rest.strip_prefix('(').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the expression is one constant with casts: nothing in it can be a function call.
fn is_literal(expression: &str, ty: &ColumnType) -> bool {
    let mut parts = outside_quotes(expression);
    let casts = parts.matches("::").count();
    // `'now'::text::date` is evaluated anew at each insert, `'2026-01-01'::date` never.
    let of_the_day = matches!(
        ty,
        ColumnType::Timestamptz | ColumnType::Timestamp | ColumnType::Date | ColumnType::Time | ColumnType::Timetz | ColumnType::Other
    );
    if casts > 1 && of_the_day {
        return false;
    }
    parts.retain(|letter| !letter.is_whitespace());
    let constant = parts.split("::").next().unwrap_or_default().trim_matches(['(', ')']);
    let number = !constant.is_empty() && constant.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    number || matches!(constant, "''" | "true" | "false" | "NULL")
}

/// The expression with every string literal emptied.
fn outside_quotes(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut inside = false;
    for letter in expression.chars() {
        if letter == '\'' {
            inside = !inside;
            out.push(letter);
        } else if !inside {
            out.push(letter);
        }
    }
    // A doubled quote inside a literal left two empty ones side by side.
    while out.contains("''''") {
        out = out.replace("''''", "''");
    }
    out
}

/// The value of a literal, by PostgreSQL itself.
pub(super) async fn evaluate(client: &Client, expression: &str, column: &FoundColumn) -> Option<DefaultValue> {
    let ty = column.ty.as_ref()?;
    let cast = format!("CAST(({expression}) AS {})", column.sql_type);
    let sql = format!("SELECT {cast}::text");
    let text: Option<String> = match client.query_one(&sql, &[]).await {
        Ok(row) => row.get(0),
        Err(error) => {
            tracing::warn!(column = %column.name, %expression, %error, "a default could not be evaluated; sites leave it to the cloud");
            return Some(DefaultValue::Cloud);
        }
    };
    // DEFAULT NULL is no default.
    let text = text?;
    Some(ty.parse_postgres(&text).map_or(DefaultValue::Cloud, DefaultValue::Constant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_a_constant_the_time_a_uuid_or_the_clouds_own() {
        use DefaultForm::{Cloud, Literal, Now, Uuid};
        let tz = ColumnType::Timestamptz;
        for (expression, ty, form) in [
            ("'PLANNING'::public.\"ProductionStatus\"", ColumnType::Other, Literal),
            ("'it''s, nextval(1)'::text", ColumnType::Text, Literal),
            ("1", ColumnType::Int4, Literal),
            ("'-1'::integer", ColumnType::Int4, Literal),
            ("(-1)", ColumnType::Int4, Literal),
            ("1.50", ColumnType::Numeric, Literal),
            ("false", ColumnType::Bool, Literal),
            ("'{}'::text[]", ColumnType::Array(Box::new(ColumnType::Text)), Literal),
            ("'{\"a\": 1}'::jsonb", ColumnType::Json, Literal),
            ("NULL::character varying(40)", ColumnType::Text, Literal),
            ("'2026-01-01'::date", ColumnType::Date, Literal),
            ("('now'::text)::date", ColumnType::Date, Cloud),
            ("now()", tz.clone(), Now),
            ("CURRENT_TIMESTAMP(3)", tz.clone(), Now),
            ("timezone('utc'::text, now())", ColumnType::Timestamp, Now),
            ("(now() + '1 day'::interval)", tz.clone(), Cloud),
            ("now()", ColumnType::Date, Cloud),
            ("gen_random_uuid()", ColumnType::Uuid, Uuid),
            ("public.uuidv7()", ColumnType::Uuid, Uuid),
            ("(gen_random_uuid())::text", ColumnType::Text, Uuid),
            ("nextval('a_seq'::regclass)", ColumnType::Int8, Cloud),
            ("lower('A'::text)", ColumnType::Text, Cloud),
            ("session_user", ColumnType::Text, Cloud),
            ("(1 + 1)", ColumnType::Int4, Literal),
        ] {
            assert_eq!(classify(expression, &ty), form, "{expression}");
        }
    }
}
