//! Columns and groups that both sides changed: what clashes, and what the policies make of it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Judge, Loss, Side};
use crate::change::{Edit, Row};
use crate::conflict::ConflictKind;
use crate::id::ColumnNo;
use crate::policy::{Merged, Policy, Sides, merge};
use crate::value::Value;
use crate::write::too_long;

/// What is left of a clash of columns once the policies had their say.
pub(super) struct Settled {
    pub(super) row: Row,
    pub(super) clashed: Vec<ColumnNo>,
    pub(super) losses: Vec<Loss>,
}

impl Judge<'_> {
    /// The columns that stand otherwise than pushed: the site cannot know them, nor a sum in which its additions were counted before.
    pub(super) fn otherwise(&self, edits: &[Edit], row: &Row) -> Vec<ColumnNo> {
        let untaken = edits.iter().filter(|edit| self.table.position(edit.column).is_some_and(|at| row[at] != edit.new));
        let counted = self.change.additions.iter().filter(|addition| self.current.counted.contains(&addition.id));
        let columns: BTreeSet<ColumnNo> = untaken.map(|edit| edit.column).chain(counted.map(|addition| addition.column)).collect();
        columns.into_iter().collect()
    }

    /// The edits by the group of their column.
    pub(super) fn groups<'e>(&self, edits: &'e [Edit]) -> Vec<Vec<&'e Edit>> {
        let mut groups: Vec<(Vec<ColumnNo>, Vec<&Edit>)> = Vec::new();
        for edit in edits.iter().filter(|edit| self.table.position(edit.column).is_some()) {
            match groups.iter_mut().find(|(columns, _)| columns.contains(&edit.column)) {
                Some((_, group)) => group.push(edit),
                None => groups.push((self.table.group_of(edit.column), vec![edit])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// Whether the group as a whole is neither as the site saw it nor as the site wants it.
    pub(super) fn clashes(&self, present: &Row, group: &[&Edit]) -> bool {
        let all = |wanted: &dyn Fn(&Edit) -> &Value| {
            group.iter().all(|edit| self.table.position(edit.column).is_none_or(|at| present[at] == *wanted(edit)))
        };
        // What a mark asserts of the other columns does not matter where the row is marked already.
        let asserted_of_marked = self.table.is_soft_deleted(present) && group.iter().all(|edit| edit.base == edit.new);
        let fits = all(&|edit| &edit.base) || all(&|edit| &edit.new) || asserted_of_marked;
        !fits
    }

    /// Takes what did not clash, and lets the policies decide what did.
    pub(super) fn settle(&self, present: &Row, edits: &[Edit]) -> Settled {
        let mut settled = Settled { row: present.clone(), clashed: Vec::new(), losses: Vec::new() };
        for group in self.groups(edits) {
            let columns = || group.iter().map(|edit| edit.column);
            let take = |row: &mut Row| {
                for edit in &group {
                    if let Some(at) = self.table.position(edit.column) {
                        row[at] = edit.new.clone();
                    }
                }
            };
            if !self.clashes(present, &group) {
                if group.iter().any(|edit| edit.base != edit.new) {
                    take(&mut settled.row);
                }
                continue;
            }
            let policy = self.policy_of(&group);
            let loss = |lost| Loss { kind: ConflictKind::UpdateUpdate, columns: columns().collect(), policy, lost };
            match self.merge(policy, present, &group) {
                Merged::Clash => settled.clashed.extend(columns()),
                Merged::Cloud => settled.losses.extend(policy.loses().then(|| loss(Side::Local))),
                Merged::Local => {
                    take(&mut settled.row);
                    settled.losses.extend(policy.loses().then(|| loss(Side::Cloud)));
                }
                Merged::Both(value) => {
                    if let Some(at) = group.first().and_then(|edit| self.table.position(edit.column)) {
                        settled.row[at] = value;
                    }
                }
            }
        }
        settled
    }

    fn policy_of(&self, group: &[&Edit]) -> Policy {
        let policy = group.first().and_then(|edit| self.table.column(edit.column)).map_or(Policy::Manual, |column| column.policy);
        if self.reoffer || (group.len() > 1 && !policy.fits_group()) { Policy::Manual } else { policy }
    }

    fn merge(&self, policy: Policy, present: &Row, group: &[&Edit]) -> Merged {
        let local_is_newer = self.local_is_newer(group);
        let (Some(edit), [_, rest @ ..]) = (group.first(), group) else { return Merged::Clash };
        let (Some(at), Some(column)) = (self.table.position(edit.column), self.table.column(edit.column)) else { return Merged::Clash };
        if !rest.is_empty() {
            // Nothing but a choice of sides fits a group, and it does not depend on the values.
            return match (policy, local_is_newer) {
                (Policy::CloudWins, _) | (Policy::Newest, Some(false)) => Merged::Cloud,
                (Policy::LocalWins, _) | (Policy::Newest, Some(true)) => Merged::Local,
                _ => Merged::Clash,
            };
        }
        let sides = Sides { base: &edit.base, cloud: &present[at], local: &edit.new, local_is_newer };
        match merge(policy, &column.ty, sides) {
            // What was merged must fit as any value must.
            Merged::Both(value) if value.is_too_large() || too_long(column, &value).is_some() => Merged::Clash,
            merged => merged,
        }
    }

    /// Whether the site edited the group later than the cloud did; of equal times the cloud's counts as later. `None`: not known.
    fn local_is_newer(&self, group: &[&Edit]) -> Option<bool> {
        let latest = |times: &[(ColumnNo, String)]| {
            let of_group = times.iter().filter(|(no, _)| group.iter().any(|edit| edit.column == *no));
            of_group.filter_map(|(_, time)| instant(time)).max()
        };
        let cloud = latest(self.current.times)?;
        let local = latest(&self.change.times).or_else(|| instant(&self.change.stamp.updated_at))?;
        let received = instant(self.current.received);
        Some(received.map_or(local, |received| local.min(received)) > cloud)
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}
