//! Users, API tokens and sessions. Users and tokens are synced tables: plain writes here, stamped by their triggers, reach every site.

use conflict_ui_api::backend::{Principal, Role, Token, User};
use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::error::StoreError;

/// What became of a change to the users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is written.
    Done,
    /// There is no such user.
    Unknown,
    /// It would leave no admin who can sign in; nothing was written.
    LastAdmin,
}

const USER: &str = "name, role, password_hash, one_time_hash, disabled";
const TOKEN: &str = "id, user_name, label, secret_hash, created_at, expires_at";

/// The user of this name.
///
/// # Errors
/// The store failed.
pub async fn user(db: &impl GenericClient, name: &str) -> Result<Option<User>, StoreError> {
    let row = db.query_opt(&format!("SELECT {USER} FROM rejoin.users WHERE name = $1"), &[&name]).await?;
    row.as_ref().map(user_of).transpose()
}

/// Every user, by name.
///
/// # Errors
/// The store failed.
pub async fn users(db: &impl GenericClient) -> Result<Vec<User>, StoreError> {
    db.query(&format!("SELECT {USER} FROM rejoin.users ORDER BY name COLLATE \"C\""), &[]).await?.iter().map(user_of).collect()
}

/// Creates or changes a user.
///
/// # Errors
/// The store failed; the name cannot be one (SQLSTATE 23514).
pub async fn put_user(db: &mut impl GenericClient, user: &User) -> Result<Changed, StoreError> {
    let transaction = db.transaction().await?;
    let admins = admins(&transaction).await?;
    transaction
        .execute(
            "INSERT INTO rejoin.users AS u (name, role, password_hash, one_time_hash, disabled) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO UPDATE SET role = excluded.role, password_hash = excluded.password_hash,
                one_time_hash = excluded.one_time_hash, disabled = excluded.disabled
             WHERE (u.role, u.password_hash, u.one_time_hash, u.disabled)
                IS DISTINCT FROM (excluded.role, excluded.password_hash, excluded.one_time_hash, excluded.disabled)",
            &[&user.name, &role_name(user.role), &user.password_hash, &user.one_time_hash, &user.disabled],
        )
        .await?;
    keep_an_admin(transaction, admins).await
}

/// Makes an admin with a one-time secret where there is no user at all; whether it did.
///
/// # Errors
/// The store failed.
pub async fn make_first(db: &impl GenericClient, name: &str, one_time_hash: &str) -> Result<bool, StoreError> {
    let sql = "INSERT INTO rejoin.users (name, role, one_time_hash) SELECT $1, 'admin', $2 WHERE NOT EXISTS (SELECT FROM rejoin.users)
               ON CONFLICT (name) DO NOTHING";
    Ok(db.execute(sql, &[&name, &one_time_hash]).await? > 0)
}

/// Removes a user with sessions and tokens.
///
/// # Errors
/// The store failed.
pub async fn remove_user(db: &mut impl GenericClient, name: &str) -> Result<Changed, StoreError> {
    let transaction = db.transaction().await?;
    let admins = admins(&transaction).await?;
    transaction.execute("DELETE FROM rejoin.sessions WHERE user_name = $1", &[&name]).await?;
    // Before the user, so that the tombstones of tokens and user stand in the order in which sites can apply them.
    transaction.execute("DELETE FROM rejoin.tokens WHERE user_name = $1", &[&name]).await?;
    if transaction.execute("DELETE FROM rejoin.users WHERE name = $1", &[&name]).await? == 0 {
        return Ok(Changed::Unknown);
    }
    keep_an_admin(transaction, admins).await
}

async fn admins(db: &impl GenericClient) -> Result<i64, StoreError> {
    Ok(db.query_one("SELECT count(*) FROM rejoin.users WHERE role = 'admin' AND NOT disabled", &[]).await?.get(0))
}

/// Commits unless the last admin would be gone. Two at once cannot both pass: the first one's change holds the head of `global`.
async fn keep_an_admin(transaction: deadpool_postgres::Transaction<'_>, before: i64) -> Result<Changed, StoreError> {
    if before > 0 && admins(&transaction).await? == 0 {
        transaction.rollback().await?;
        return Ok(Changed::LastAdmin);
    }
    transaction.commit().await?;
    Ok(Changed::Done)
}

