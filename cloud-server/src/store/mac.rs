//! MACs over what the cloud hands out and wants to know again: cursors and the names of answered pushes. The key lives outside the database:
//! after a restore the database no longer knows what it handed out, but the MAC still says that it did.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use sync_core::id::{ChangeId, CloudEpoch, PushNo, ReplicaEpoch, ReplicaId, ScopeId, Tick};
use sync_core::wire::message::Cursor;

use crate::secret::SecretKey;

/// Bytes of a MAC: half of SHA-256, as RFC 2104 allows.
const LENGTH: usize = 16;

/// A cursor with its MAC.
pub(crate) fn cursor(key: &SecretKey, epoch: CloudEpoch, scope: ScopeId, tick: Tick, change: ChangeId) -> Cursor {
    let mac = cursor_mac(key, epoch, &scope, tick, change);
    Cursor { scope, tick, change, mac }
}

/// Whether this cloud handed out the cursor in this life.
pub(crate) fn knows_cursor(key: &SecretKey, epoch: CloudEpoch, cursor: &Cursor) -> bool {
    same(&cursor.mac, &cursor_mac(key, epoch, &cursor.scope, cursor.tick, cursor.change))
}

fn cursor_mac(key: &SecretKey, epoch: CloudEpoch, scope: &ScopeId, tick: Tick, change: ChangeId) -> String {
    mac(key, &[b"cursor", epoch.0.as_bytes(), &tick.0.to_be_bytes(), change.0.as_bytes(), scope.0.as_bytes()])
}

/// The MAC of a push's answer.
pub(crate) fn answer(key: &SecretKey, replica: ReplicaId, epoch: ReplicaEpoch, no: PushNo, hash: &str) -> String {
    mac(key, &[b"answer", replica.0.as_bytes(), epoch.0.as_bytes(), &no.0.to_be_bytes(), hash.as_bytes()])
}

/// Compares two MACs in constant time.
pub(crate) fn same(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// Only the last part may vary in length, so that no two inputs make the same bytes.
fn mac(key: &SecretKey, parts: &[&[u8]]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.bytes()) else { return String::new() };
    for part in parts {
        mac.update(part);
    }
    hex::encode(&mac.finalize().into_bytes()[..LENGTH])
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_cursor_counts_only_as_it_was_handed_out() {
        let key = SecretKey::from_hex(&"ab".repeat(32)).unwrap();
        let epoch = CloudEpoch(Uuid::from_u128(1));
        let handed_out = cursor(&key, epoch, ScopeId("productions/1".into()), Tick(7), ChangeId(Uuid::from_u128(2)));
        assert_eq!(handed_out.mac.len(), 2 * LENGTH);
        assert!(knows_cursor(&key, epoch, &handed_out));
        assert!(!knows_cursor(&key, CloudEpoch(Uuid::from_u128(9)), &handed_out));
        assert!(!knows_cursor(&key, epoch, &Cursor { tick: Tick(8), ..handed_out.clone() }));
        assert!(!knows_cursor(&key, epoch, &Cursor { scope: ScopeId("productions/2".into()), ..handed_out.clone() }));
        assert!(!knows_cursor(&key, epoch, &Cursor { mac: String::new(), ..handed_out }));
    }
}
