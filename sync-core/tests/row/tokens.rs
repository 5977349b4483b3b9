//! Values that are unique, so that the history of each is known: what was shown to somebody when he typed it.

use std::collections::{HashMap, HashSet};

use sync_core::change::At;
use sync_core::id::{ScopeId, Tick};
use sync_core::value::Value;

/// Every value typed so far.
pub(crate) struct Tokens {
    last: i64,
    /// What was shown where a token was typed; a token can be typed again by hand.
    parents: HashMap<i64, Vec<i64>>,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self { last: 100, parents: HashMap::new() }
    }

    /// A new one, typed over this one.
    pub(crate) fn over(&mut self, shown: i64) -> i64 {
        self.last += 1;
        self.saw(self.last, shown);
        self.last
    }

    /// Whoever typed the token had seen this one.
    pub(crate) fn saw(&mut self, token: i64, seen: i64) {
        self.parents.entry(token).or_default().push(seen);
    }

    /// All that those who typed this token, or what it was typed over, had seen.
    pub(crate) fn ancestors(&self, token: i64) -> HashSet<i64> {
        let mut seen = HashSet::new();
        let mut open = vec![token];
        while let Some(at) = open.pop() {
            if seen.insert(at) {
                open.extend(self.parents.get(&at).into_iter().flatten());
            }
        }
        seen
    }
}

pub(crate) fn int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn at(tick: i64) -> At {
    At { scope: ScopeId::global(), tick: Tick(tick) }
}
