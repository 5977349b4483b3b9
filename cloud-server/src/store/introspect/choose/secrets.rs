//! Columns that stay at the cloud: those whose names sound like secrets, until they are named, and those that `rejoin.toml` leaves out.

use super::plan::{LeftOutColumn, column_line};
use crate::settings::{Named, Settings, SettingsError, TableSettings};
use crate::store::introspect::{FoundColumn, FoundTable};

/// What a secret's name ends with, a word of it at least.
const SECRETS: [&str; 5] = ["password", "passwd", "token", "secret", "hash"];
/// What it may begin with as well.
const PASSWORDS: [&str; 2] = ["password", "passwd"];

/// Leaves the columns out that do not travel; tells which and why.
///
/// # Errors
/// `rejoin.toml` names a column that is not there, or leaves out one that the row cannot do without.
pub(super) fn leave_out(
    table: &mut FoundTable,
    settings: &Settings,
    own: Option<&TableSettings>,
) -> Result<Vec<LeftOutColumn>, SettingsError> {
    let (with, without): (&[Named], &[Named]) = own.map_or((&[], &[]), |own| (&own.with, &own.without));
    for (key, name) in with.iter().map(|name| ("with", name)).chain(without.iter().map(|name| ("without", name))) {
        let error = |why: &str| settings.error(name, format!("tables.{}.{key}: the column {} {why}", table.label(), name.get_ref()));
        match table.column_named(name.get_ref()) {
            None => return Err(error("is not there")),
            Some(column) if column.ty.is_none() => return Err(error("is made by PostgreSQL and not synced")),
            Some(column) if key == "without" => {
                if let Some(bond @ (Bond::Key | Bond::Reference)) = bond(table, column) {
                    return Err(error(bond.words()));
                }
            }
            Some(_) => {}
        }
    }
    let says = |listed: &[Named], column: &FoundColumn| listed.iter().any(|name| *name.get_ref() == column.name);
    for column in &mut table.columns {
        column.secret = (column.secret || is_secret(&column.name)) && !says(with, column);
    }
    let mut left = Vec::new();
    let mut notes = Vec::new();
    for column in table.columns.iter().filter(|column| column.ty.is_some()) {
        let name = &column.name;
        if says(without, column) {
            let otherwise = instead(table, without, column);
            left.push((column.attnum, LeftOutColumn { column: name.clone(), reason: "left out by rejoin.toml".to_owned(), otherwise }));
        } else if column.secret {
            if let Some(bond) = bond(table, column) {
                notes.push(format!("{name} looks like a secret and travels all the same: it {}", bond.words()));
                continue;
            }
            let otherwise = column_line(table, "with", with, Some(name), None);
            let reason = if is_secret(name) {
                "looks like a secret"
            } else {
                let line = otherwise.replace('\n', "  ");
                notes.push(format!("{name} looked like a secret under the name that it had, and stays at the cloud unless {line}"));
                "looked like a secret under the name that it had"
            };
            left.push((column.attnum, LeftOutColumn { column: name.clone(), reason: reason.to_owned(), otherwise }));
        }
    }
    table.notes.extend(notes);
    for (attnum, _) in &left {
        if let Some(column) = table.columns.iter_mut().find(|column| column.attnum == *attnum) {
            column.left_out = true;
            column.ty = None;
        }
    }
    Ok(left.into_iter().map(|(_, column)| column).collect())
}

/// The line that includes a column that `without` names; another one stays in its place where a site's SQLite could not tell them apart.
fn instead(table: &FoundTable, without: &[Named], column: &FoundColumn) -> String {
    let stays = |other: &FoundColumn| without.iter().any(|name| *name.get_ref() == other.name);
    let twin = table.columns.iter().find(|other| {
        other.attnum != column.attnum && other.ty.is_some() && !stays(other) && other.name.eq_ignore_ascii_case(&column.name)
    });
    match twin {
        Some(twin) if !can_stay(table, twin) => format!("# {} travels, which a site does not tell from it: rename one", twin.name),
        twin => column_line(table, "without", without, twin.map(|twin| twin.name.as_str()), Some(&column.name)),
    }
}

/// The columns without which no row can be inserted and that sites do not have.
pub(super) fn wanted_by_inserts(table: &FoundTable) -> Vec<&str> {
    let wanted = table.columns.iter().filter(|column| column.left_out && must_be_given(column));
    wanted.map(|column| column.name.as_str()).collect()
}

/// Whether no row can be inserted without it.
pub(super) fn must_be_given(column: &FoundColumn) -> bool {
    column.not_null && column.default.is_none()
}

/// Whether `without` may name the column.
pub(super) fn can_stay(table: &FoundTable, column: &FoundColumn) -> bool {
    !matches!(bond(table, column), Some(Bond::Key | Bond::Reference))
}

/// What holds a column in its place.
#[derive(Clone, Copy)]
enum Bond {
    Key,
    Reference,
    Unique,
}

impl Bond {
    fn words(self) -> &'static str {
        match self {
            Self::Key => "is part of the key",
            Self::Reference => "is part of a reference",
            Self::Unique => "is part of a unique key",
        }
    }
}

fn bond(table: &FoundTable, column: &FoundColumn) -> Option<Bond> {
    let refers = |reference: &crate::store::introspect::FoundReference| {
        reference.columns.contains(&column.attnum) || reference.when.as_ref().is_some_and(|(kind, _)| *kind == column.attnum)
    };
    if table.key.contains(&column.attnum) {
        Some(Bond::Key)
    } else if table.references.iter().any(refers) {
        Some(Bond::Reference)
    } else if table.indexes.iter().any(|index| index.unique && index.columns.contains(&column.attnum)) {
        Some(Bond::Unique)
    } else {
        None
    }
}

/// Whether a word of the name is what secrets are called: `password_hash`, `apiToken`, `PASSWORDHASH`.
fn is_secret(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| SECRETS.iter().any(|secret| word.ends_with(secret)) || PASSWORDS.iter().any(|password| word.starts_with(password)))
}

/// The words of a name in snake, kebab or camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = letter.is_lowercase() || letter.is_ascii_digit();
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_a_word_of_its_name() {
        for secret in [
            "password",
            "password_hash",
            "passwordhash",
            "passwordHash",
            "apiToken",
            "api-token",
            "clientSecret",
            "PASSWD",
            "hash",
            "accesstoken",
            "password2",
            "Secret",
            "token_expires_at",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for other in ["hashtag", "secretary_id", "tokenizer", "max_tokens", "passenger", "hashes", "rejoin_tick", "id"] {
            assert!(!is_secret(other), "{other}");
        }
    }
}