/// Stores a session or an API token. Sessions that ran out are removed on the way.
///
/// # Errors
/// The store failed; there is no such user (SQLSTATE 23503).
pub async fn put_token(db: &impl GenericClient, token: &Token) -> Result<(), StoreError> {
    match &token.label {
        Some(label) => {
            db.execute(
                &format!("INSERT INTO rejoin.tokens ({TOKEN}) VALUES ($1, $2, $3, $4, $5, $6)"),
                &[&token.id, &token.user, label, &token.secret_hash, &token.created_at, &token.expires_at],
            )
            .await?;
        }
        None => {
            db.execute("DELETE FROM rejoin.sessions WHERE expires_at < now()", &[]).await?;
            db.execute(
                "INSERT INTO rejoin.sessions (id, user_name, secret_hash, created_at, expires_at)
                 VALUES ($1, $2, $3, $4::timestamptz, coalesce($5, $4::timestamptz + interval '12 hours'))",
                &[&token.id, &token.user, &token.secret_hash, &token.created_at, &token.expires_at],
            )
            .await?;
        }
    }
    Ok(())
}

/// Who holds the secret of this SHA-256.
///
/// # Errors
/// The store failed.
pub async fn holder(db: &impl GenericClient, secret_hash: &str) -> Result<Option<Principal>, StoreError> {
    let row = db
        .query_opt(
            "SELECT u.name, u.role FROM rejoin.users u JOIN (
                 SELECT user_name, expires_at FROM rejoin.sessions WHERE secret_hash = $1
                 UNION ALL SELECT user_name, expires_at FROM rejoin.tokens WHERE secret_hash = $1
             ) held ON held.user_name = u.name
             WHERE NOT u.disabled AND coalesce(held.expires_at > now(), true) LIMIT 1",
            &[&secret_hash],
        )
        .await?;
    row.map(|row| Ok(Principal { name: row.get(0), role: role_of(row.get(1))? })).transpose()
}

/// API tokens of one user or of all, newest first.
///
/// # Errors
/// The store failed.
pub async fn tokens(db: &impl GenericClient, user: Option<&str>) -> Result<Vec<Token>, StoreError> {
    let sql = format!("SELECT {TOKEN} FROM rejoin.tokens WHERE $1::text IS NULL OR user_name = $1 ORDER BY created_at DESC, id");
    Ok(db.query(&sql, &[&user]).await?.iter().map(token_of).collect())
}

/// Revokes a token or session; whether there was one.
///
/// # Errors
/// The store failed.
pub async fn revoke_token(db: &impl GenericClient, id: &str) -> Result<bool, StoreError> {
    let sessions = db.execute("DELETE FROM rejoin.sessions WHERE id = $1", &[&id]).await?;
    Ok(sessions + db.execute("DELETE FROM rejoin.tokens WHERE id = $1", &[&id]).await? > 0)
}

/// Ends a user's sessions, but for one.
///
/// # Errors
/// The store failed.
pub async fn revoke_sessions(db: &impl GenericClient, user: &str, except: Option<&str>) -> Result<(), StoreError> {
    db.execute("DELETE FROM rejoin.sessions WHERE user_name = $1 AND id IS DISTINCT FROM $2", &[&user, &except]).await?;
    Ok(())
}

fn user_of(row: &Row) -> Result<User, StoreError> {
    Ok(User { name: row.get(0), role: role_of(row.get(1))?, password_hash: row.get(2), one_time_hash: row.get(3), disabled: row.get(4) })
}

fn token_of(row: &Row) -> Token {
    Token { id: row.get(0), user: row.get(1), label: row.get(2), secret_hash: row.get(3), created_at: row.get(4), expires_at: row.get(5) }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Editor => "editor",
        Role::Admin => "admin",
    }
}

fn role_of(name: &str) -> Result<Role, StoreError> {
    match name {
        "viewer" => Ok(Role::Viewer),
        "editor" => Ok(Role::Editor),
        "admin" => Ok(Role::Admin),
        other => Err(StoreError::Corrupt(format!("the role {other} of a user"))),
    }
}
