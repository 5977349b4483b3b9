//! Rows, images, and what a site changed: the words that push, pull and conflicts share.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::catalog::Table;
use crate::id::{ColumnNo, ConflictId, Key, ScopeId, TableNo, Tick};
use crate::value::Value;

/// A row: the values of its table's `columns`, in their order.
pub type Row = Vec<Value>;

/// A row's versioning. Travels with every image; takes no part in merge, clash or digest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Grows with every change on a replica.
    pub version: i64,
    /// When, as canonical timestamptz text.
    pub updated_at: String,
    /// Who: a user, `site:NAME` or a database role.
    pub modified_by: Option<String>,
    /// When the cloud accepted this version, as canonical timestamptz text; `None` while a replica has unsent changes.
    pub synced_at: Option<String>,
}

/// Where in the feed an image stands. Ticks compare only within one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// The row's scope.
    pub scope: ScopeId,
    /// The tick of the transaction that made the image.
    pub tick: Tick,
}

/// What the cloud says of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Where it stands.
    pub at: At,
    /// The row's versioning.
    pub stamp: Stamp,
    /// The content.
    pub state: State,
}

/// The content of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The row lives.
    Live(Row),
    /// The row was deleted: a tombstone.
    Deleted,
    /// The row left the scope `at.scope`: a mark.
    Left,
}

impl Image {
    /// The live row, if it lives.
    #[must_use]
    pub fn row(&self) -> Option<&Row> {
        match &self.state {
            State::Live(row) => Some(row),
            State::Deleted | State::Left => None,
        }
    }
}

/// One row of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// The table.
    pub table: TableNo,
    /// The key that the row has at the site now (for a delete: had).
    pub key: Key,
    /// The site's stamp: its version, and when and by whom the row was changed.
    pub stamp: Stamp,
    /// The image that the edit was made on; `None` for an insert.
    pub base: Option<At>,
    /// What was done.
    pub op: Op,
    /// What was added to `add` columns since the last answer: operations, each counted once, apart from `op`, which never names such a column.
    #[serde(default)]
    pub additions: Vec<Addition>,
    /// When each `newest` column among the edits was changed, as canonical timestamptz text.
    #[serde(default)]
    pub times: Vec<(ColumnNo, String)>,
}

/// One addition to a column of the policy `add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addition {
    /// Its random id, made where it was captured: the cloud counts each once.
    pub id: Uuid,
    /// The column.
    pub column: ColumnNo,
    /// What was added, canonical for the column's type; negative to take away.
    pub amount: Value,
}

/// What a site did to a row, as the net difference between its base image and its live row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A new row, with all its columns.
    Insert(Vec<(ColumnNo, Value)>),
    /// Changed columns, each with base and new value.
    Update(Vec<Edit>),
    /// The key was changed from this one; the edits are those of the other columns.
    Rekey(Key, Vec<Edit>),
    /// The row was deleted; its full base image.
    Delete(Vec<(ColumnNo, Value)>),
}

/// One changed column; with base = new an assertion, which marking a row as deleted carries for every column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The column.
    pub column: ColumnNo,
    /// Its value in the base image.
    pub base: Value,
    /// Its new value.
    pub new: Value,
}

/// What the cloud did with one row of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowAnswer {
    /// The verdict on the row as a whole.
    pub verdict: Verdict,
    /// The columns that clashed and were not taken; empty unless parked.
    pub clashed: Vec<ColumnNo>,
    /// The row as the cloud has it now.
    pub confirmed: Confirmed,
    /// The columns that a policy decided otherwise than pushed: an edit made since keeps the pushed value as its base, so that it merges again.
    #[serde(default)]
    pub merged: Vec<ColumnNo>,
}

/// The verdict on one row of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Written; `confirmed` says whether exactly as pushed.
    Accepted,
    /// The cloud had this content already.
    NoOp,
    /// Somebody holds the scope, the table is not served for now, or what the row depends on was deferred: it stays dirty and is sent again.
    Deferred,
    /// Some or all of it clashed or was refused and is kept in this conflict.
    Parked(ConflictId),
    /// An insert that the cloud could not accept: kept in this conflict, and held at the site.
    Held(ConflictId),
}

