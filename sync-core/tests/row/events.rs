//! One row, one cloud, two sites, every order of events: what `reconcile`, `cut` and `step` promise together.
//!
//! Values are unique tokens, so that the history of each is known. Checked after every step and after healing:
//! - I1: sites and cloud end equal;
//! - I2: every token typed last at a site was accepted by the cloud or is kept in a conflict;
//! - I3: a value is only overwritten by somebody who saw it, a row only deleted by somebody who saw all of it.

use std::collections::HashSet;

use proptest::prelude::*;
use sync_core::catalog::Table;
use sync_core::change::{Confirmed, Image, Op, Row, RowAnswer, RowChange, Stamp, State, Verdict};
use sync_core::id::{ConflictId, Tick};
use sync_core::reconcile::{Current, Decision, reconcile};
use sync_core::site::{Base, Event, Live, SiteRow, cut, step};
use sync_core::value::Value;
use uuid::Uuid;

use crate::table::{A, B, MARK, table};
use crate::tokens::{Tokens, at, int};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Edit(usize, usize),
    Toggle(usize),
    Delete(usize),
    Mark(usize),
    Insert(usize),
    Cut(usize),
    Take(usize),
    Deliver(usize),
    Fetch(usize),
    Apply(usize),
    CloudEdit(usize),
    CloudDelete,
    CloudMark,
    CloudInsert,
}

fn any_step() -> impl Strategy<Value = Step> {
    let site = 0..2_usize;
    prop_oneof![
        4 => (site.clone(), A..=B).prop_map(|(site, column)| Step::Edit(site, column)),
        1 => site.clone().prop_map(Step::Toggle),
        1 => site.clone().prop_map(Step::Delete),
        1 => site.clone().prop_map(Step::Mark),
        1 => site.clone().prop_map(Step::Insert),
        3 => site.clone().prop_map(Step::Cut),
        3 => site.clone().prop_map(Step::Take),
        3 => site.clone().prop_map(Step::Deliver),
        3 => site.clone().prop_map(Step::Fetch),
        3 => site.prop_map(Step::Apply),
        2 => (A..=B).prop_map(Step::CloudEdit),
        1 => Just(Step::CloudDelete),
        1 => Just(Step::CloudMark),
        1 => Just(Step::CloudInsert),
    ]
}

#[derive(Default)]
struct Cloud {
    row: Option<Row>,
    tick: i64,
    version: i64,
    head: i64,
    /// Which push made the row's tick, if it was answered exact: (site, number).
    exact: Option<(usize, u64)>,
    accepted: HashSet<i64>,
    parked: Vec<RowChange>,
}

#[derive(Default)]
struct Site {
    row: SiteRow,
    cursor: i64,
    pushes: u64,
    sent: Option<(RowChange, Option<RowAnswer>)>,
    answered: u64,
    page: Option<(Option<Image>, i64)>,
    later: Option<RowChange>,
    later_sent: bool,
    /// The rows that this site showed when it deleted or marked them.
    deletes_saw: Vec<Row>,
}

