//! One row with a column of every kind of policy, one cloud, two sites that are cloned and restored, every order of events.
//!
//! Checked after every step and after healing:
//! - I1: sites and cloud end equal, nothing is left unsent;
//! - I2: every value typed at a site was accepted, is kept in a conflict, or lost by a policy and is on record;
//! - I3: a value is only overwritten by somebody who saw it, or by a policy, on record;
//! - I4: every addition counts once, also when its push is sent twice or its site is restored from a backup and offers it again;
//! - a group never shows a combination that nobody chose.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;
use sync_core::catalog::Table;
use sync_core::change::{Addition, Confirmed, Image, Op, Row, RowAnswer, RowChange, Stamp, State, Verdict};
use sync_core::id::{ColumnNo, ConflictId, Tick};
use sync_core::policy::Policy;
use sync_core::reconcile::{Current, Decision, Side, reconcile};
use sync_core::site::{Base, Event, SiteRow, Unanswered, cut, step};
use sync_core::value::{ColumnType, Value};
use uuid::Uuid;

use crate::table::table_of;
use crate::tokens::{Tokens, at, int};

const A: usize = 1;
const N: usize = 2;
const G1: usize = 3;
const G2: usize = 4;
const U: usize = 5;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Edit(Who),
    Add(Who, i64),
    Pair(Who, bool),
    Put(Who),
    Cut(usize),
    Take(usize),
    Deliver(usize),
    Fetch(usize),
    Apply(usize),
    Backup(usize),
    Restore(usize),
}

/// A site, or the cloud.
pub(crate) type Who = Option<usize>;

fn any_step() -> impl Strategy<Value = Step> {
    let who = || prop_oneof![Just(None), Just(Some(0)), Just(Some(1))];
    let site = 0..2_usize;
    prop_oneof![
        3 => who().prop_map(Step::Edit),
        3 => (who(), -9..10_i64).prop_map(|(who, amount)| Step::Add(who, amount)),
        3 => (who(), any::<bool>()).prop_map(|(who, both)| Step::Pair(who, both)),
        2 => who().prop_map(Step::Put),
        3 => site.clone().prop_map(Step::Cut),
        3 => site.clone().prop_map(Step::Take),
        3 => site.clone().prop_map(Step::Deliver),
        3 => site.clone().prop_map(Step::Fetch),
        3 => site.clone().prop_map(Step::Apply),
        1 => site.clone().prop_map(Step::Backup),
        1 => site.prop_map(Step::Restore),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![Policy::Manual, Policy::CloudWins, Policy::LocalWins, Policy::Newest, Policy::Max])
}

fn group_policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![Policy::Manual, Policy::CloudWins, Policy::LocalWins, Policy::Newest])
}

fn table(a: Policy, pair: Policy) -> Table {
    let columns = [
        ("id", ColumnType::Int8, Policy::Manual),
        ("a", ColumnType::Int8, a),
        ("n", ColumnType::Int8, Policy::Add),
        ("g1", ColumnType::Int8, pair),
        ("g2", ColumnType::Int8, pair),
        ("u", ColumnType::Array(Box::new(ColumnType::Int8)), Policy::Union),
    ];
    Table { groups: vec![vec![ColumnNo(4), ColumnNo(5)]], ..table_of(columns) }
}

struct Cloud {
    row: Row,
    tick: i64,
    version: i64,
    /// Which push made the row's tick, if it was answered exact: (replica, number).
    exact: Option<(u64, u64)>,
    counted: BTreeSet<Uuid>,
    times: BTreeMap<ColumnNo, String>,
    accepted: HashSet<i64>,
    /// What is in conflicts and losses on record.
    kept: HashSet<i64>,
}

#[derive(Clone, Default)]
struct Site {
    row: SiteRow,
    cursor: i64,
    replica: u64,
    reoffers: bool,
    pushes: u64,
    answered: u64,
    sent: Option<(RowChange, bool, Option<RowAnswer>)>,
    page: Option<(Option<Image>, i64)>,
    later: Option<RowChange>,
    later_sent: bool,
    typed: Vec<i64>,
    added: Vec<Uuid>,
}

struct World {
    table: Table,
    cloud: Cloud,
    sites: [Site; 2],
    backups: [Option<Site>; 2],
    replicas: u64,
    clock: i64,
    tokens: Tokens,
    retired: HashSet<i64>,
    typed: HashSet<i64>,
    amounts: HashMap<Uuid, i64>,
    /// What the cloud's own people added.
    at_cloud: i64,
    chosen: HashSet<(i64, i64)>,
}

fn members(value: &Value) -> Vec<i64> {
    serde_json::from_str(&value.to_text()).unwrap()
}

