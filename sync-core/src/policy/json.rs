//! Three-way merges of JSON: objects key by key, arrays as sets. On canonical texts, so that a number is never squeezed through a float.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use crate::json::canonical;
use crate::value::Value;

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Both sides' changes of an object, to any depth; `None` where they touch, or a side is no object.
pub(super) fn merge(base: &Value, cloud: &Value, local: &Value) -> Option<Value> {
    let (Value::Text(cloud), Value::Text(local)) = (cloud, local) else { return None };
    let base = if let Value::Text(base) = base { Some(base.as_str()) } else { None };
    // What nests deeper has no canonical form, and is not walked through either.
    (canonical(cloud).is_some() && canonical(local).is_some()).then_some(())?;
    canonical(&objects(base, cloud, local)?).map(Value::Text)
}

/// The texts are canonical, and so their nesting is bounded.
fn objects(base: Option<&str>, cloud: &str, local: &str) -> Option<String> {
    let members = |text| serde_json::from_str::<Members<'_>>(text).ok();
    let (cloud, local) = (members(cloud)?, members(local)?);
    let base = base.and_then(members).unwrap_or_default();
    let keys: BTreeSet<&String> = base.keys().chain(cloud.keys()).chain(local.keys()).collect();
    let mut merged: BTreeMap<&String, String> = BTreeMap::new();
    for key in keys {
        let [base, cloud, local] = [&base, &cloud, &local].map(|members| members.get(key).map(|member| member.get()));
        let member = if cloud == local || local == base {
            cloud.map(str::to_owned)
        } else if cloud == base {
            local.map(str::to_owned)
        } else {
            Some(objects(base, cloud?, local?)?)
        };
        if let Some(member) = member {
            merged.insert(key, member);
        }
    }
    let members: Option<Vec<String>> =
        merged.into_iter().map(|(key, member)| Some(format!("{}:{member}", serde_json::to_string(key).ok()?))).collect();
    Some(format!("{{{}}}", members?.join(",")))
}

/// Both sides' members: what either added is there, what either took out is gone. `None` where a side is no array.
///
/// What was there before keeps its place; what is new follows in canonical order, so that it does not matter which side came first.
pub(super) fn union(base: &Value, cloud: &Value, local: &Value) -> Option<Value> {
    let items = |value: &Value| match value {
        Value::Text(text) => {
            serde_json::from_str::<Vec<&RawValue>>(text).ok().map(|items| items.iter().map(|item| item.get().to_owned()).collect())
        }
        Value::Null => Some(Vec::new()),
        _ => None,
    };
    let (base, cloud, local): (Vec<String>, Vec<String>, Vec<String>) = (items(base)?, items(cloud)?, items(local)?);
    let sets = [&base, &cloud, &local].map(|items| items.iter().collect::<BTreeSet<_>>());
    let mut there = BTreeSet::new();
    let kept = base.iter().filter(|item| sets[1].contains(item) && sets[2].contains(item) && there.insert((*item).clone()));
    let mut merged: Vec<&str> = kept.map(String::as_str).collect();
    merged.extend(sets[1].union(&sets[2]).filter(|item| !sets[0].contains(**item)).map(|item| item.as_str()));
    canonical(&format!("[{}]", merged.join(","))).map(Value::Text)
}
