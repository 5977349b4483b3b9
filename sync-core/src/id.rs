//! A newtype per identity and position, so that a cursor cannot be passed as a version.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::value::Value;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype!(/// A site: a venue, a plant, a data centre. Groups its replicas.
    SiteId(Uuid));
newtype!(/// One copy of a site's database. A clone becomes another replica.
    ReplicaId(Uuid));
newtype!(/// One unbroken life of a replica; a random id issued by the cloud.
    ReplicaEpoch(Uuid));
newtype!(/// One unbroken life of the cloud's database; a random id.
    CloudEpoch(Uuid));
newtype!(/// What one transaction did in one scope; names a tick across restores.
    ChangeId(Uuid));
newtype!(/// One parked conflict.
    ConflictId(Uuid));
newtype!(/// One row of `sync_log`.
    RunId(Uuid));
newtype!(/// A table's number: given once by the cloud, never reused, survives RENAME.
    TableNo(u32));
newtype!(/// A column's number, unique in its table: given once, never reused, survives RENAME.
    ColumnNo(u32));
newtype!(/// A scope's commit number. Compared only within one scope and one cloud epoch.
    Tick(i64));
newtype!(/// The number of a push in its replica's chain, from 1.
    PushNo(i64));
newtype!(/// The version of a published catalog, from 1.
    CatalogVersion(i64));

impl Tick {
    /// Before the first tick of any scope.
    pub const ZERO: Self = Self(0);
}

/// A scope: the set of rows that travel together.
///
/// Written `global`, `TABLE/KEY` of its root row (`productions/0198..`), or `site/ID` for the rows that concern one site only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeId(pub String);

impl ScopeId {
    /// The name of the scope of shared tables.
    pub const GLOBAL: &'static str = "global";
    /// The name of the scope of rows that reach no root.
    pub const NOWHERE: &'static str = "nowhere";

    /// The scope of shared tables, which every site holds.
    #[must_use]
    pub fn global() -> Self {
        Self(Self::GLOBAL.to_owned())
    }

    /// The scope of rows that reach no root. No site holds it: they stay at the cloud.
    #[must_use]
    pub fn nowhere() -> Self {
        Self(Self::NOWHERE.to_owned())
    }

    /// The scope of a root row.
    #[must_use]
    pub fn of_root(table: &str, key: &Key) -> Self {
        Self(format!("{table}/{key}"))
    }

    /// The scope of what concerns one site only: its conflicts.
    #[must_use]
    pub fn of_site(site: SiteId) -> Self {
        Self(format!("site/{site}"))
    }
}

impl fmt::Display for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A row's sync key: the values of its key columns, in key order.
///
/// Shown (`Display`) as its record id: each value's canonical text, percent-encoded, joined by commas; so in URLs and in `record_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Vec<Value>);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            utf8_percent_encode(&value.to_text(), RECORD_ID).fmt(f)?;
        }
        Ok(())
    }
}

/// What a record id percent-encodes: all but letters, digits and `-._~:`.
const RECORD_ID: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Splits a record id into the texts of its key values, percent-decoded; `None` where they are not UTF-8.
#[must_use]
pub fn split_record_id(record_id: &str) -> Option<Vec<String>> {
    record_id.split(',').map(|part| percent_decode_str(part).decode_utf8().ok().map(Into::into)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_id_survives_commas_percent_signs_and_umlauts() {
        let key = Key(vec![Value::Text("a,b%2C".into()), Value::Int(7), Value::Text("Käse/x".into())]);
        let shown = key.to_string();
        assert_eq!(shown, "a%2Cb%252C,7,K%C3%A4se%2Fx");
        assert_eq!(split_record_id(&shown).unwrap(), ["a,b%2C", "7", "Käse/x"]);
        assert_eq!(split_record_id("%FF"), None);
    }
}