/// The row as the cloud has it after a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmed {
    /// Exactly the site's row: base plus what was pushed. Only place, version and time of accepting are news.
    Exact {
        /// Where the new image stands.
        at: At,
        /// The cloud's version.
        version: i64,
        /// When it was accepted.
        synced_at: String,
    },
    /// This image.
    Image(Image),
    /// Nothing that this site may see.
    Nothing,
}

impl RowChange {
    /// The values of the row's columns as far as the push names them: new values, for a delete those of the base image.
    pub fn values(&self) -> impl Iterator<Item = (ColumnNo, &Value)> {
        let (pairs, edits): (&[(ColumnNo, Value)], &[Edit]) = match &self.op {
            Op::Insert(pairs) | Op::Delete(pairs) => (pairs, &[]),
            Op::Update(edits) | Op::Rekey(_, edits) => (&[], edits),
        };
        pairs.iter().map(|(no, value)| (*no, value)).chain(edits.iter().map(|edit| (edit.column, &edit.new)))
    }

    /// Whether the push gives this column a value of its own; an edit with base = new only asserts one.
    #[must_use]
    pub fn gives(&self, no: ColumnNo) -> bool {
        match &self.op {
            Op::Insert(pairs) | Op::Delete(pairs) => pairs.iter().any(|(column, _)| *column == no),
            Op::Update(edits) | Op::Rekey(_, edits) => edits.iter().any(|edit| edit.column == no && edit.base != edit.new),
        }
    }
}

/// The digest of a row's content: SHA-256 over its columns' numbers and canonical bytes, NULLs left out.
///
/// Engine columns take no part. That NULLs are left out lets a new nullable column leave every digest as it is.
#[must_use]
pub fn row_digest(table: &Table, row: &[Value]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(256);
    for (column, value) in table.columns.iter().zip(row) {
        if !value.is_null() {
            bytes.extend_from_slice(&column.no.0.to_be_bytes());
            value.write_canonical(&mut bytes);
        }
    }
    Sha256::digest(&bytes).into()
}

/// A row's ETag: its version and the first 8 bytes of its digest, quoted, so that none ever stands for two contents.
#[must_use]
pub fn etag(table: &Table, version: i64, row: &[Value]) -> String {
    format!("\"{version}-{}\"", hex::encode(&row_digest(table, row)[..8]))
}

/// An ETag without what it says of the content, for what was decided under an older catalog: the content has another form since.
#[must_use]
pub fn etag_of_version(etag: &str) -> String {
    match etag.split_once('-') {
        Some((version, _)) => format!("{version}-*\""),
        None => etag.to_owned(),
    }
}

/// Whether a row with this ETag is the one that was named, be it by its version alone.
#[must_use]
pub fn is_named_by(etag: &str, named: &str) -> bool {
    etag == named || named.ends_with("-*\"") && etag_of_version(etag) == named
}

/// The digest of a set of rows: the sum of their digests (table and key go in as well), so that order does not matter.
///
/// Addition modulo 2^256 over SHA-256, the additive form of Bellare and Micciancio's incremental hashing (1997); it finds
/// accidents, it is no proof against somebody who may choose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetDigest {
    sum: [u8; 32],
    /// The number of rows.
    pub rows: u64,
}

impl SetDigest {
    /// Adds one row.
    pub fn add(&mut self, table: &Table, row: &[Value]) {
        let mut hash = Sha256::new();
        hash.update(table.no.0.to_be_bytes());
        hash.update(row_digest(table, row));
        let digest: [u8; 32] = hash.finalize().into();
        let mut carry = 0_u16;
        for (sum, byte) in self.sum.iter_mut().zip(digest).rev() {
            let total = u16::from(*sum) + u16::from(byte) + carry;
            *sum = total.to_be_bytes()[1];
            carry = total >> 8;
        }
        self.rows += 1;
    }

    /// The digest in hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.sum)
    }
}