struct World {
    table: Table,
    cloud: Cloud,
    sites: [Site; 2],
    tokens: Tokens,
    /// Tokens that the same site replaced before anybody else could see them, or deleted with its row.
    retired: HashSet<i64>,
    typed: Vec<i64>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            table: table(),
            cloud: Cloud::default(),
            sites: <[Site; 2]>::default(),
            tokens: Tokens::new(),
            retired: HashSet::new(),
            typed: Vec::new(),
        };
        world.cloud_insert();
        for site in 0..2 {
            world.fetch(site);
            world.apply(site);
        }
        world
    }

    /// The cloud's row becomes this one, by a change whose author must have seen what it replaces.
    fn write_cloud(&mut self, row: Row, change: Option<&RowChange>) {
        if let (Some(before), Some(change)) = (&self.cloud.row, change) {
            for at in [A, B] {
                if before[at] != row[at] {
                    let (old, new) = (int(&before[at]), int(&row[at]));
                    assert!(self.tokens.ancestors(new).contains(&old), "{new} overwrote {old}, which its author never saw: {change:?}");
                }
            }
        }
        self.cloud.accepted.extend([int(&row[A]), int(&row[B])]);
        self.cloud.head += 1;
        self.cloud.tick = self.cloud.head;
        self.cloud.version += 1;
        self.cloud.row = Some(row);
        self.cloud.exact = None;
    }

    fn delete_cloud(&mut self) {
        self.cloud.head += 1;
        self.cloud.tick = self.cloud.head;
        self.cloud.version += 1;
        self.cloud.row = None;
        self.cloud.exact = None;
    }

    fn cloud_insert(&mut self) {
        if self.cloud.row.is_none() {
            let (a, b) = (self.tokens.over(0), self.tokens.over(0));
            self.write_cloud(vec![Value::Int(1), Value::Int(a), Value::Int(b), Value::Bool(false)], None);
        }
    }

    fn image(&self) -> Image {
        let state = self.cloud.row.clone().map_or(State::Deleted, State::Live);
        let stamp = Stamp { version: self.cloud.version, synced_at: Some("t".into()), ..Stamp::default() };
        Image { at: at(self.cloud.tick), stamp, state }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Edit(site, column) => self.edit(site, column),
            Step::Toggle(site) => self.put_back(site),
            Step::Delete(site) => self.delete(site),
            Step::Mark(site) => self.mark(site),
            Step::Insert(site) => self.insert(site),
            Step::Cut(site) => self.cut(site),
            Step::Take(site) => self.take(site),
            Step::Deliver(site) => self.deliver(site),
            Step::Fetch(site) => self.fetch(site),
            Step::Apply(site) => self.apply(site),
            Step::CloudEdit(column) => {
                if let Some(mut row) = self.cloud.row.clone().filter(|row| row[MARK] == Value::Bool(false)) {
                    row[column] = Value::Int(self.tokens.over(int(&row[column])));
                    self.write_cloud(row, None);
                }
            }
            Step::CloudMark => {
                if let Some(mut row) = self.cloud.row.clone() {
                    row[MARK] = Value::Bool(true);
                    self.write_cloud(row, None);
                }
            }
            Step::CloudDelete => {
                if self.cloud.row.is_some() {
                    self.delete_cloud();
                }
            }
            Step::CloudInsert => self.cloud_insert(),
        }
    }

    /// What the capture trigger does before a change of the live row.
    fn capture(&mut self, site: usize) {
        let row = &mut self.sites[site].row;
        if row.base.is_none() {
            row.base = Some(match &row.live {
                Some(live) => Base { row: Some(live.row.clone()), at: live.at.clone(), version: live.stamp.version, ..Base::default() },
                None => Base::default(),
            });
        }
    }

    fn edit(&mut self, site: usize, column: usize) {
        let shown = match &self.sites[site].row.live {
            Some(live) if live.row[MARK] == Value::Bool(false) => int(&live.row[column]),
            _ => return,
        };
        self.capture(site);
        let token = self.tokens.over(shown);
        self.retired.insert(shown);
        self.typed.push(token);
        let live = self.sites[site].row.live.as_mut().unwrap();
        live.row[column] = Value::Int(token);
        live.stamp.version += 1;
    }

    /// The user types the base value again.
    fn put_back(&mut self, site: usize) {
        let row = &mut self.sites[site].row;
        let (Some(live), Some(Base { row: Some(base), .. })) = (&mut row.live, &row.base) else { return };
        for at in [A, B, MARK] {
            if live.row[at] != base[at] {
                if at != MARK {
                    self.retired.insert(int(&live.row[at]));
                    // Typing an old value again is an edit by somebody who saw what he replaced.
                    let (old, new) = (int(&base[at]), int(&live.row[at]));
                    self.tokens.saw(old, new);
                }
                let seen = live.row.clone();
                live.row[at] = base[at].clone();
                if at == MARK && base[at] == Value::Bool(true) {
                    self.sites[site].deletes_saw.push(seen);
                    return;
                }
            }
        }
        live.stamp.version += 1;
    }

    fn delete(&mut self, site: usize) {
        if self.sites[site].row.live.is_some() {
            self.capture(site);
            let live = self.sites[site].row.live.take().unwrap();
            self.retired.extend([int(&live.row[A]), int(&live.row[B])]);
            self.sites[site].deletes_saw.push(live.row);
        }
    }

    fn mark(&mut self, site: usize) {
        if self.sites[site].row.live.as_ref().is_some_and(|live| live.row[MARK] == Value::Bool(false)) {
            self.capture(site);
            let live = self.sites[site].row.live.as_mut().unwrap();
            let seen = live.row.clone();
            live.row[MARK] = Value::Bool(true);
            live.stamp.version += 1;
            self.sites[site].deletes_saw.push(seen);
        }
    }

    fn insert(&mut self, site: usize) {
        if self.sites[site].row.live.is_none() {
            self.capture(site);
            let (a, b) = (self.tokens.over(0), self.tokens.over(0));
            // An insert of a key that was deleted here takes its base over: an edit by somebody who saw the base.
            if let Some(Base { row: Some(base), .. }) = &self.sites[site].row.base {
                self.tokens.saw(a, int(&base[A]));
                self.tokens.saw(b, int(&base[B]));
            }
            if let Some(seen) = self.sites[site].deletes_saw.last() {
                self.tokens.saw(a, int(&seen[A]));
                self.tokens.saw(b, int(&seen[B]));
            }
            self.typed.extend([a, b]);
            let row = vec![Value::Int(1), Value::Int(a), Value::Int(b), Value::Bool(false)];
            let version = self.sites[site].row.base.as_ref().map_or(0, |base| base.version) + 1;
            self.sites[site].row.live = Some(Live { row, stamp: Stamp { version, ..Stamp::default() }, at: None });
        }
    }

    fn event(&mut self, site: usize, event: &Event<'_>, cursor: i64) {
        let row = std::mem::take(&mut self.sites[site].row);
        let before = row.live.as_ref().map(|live| live.stamp.version);
        let stepped = step(&self.table, row, event, &|_| Some(Tick(cursor)));
        if let (Some(before), Some(after)) = (before, stepped.row.live.as_ref()) {
            assert!(after.stamp.version >= before, "a version went back");
        }
        self.sites[site].row = stepped.row;
        if let Some(later) = stepped.later {
            self.sites[site].later = Some(later);
        }
    }

    fn cut(&mut self, site: usize) {
        if self.sites[site].sent.is_some() {
            return;
        }
        let cursor = self.sites[site].cursor;
        self.event(site, &Event::Asked, cursor);
        let here = &mut self.sites[site];
        let change = if let Some(later) = here.later.take() {
            here.later_sent = true;
            later
        } else if let Some(change) = cut(&self.table, &here.row) {
            here.row.base.as_mut().unwrap().in_flight = true;
            here.later_sent = false;
            change
        } else {
            return;
        };
        here.pushes += 1;
        here.sent = Some((change, None));
    }

    /// The cloud takes a push, or hands out the stored answer again.
    fn take(&mut self, site: usize) {
        let Some((change, None)) = self.sites[site].sent.clone() else { return };
        let before_at = at(self.cloud.tick);
        let current = self.cloud.row.clone();
        let seen = Current::new(current.as_ref(), current.as_ref().map(|_| &before_at), current.is_none());
        let answer = match reconcile(&self.table, seen, &change, false).decision {
            Decision::Write(row) => {
                self.check_mark(site, current.as_ref(), &row, &change);
                self.write_cloud(row, Some(&change));
                let exact = matches!(change.op, Op::Insert(_)) || change.base.as_ref() == Some(&before_at);
                let confirmed = if exact {
                    self.cloud.exact = Some((site, self.sites[site].pushes));
                    let at = at(self.cloud.tick);
                    Confirmed::Exact { at, version: self.cloud.version, synced_at: "t".into() }
                } else {
                    Confirmed::Image(self.image())
                };
                RowAnswer { verdict: Verdict::Accepted, clashed: vec![], confirmed, merged: Vec::new() }
            }
            Decision::Delete => {
                let saw = current.as_ref().is_some_and(|row| self.saw_all_of(site, row));
                assert!(saw, "a row was deleted that its deleter never saw: {current:?}");
                self.delete_cloud();
                RowAnswer { verdict: Verdict::Accepted, clashed: vec![], confirmed: Confirmed::Image(self.image()), merged: Vec::new() }
            }
            Decision::NoOp => {
                RowAnswer { verdict: Verdict::NoOp, clashed: vec![], confirmed: Confirmed::Image(self.image()), merged: Vec::new() }
            }
            Decision::Park { clashed, write, .. } => {
                if let Some(row) = write {
                    self.check_mark(site, current.as_ref(), &row, &change);
                    self.write_cloud(row, Some(&change));
                }
                self.cloud.parked.push(change.clone());
                let conflict = ConflictId(Uuid::nil());
                RowAnswer { verdict: Verdict::Parked(conflict), clashed, confirmed: Confirmed::Image(self.image()), merged: Vec::new() }
            }
        };
        self.sites[site].sent = Some((change, Some(answer)));
    }

    /// A row is only marked as deleted by somebody who saw all of it.
    fn check_mark(&self, site: usize, before: Option<&Row>, after: &Row, change: &RowChange) {
        if let Some(before) = before
            && before[MARK] == Value::Bool(false)
            && after[MARK] == Value::Bool(true)
        {
            for edit in change.values() {
                let at = self.table.position(edit.0).unwrap();
                assert!(at == MARK || *edit.1 == after[at]);
            }
            assert!(self.saw_all_of(site, after), "a row was marked as deleted by somebody who never saw it: {before:?}");
        }
    }

    /// Whether this site deleted a row that it had made of this one.
    fn saw_all_of(&self, site: usize, row: &Row) -> bool {
        let made_of = |seen: &Row, at: usize| self.tokens.ancestors(int(&seen[at])).contains(&int(&row[at]));
        self.sites[site].deletes_saw.iter().any(|seen| made_of(seen, A) && made_of(seen, B))
    }

    fn deliver(&mut self, site: usize) {
        let Some((change, Some(answer))) = self.sites[site].sent.take_if(|(_, answer)| answer.is_some()) else { return };
        self.sites[site].answered = self.sites[site].pushes;
        if !self.sites[site].later_sent {
            let cursor = self.sites[site].cursor;
            self.event(site, &Event::Answered(&change, &answer), cursor);
        }
    }

    fn fetch(&mut self, site: usize) {
        let here = &self.sites[site];
        let own = self.cloud.exact.is_some_and(|(by, no)| by == site && no <= here.answered);
        let image = (self.cloud.tick > here.cursor && !own).then(|| self.image());
        let page = (image, self.cloud.head);
        if self.sites[site].page.is_none() {
            self.sites[site].page = Some(page);
        }
    }

    fn apply(&mut self, site: usize) {
        let Some((image, head)) = self.sites[site].page.take() else { return };
        assert!(head >= self.sites[site].cursor, "a cursor went back");
        if let Some(image) = image {
            let cursor = self.sites[site].cursor;
            self.event(site, &Event::Asked, cursor);
            self.event(site, &Event::Pulled(&image), head);
        }
        self.sites[site].cursor = head;
    }

    fn heal(&mut self) {
        for _ in 0..5 {
            for site in 0..2 {
                self.take(site);
                self.deliver(site);
                self.apply(site);
                self.cut(site);
                self.take(site);
                self.deliver(site);
                self.fetch(site);
                self.apply(site);
            }
        }
    }

    fn check_healed(&self) {
        for (no, site) in self.sites.iter().enumerate() {
            assert!(site.row.base.is_none(), "site {no} is still dirty: {:?}", site.row);
            assert!(site.row.theirs.is_none(), "site {no} still keeps theirs");
            assert_eq!(site.row.live.as_ref().map(|live| &live.row), self.cloud.row.as_ref(), "site {no} differs from the cloud");
        }
        let parked: HashSet<i64> = self
            .cloud
            .parked
            .iter()
            .flat_map(|change| change.values().map(|(_, value)| value.clone()).collect::<Vec<_>>())
            .filter_map(|value| if let Value::Int(number) = value { Some(number) } else { None })
            .collect();
        for token in &self.typed {
            let kept = self.cloud.accepted.contains(token) || parked.contains(token) || self.retired.contains(token);
            assert!(kept, "{token} vanished");
        }
    }
}

pub(crate) fn run(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        world.step(*step);
    }
    world.heal();
    world.check_healed();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("REJOIN_CASES").map_or(3_000, |cases| cases.parse().unwrap()), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_converges_and_loses_nothing(steps in prop::collection::vec(any_step(), 0..40)) {
        run(&steps);
    }
}
