//! Users and API tokens as the cloud sent them, read only; sessions, which live at the server that made them.

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{Principal, Role, Token, User};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::store::error::Result;

const USER: &str = "name, role, password_hash, one_time_hash, disabled";
const TOKEN: &str = "id, user_name, label, secret_hash, created_at, expires_at";

/// Whether the cloud's users have arrived yet.
///
/// # Errors
/// The database.
pub fn has_users(connection: &Connection) -> Result<bool> {
    let sql = "SELECT count(*) = 2 FROM sqlite_schema WHERE type = 'table' AND name IN ('rejoin_users', 'rejoin_tokens')";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// The user of this name.
///
/// # Errors
/// The database.
pub fn user(connection: &Connection, name: &str) -> Result<Option<User>> {
    if !has_users(connection)? {
        return Ok(None);
    }
    Ok(connection.query_row(&format!("SELECT {USER} FROM rejoin_users WHERE name = ?1"), [name], user_of).optional()?)
}

/// Every user, by name.
///
/// # Errors
/// The database.
pub fn users(connection: &Connection) -> Result<Vec<User>> {
    if !has_users(connection)? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(&format!("SELECT {USER} FROM rejoin_users ORDER BY name"))?;
    Ok(statement.query_map([], user_of)?.collect::<rusqlite::Result<_>>()?)
}

/// Stores a session. Those that ran out are removed on the way.
///
/// # Errors
/// The database.
pub fn put_session(connection: &Connection, session: &Token, now: DateTime<Utc>) -> Result<()> {
    connection.execute("DELETE FROM rejoin_sessions WHERE expires_at < ?1", [moment(now)])?;
    // A session without an end ends with the longest that a sign-in may last.
    let expires_at = session.expires_at.unwrap_or(session.created_at + chrono::Duration::hours(12));
    connection.execute(
        "INSERT INTO rejoin_sessions (id, user_name, secret_hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![session.id, session.user, session.secret_hash, moment(session.created_at), moment(expires_at)],
    )?;
    Ok(())
}

/// Who holds the secret of this SHA-256; nobody whose user is gone or disabled.
///
/// # Errors
/// The database.
pub fn holder(connection: &Connection, secret_hash: &str, now: DateTime<Utc>) -> Result<Option<Principal>> {
    if !has_users(connection)? {
        return Ok(None);
    }
    let sql = "SELECT u.name, u.role, held.expires_at FROM rejoin_users u JOIN (
                   SELECT user_name, expires_at FROM rejoin_sessions WHERE secret_hash = ?1
                   UNION ALL SELECT user_name, expires_at FROM rejoin_tokens WHERE secret_hash = ?1
               ) held ON held.user_name = u.name WHERE u.disabled = 0";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([secret_hash])?;
    while let Some(row) = rows.next()? {
        let expires_at: Option<String> = row.get(2)?;
        // What cannot be read has run out.
        let valid = expires_at.is_none_or(|text| text.parse::<DateTime<Utc>>().is_ok_and(|end| end > now));
        if valid {
            return Ok(Some(Principal { name: row.get(0)?, role: role_of(&row.get::<_, String>(1)?) }));
        }
    }
    Ok(None)
}

/// API tokens of one user or of all, newest first.
///
/// # Errors
/// The database.
pub fn tokens(connection: &Connection, user: Option<&str>) -> Result<Vec<Token>> {
    if !has_users(connection)? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {TOKEN} FROM rejoin_tokens WHERE ?1 IS NULL OR user_name = ?1 ORDER BY created_at DESC, id");
    let mut statement = connection.prepare(&sql)?;
    Ok(statement.query_map([user], token_of)?.collect::<rusqlite::Result<_>>()?)
}

/// Ends a session; whether there was one.
///
/// # Errors
/// The database.
pub fn end_session(connection: &Connection, id: &str) -> Result<bool> {
    Ok(connection.execute("DELETE FROM rejoin_sessions WHERE id = ?1", [id])? > 0)
}

/// Ends a user's sessions, but for one.
///
/// # Errors
/// The database.
pub fn end_sessions(connection: &Connection, user: &str, except: Option<&str>) -> Result<()> {
    connection.execute("DELETE FROM rejoin_sessions WHERE user_name = ?1 AND id IS NOT ?2", params![user, except])?;
    Ok(())
}

fn moment(time: DateTime<Utc>) -> String {
    sync_core::value::timestamp_text(time)
}

fn user_of(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        name: row.get(0)?,
        role: role_of(&row.get::<_, String>(1)?),
        password_hash: row.get(2)?,
        one_time_hash: row.get(3)?,
        disabled: row.get(4)?,
    })
}

fn token_of(row: &Row<'_>) -> rusqlite::Result<Token> {
    let time = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(at)?.and_then(|text| text.parse::<DateTime<Utc>>().ok()));
    Ok(Token {
        id: row.get(0)?,
        user: row.get(1)?,
        label: row.get(2)?,
        secret_hash: row.get(3)?,
        created_at: time(4)?.unwrap_or_default(),
        expires_at: time(5)?,
    })
}

/// A role that only a newer cloud knows may read.
fn role_of(name: &str) -> Role {
    match name {
        "admin" => Role::Admin,
        "editor" => Role::Editor,
        _ => Role::Viewer,
    }
}