fn with_member(value: &Value, member: i64) -> Value {
    let mut all = members(value);
    all.push(member);
    Value::Text(serde_json::to_string(&all).unwrap())
}

impl World {
    fn new(a: Policy, pair: Policy) -> Self {
        let row = vec![Value::Int(1), Value::Int(1), Value::Int(1000), Value::Int(2), Value::Int(2), Value::Text("[]".into())];
        let cloud = Cloud {
            row,
            tick: 1,
            version: 1,
            exact: None,
            counted: BTreeSet::new(),
            times: BTreeMap::new(),
            accepted: HashSet::new(),
            kept: HashSet::new(),
        };
        let mut world = Self {
            table: table(a, pair),
            cloud,
            sites: <[Site; 2]>::default(),
            backups: [None, None],
            replicas: 2,
            clock: 0,
            tokens: Tokens::new(),
            retired: HashSet::new(),
            typed: HashSet::new(),
            amounts: HashMap::new(),
            at_cloud: 0,
            chosen: HashSet::from([(2, 2)]),
        };
        for site in 0..2 {
            world.sites[site].replica = site as u64;
            world.fetch(site);
            world.apply(site);
        }
        world
    }

    fn now(&mut self) -> String {
        self.clock += 1;
        format!("2026-01-01T{:02}:{:02}:{:02}.000000Z", self.clock / 3600, self.clock / 60 % 60, self.clock % 60)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Edit(who) => self.type_into(who, A),
            Step::Pair(who, both) => {
                self.type_into(who, G1);
                if both {
                    self.type_into(who, G2);
                }
                let shown = self.shown(who);
                self.chosen.insert((int(&shown[G1]), int(&shown[G2])));
            }
            Step::Put(who) => {
                let member = self.tokens.over(0);
                let value = with_member(&self.shown(who)[U], member);
                self.write(who, U, value);
                self.note_typed(who, member);
            }
            Step::Add(who, amount) => self.add(who, amount),
            Step::Cut(site) => self.cut(site),
            Step::Take(site) => self.take(site),
            Step::Deliver(site) => self.deliver(site),
            Step::Fetch(site) => self.fetch(site),
            Step::Apply(site) => self.apply(site),
            Step::Backup(site) => self.backups[site] = Some(self.sites[site].clone()),
            Step::Restore(site) => self.restore(site),
        }
        self.check();
    }

    fn shown(&self, who: Who) -> Row {
        who.map_or_else(|| self.cloud.row.clone(), |site| self.sites[site].row.live.as_ref().unwrap().row.clone())
    }

    fn note_typed(&mut self, who: Who, token: i64) {
        if let Some(site) = who {
            self.typed.insert(token);
            self.sites[site].typed.push(token);
        }
    }

    fn type_into(&mut self, who: Who, column: usize) {
        let shown = int(&self.shown(who)[column]);
        let token = self.tokens.over(shown);
        if who.is_some() {
            self.retired.insert(shown);
        }
        self.write(who, column, Value::Int(token));
        self.note_typed(who, token);
    }

    /// Somebody writes a column: the cloud's people a new tick, a site's people what the capture triggers note.
    fn write(&mut self, who: Who, column: usize, value: Value) {
        let now = self.now();
        let no = self.table.columns[column].no;
        let Some(site) = who else {
            self.cloud.row[column] = value;
            self.cloud.times.insert(no, now);
            self.cloud.tick += 1;
            self.cloud.version += 1;
            self.cloud.exact = None;
            return;
        };
        let row = &mut self.sites[site].row;
        let live = row.live.as_mut().unwrap();
        let base = row.base.get_or_insert_with(|| Base {
            row: Some(live.row.clone()),
            at: live.at.clone(),
            version: live.stamp.version,
            ..Base::default()
        });
        live.row[column] = value;
        live.stamp.version += 1;
        live.stamp.updated_at = now.clone();
        if self.table.columns[column].policy == Policy::Newest {
            base.times.retain(|(column, _)| *column != no);
            base.times.push((no, now));
        }
    }

    fn add(&mut self, who: Who, amount: i64) {
        let value = Value::Int(int(&self.shown(who)[N]) + amount);
        self.write(who, N, value);
        let Some(site) = who else {
            self.at_cloud += amount;
            return;
        };
        let id = Uuid::from_u128(u128::from(self.tokens.over(0).unsigned_abs()));
        self.amounts.insert(id, amount);
        let addition = Addition { id, column: self.table.columns[N].no, amount: Value::Int(amount) };
        self.sites[site].row.additions.push(Unanswered { addition, in_flight: false });
        self.sites[site].added.push(id);
    }

    /// The site's file is put back; what was typed since the backup and did not get out is gone with the file.
    fn restore(&mut self, site: usize) {
        let Some(backup) = self.backups[site].clone() else { return };
        let lost = std::mem::replace(&mut self.sites[site], backup);
        let here = &mut self.sites[site];
        self.retired.extend(lost.typed.iter().filter(|token| !here.typed.contains(token)));
        for id in lost.added.iter().filter(|id| !here.added.contains(id) && !self.cloud.counted.contains(id)) {
            self.amounts.remove(id);
        }
        // A replica of its own: an edit that was to join a conflict is sent again.
        let unanswered = here.sent.take().filter(|_| here.later_sent).map(|(change, ..)| change);
        here.later = here.later.take().or(unanswered);
        here.page = None;
        (here.pushes, here.answered, here.reoffers) = (0, 0, here.row.base.is_some());
        here.replica = self.replicas;
        self.replicas += 1;
        if let Some(base) = &mut here.row.base {
            base.in_flight = false;
        }
        here.row.additions.iter_mut().for_each(|one| one.in_flight = false);
    }

    fn image(&self) -> Image {
        let stamp = Stamp { version: self.cloud.version, synced_at: Some("t".into()), ..Stamp::default() };
        Image { at: at(self.cloud.tick), stamp, state: State::Live(self.cloud.row.clone()) }
    }

    fn event(&mut self, site: usize, event: &Event<'_>, cursor: i64) {
        let row = std::mem::take(&mut self.sites[site].row);
        let stepped = step(&self.table, row, event, &|_| Some(Tick(cursor)));
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
        let (change, later) = match here.later.take() {
            Some(later) => (later, true),
            None => match cut(&self.table, &here.row) {
                Some(change) => (change, false),
                None => return,
            },
        };
        if !later {
            here.row.base.as_mut().unwrap().in_flight = true;
            here.row.additions.iter_mut().for_each(|one| one.in_flight = true);
        }
        here.later_sent = later;
        here.pushes += 1;
        here.sent = Some((change, here.reoffers && !later, None));
        here.reoffers = false;
    }

    /// The cloud takes a push, or hands out the stored answer again.
    fn take(&mut self, site: usize) {
        let Some((change, reoffer, None)) = self.sites[site].sent.clone() else { return };
        let (before, before_at) = (self.cloud.row.clone(), at(self.cloud.tick));
        let times: Vec<(ColumnNo, String)> = self.cloud.times.clone().into_iter().collect();
        let received = self.now();
        let current = Current {
            times: &times,
            counted: &self.cloud.counted.clone(),
            received: &received,
            ..Current::new(Some(&before), Some(&before_at), false)
        };
        let reconciled = reconcile(&self.table, current, &change, reoffer);
        for loss in &reconciled.losses {
            let lost: Vec<i64> = match loss.lost {
                Side::Local => tokens(&change),
                Side::Cloud => [A, G1, G2].into_iter().map(|at| int(&before[at])).chain(members(&before[U])).collect(),
            };
            self.cloud.kept.extend(lost);
        }
        let (row, verdict, clashed) = match reconciled.decision {
            Decision::Write(row) => (Some(row), Verdict::Accepted, Vec::new()),
            Decision::NoOp => (None, Verdict::NoOp, Vec::new()),
            Decision::Park { clashed, write, .. } => {
                self.cloud.kept.extend(tokens(&change));
                (write, Verdict::Parked(ConflictId(Uuid::nil())), clashed)
            }
            Decision::Delete => panic!("nobody deletes here"),
        };
        self.cloud.counted.extend(change.additions.iter().map(|addition| addition.id));
        if let Some(row) = row {
            self.check_overwrites(&before, &row, &reconciled.losses.iter().any(|loss| loss.lost == Side::Cloud), &change);
            for edit in change.values().filter(|(no, value)| row[self.table.position(*no).unwrap()] == **value) {
                self.cloud
                    .times
                    .insert(edit.0, change.times.iter().find(|(no, _)| *no == edit.0).map_or(received.clone(), |(_, time)| time.clone()));
            }
            self.cloud.row = row;
            self.cloud.tick += 1;
            self.cloud.version += 1;
            self.cloud.exact = None;
        }
        let row = &self.cloud.row;
        self.cloud.accepted.extend([A, G1, G2].into_iter().map(|at| int(&row[at])).chain(members(&row[U])));
        let exact = verdict == Verdict::Accepted
            && change.base.as_ref() == Some(&before_at)
            && reconciled.merged.is_empty()
            && !self.sites[site].later_sent;
        let confirmed = if exact {
            self.cloud.exact = Some((self.sites[site].replica, self.sites[site].pushes));
            Confirmed::Exact { at: at(self.cloud.tick), version: self.cloud.version, synced_at: "t".into() }
        } else {
            Confirmed::Image(self.image())
        };
        let answer = RowAnswer { verdict, clashed, confirmed, merged: reconciled.merged };
        self.sites[site].sent = Some((change, reoffer, Some(answer)));
    }

    fn check_overwrites(&self, before: &Row, after: &Row, on_record: &bool, change: &RowChange) {
        for at in [A, G1, G2].into_iter().filter(|at| before[*at] != after[*at]) {
            let (old, new) = (int(&before[at]), int(&after[at]));
            assert!(*on_record || self.tokens.ancestors(new).contains(&old), "{new} overwrote {old} unseen and off the record: {change:?}");
        }
        assert!(members(&before[U]).iter().all(|member| members(&after[U]).contains(member)), "a member was lost: {change:?}");
    }

    fn deliver(&mut self, site: usize) {
        let Some((change, _, Some(answer))) = self.sites[site].sent.take_if(|(_, _, answer)| answer.is_some()) else { return };
        self.sites[site].answered = self.sites[site].pushes;
        if !self.sites[site].later_sent {
            let cursor = self.sites[site].cursor;
            self.event(site, &Event::Answered(&change, &answer), cursor);
        }
    }

    fn fetch(&mut self, site: usize) {
        let here = &self.sites[site];
        let own = self.cloud.exact.is_some_and(|(replica, no)| replica == here.replica && no <= here.answered);
        let page = ((self.cloud.tick > here.cursor && !own).then(|| self.image()), self.cloud.tick);
        self.sites[site].page.get_or_insert(page);
    }

    fn apply(&mut self, site: usize) {
        let Some((image, head)) = self.sites[site].page.take() else { return };
        if let Some(image) = image {
            let cursor = self.sites[site].cursor;
            self.event(site, &Event::Asked, cursor);
            self.event(site, &Event::Pulled(&image), head);
        }
        self.sites[site].cursor = head;
    }

    /// What holds at any time.
    fn check(&self) {
        let counted: i64 = self.cloud.counted.iter().map(|id| self.amounts[id]).sum();
        assert_eq!(int(&self.cloud.row[N]), 1000 + self.at_cloud + counted, "an addition was lost or counted twice");
        for row in std::iter::once(&self.cloud.row).chain(self.sites.iter().map(|site| &site.row.live.as_ref().unwrap().row)) {
            let pair = (int(&row[G1]), int(&row[G2]));
            assert!(self.chosen.contains(&pair), "nobody chose {pair:?}");
        }
    }

    fn heal(&mut self) {
        for _ in 0..6 {
            for site in 0..2 {
                for step in [Step::Take, Step::Deliver, Step::Apply, Step::Cut, Step::Take, Step::Deliver, Step::Fetch, Step::Apply] {
                    self.step(step(site));
                }
            }
        }
    }

    fn check_healed(&self) {
        for (no, site) in self.sites.iter().enumerate() {
            assert!(site.row.base.is_none() && site.row.theirs.is_none(), "site {no} is still dirty: {:?}", site.row);
            assert!(site.row.additions.is_empty(), "site {no} has additions left");
            assert_eq!(site.row.live.as_ref().unwrap().row, self.cloud.row, "site {no} differs from the cloud");
        }
        assert!(self.amounts.keys().all(|id| self.cloud.counted.contains(id)), "an addition was never counted");
        for token in &self.typed {
            let known = self.cloud.accepted.contains(token) || self.cloud.kept.contains(token) || self.retired.contains(token);
            assert!(known, "{token} vanished");
        }
    }
}

/// The values that a change gives.
fn tokens(change: &RowChange) -> Vec<i64> {
    assert!(!matches!(change.op, Op::Insert(_) | Op::Delete(_)));
    let values = change.values().map(|(_, value)| value);
    values.flat_map(|value| if let Value::Int(token) = value { vec![*token] } else { members(value) }).collect()
}

pub(crate) fn run(a: Policy, pair: Policy, steps: &[Step]) {
    let mut world = World::new(a, pair);
    for step in steps {
        world.step(*step);
    }
    world.heal();
    world.check_healed();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("REJOIN_CASES").map_or(3_000, |cases| cases.parse().unwrap()), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_policies_in_any_order_of_events_converge_and_lose_nothing_off_the_record(
        a in any_policy(), pair in group_policy(), steps in prop::collection::vec(any_step(), 0..40)
    ) {
        run(a, pair, &steps);
    }
}
