//! What stays open after a decision on what it hung from.

use std::collections::BTreeSet;

use sync_core::conflict::ConflictKind;
use sync_core::id::ScopeId;
use sync_core::write::{bounded, columns_to_json, row_to_json};
use uuid::Uuid;

use super::plan::{Plan, blockers};
use super::put::{self, Put};
use super::settle::{Settling, Told};
use super::stored::{Found, Head, under_roots};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

/// What becomes of a conflict that stays open; what is `None` stays as it is, but for the root.
#[derive(Default)]
struct Hung {
    root: Option<Uuid>,
    kind: Option<ConflictKind>,
    columns: Option<Vec<String>>,
    reason: Option<String>,
    /// The values that its row gets besides, as JSON.
    local: Option<String>,
    /// The row that stands against it: its key, as JSON, its version.
    rival: Option<(String, String, i64)>,
}

impl Settling<'_> {
    /// What stays open hangs from the top of what stays with it; the top itself is a conflict of its own, and says why.
    pub(super) async fn hang_anew(
        &self,
        tx: &mut WriteTx<'_>,
        plan: &Plan<'_>,
        place: usize,
        stays: &(dyn Fn(usize) -> bool + Sync),
        (put, told): (Option<&Put<'_>>, Option<&Told>),
    ) -> Result<(), StoreError> {
        let dependent = &plan.family.below[place];
        let top = plan.family.top_of(place, stays);
        let root = (top != place).then(|| plan.family.below[top].head.id);
        let told = told.filter(|_| root.is_none());
        // What waits of an edit is all that was edited: it keeps its columns, and with them its kind, whichever of them does not fit.
        let kind = told.and_then(|told| told.kind).filter(|kind| dependent.insert || *kind != ConflictKind::Schema);
        let unread = dependent.unread.iter().filter_map(|no| dependent.table.column(*no)).map(|column| column.name.clone());
        let columns = (kind == Some(ConflictKind::Schema)).then(|| unread.collect());
        let local = match put.filter(|_| plan.merged.is_some()) {
            Some(put) => Some(bounded(row_to_json(put.table, &put.row)).to_string()),
            None if plan.carried[place].is_empty() => None,
            None => Some(columns_to_json(dependent.table, plan.carried[place].iter().map(|(no, value)| (*no, value))).to_string()),
        };
        let rival = match (kind, put) {
            (Some(ConflictKind::Unique), Some(put)) => blockers(&**tx, put.table, &put.row).await?.pop(),
            _ => None,
        };
        // Another tenant's row is not shown.
        let own = match put {
            Some(put) => put::scopes(tx, self.catalog, std::slice::from_ref(put)).await?.pop().flatten(),
            None => None,
        };
        let rival = rival.filter(|rival| rival.at.scope == ScopeId::global() || own.as_ref() == Some(&rival.at.scope));
        let rival = rival.map(|rival| {
            let (key, row) = (dependent.table.key_of(&rival.row).to_string(), bounded(row_to_json(dependent.table, &rival.row)));
            (key, row.to_string(), rival.stamp.version)
        });
        let reason = told.map(|told| told.reason.clone());
        self.hang(tx, &dependent.head, Hung { root, kind, columns, reason, local, rival }).await
    }

    /// What hangs from a decided conflict and has no row that could come in with it stands for itself, and says why.
    pub(super) async fn let_go(&self, tx: &mut WriteTx<'_>, decided: &Head) -> Result<(), StoreError> {
        for found in under_roots(&**tx, self.catalog, &[decided.id]).await? {
            if let Found::Rowless(head, why) = found {
                self.hang(tx, &head, Hung { reason: Some(why.to_string()), ..Hung::default() }).await?;
            }
        }
        Ok(())
    }

    async fn hang(&self, tx: &mut WriteTx<'_>, head: &Head, hung: Hung) -> Result<(), StoreError> {
        let (rival_key, rival, version) = match hung.rival {
            Some((key, row, version)) => (Some(key), Some(row), Some(version)),
            None => (None, None, None),
        };
        tx.take(&BTreeSet::from([head.scope.clone()])).await?;
        let sql = "UPDATE rejoin.sync_conflicts SET root_id = $2, kind = coalesce($3, kind), reason = coalesce($4, reason),
                       local_data = coalesce(local_data || $5::text::jsonb, local_data), cloud_record_id = coalesce($6, cloud_record_id),
                       cloud_data = coalesce($7::text::jsonb, cloud_data), cloud_version = coalesce($8, cloud_version),
                       columns = coalesce($11, columns), revision = revision + 1, rejoin_tick = $9, rejoin_version = rejoin_version + 1,
                       rejoin_updated_at = now(), rejoin_modified_by = $10, rejoin_synced_at = now()
                   WHERE id = $1";
        let tick = tx.tick(&head.scope)?.0;
        let kind = hung.kind.map(ConflictKind::as_str);
        tx.execute(
            &tx.prepare_cached(sql).await?,
            &[&head.id, &hung.root, &kind, &hung.reason, &hung.local, &rival_key, &rival, &version, &tick, &self.by, &hung.columns],
        )
        .await?;
        Ok(())
    }
}
