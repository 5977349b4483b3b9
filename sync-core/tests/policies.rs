//! The laws of the policies: one column, any values.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use sync_core::policy::{Merged, Policy, Sides, add, difference, merge};
use sync_core::value::{ColumnType, Value};

const POLICIES: [Policy; 10] = [
    Policy::Manual,
    Policy::CloudWins,
    Policy::LocalWins,
    Policy::Newest,
    Policy::Add,
    Policy::Union,
    Policy::Max,
    Policy::Min,
    Policy::Text,
    Policy::Json,
];

fn any_type() -> impl Strategy<Value = ColumnType> {
    prop_oneof![
        Just(ColumnType::Bool),
        Just(ColumnType::Int4),
        Just(ColumnType::Int8),
        Just(ColumnType::Float8),
        Just(ColumnType::Numeric),
        Just(ColumnType::Text),
        Just(ColumnType::Timestamptz),
        Just(ColumnType::Json),
        Just(ColumnType::Array(Box::new(ColumnType::Text))),
    ]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (0..3_i64).prop_map(Into::into),
        "[a-c]".prop_map(Into::into)
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("[a-d]", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-d]{0,2}", 0..6).prop_map(|lines| lines.join("\n"))
}

/// A value of the type, now and then NULL, out of so few that equal ones are common.
fn value(ty: &ColumnType) -> BoxedStrategy<Value> {
    let ty = ty.clone();
    let given = match ty {
        ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ColumnType::Int4 | ColumnType::Int8 => (-3..4_i64).prop_map(Value::Int).boxed(),
        ColumnType::Float8 => (-8..9_i64).prop_map(move |number| ty.accept(Value::Int(number)).unwrap()).boxed(),
        ColumnType::Numeric => {
            (-30..30_i64).prop_map(move |number| ty.parse(&format!("{}.{}", number / 10, (number % 10).abs())).unwrap()).boxed()
        }
        ColumnType::Timestamptz => (10..14).prop_map(move |hour| ty.parse(&format!("2026-01-01T{hour}:00:00Z")).unwrap()).boxed(),
        ColumnType::Json => json().prop_map(move |json| ty.parse(&json.to_string()).unwrap()).boxed(),
        ColumnType::Array(_) => prop::collection::vec("[a-d]", 0..5)
            .prop_map(move |items| ty.parse(&serde_json::Value::from(items).to_string()).unwrap())
            .boxed(),
        _ => text().prop_map(Value::Text).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 9 => given].boxed()
}

/// A type, and base, cloud and local of it.
fn sides() -> impl Strategy<Value = (ColumnType, [Value; 3], Option<bool>)> {
    any_type().prop_flat_map(|ty| {
        let values = [value(&ty), value(&ty), value(&ty)];
        (Just(ty), values, any::<Option<bool>>())
    })
}

fn merged(policy: Policy, ty: &ColumnType, [base, cloud, local]: [&Value; 3], local_is_newer: Option<bool>) -> Merged {
    merge(policy, ty, Sides { base, cloud, local, local_is_newer })
}

/// The value that stands afterwards; `None` where it parks.
fn stands(outcome: &Merged, cloud: &Value, local: &Value) -> Option<Value> {
    match outcome {
        Merged::Clash => None,
        Merged::Cloud => Some(cloud.clone()),
        Merged::Local => Some(local.clone()),
        Merged::Both(value) => Some(value.clone()),
    }
}

fn items(value: &Value) -> Option<BTreeSet<String>> {
    match value {
        Value::Text(text) => {
            let items: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
            Some(items.iter().map(ToString::to_string).collect())
        }
        _ => Some(BTreeSet::new()),
    }
}

fn cases() -> u32 {
    std::env::var("REJOIN_CASES").map_or(3_000, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_policy_is_deterministic_and_leaves_equal_and_one_sided_changes_alone((ty, [base, cloud, local], newer) in sides()) {
        for policy in POLICIES {
            let outcome = merged(policy, &ty, [&base, &cloud, &local], newer);
            prop_assert_eq!(&outcome, &merged(policy, &ty, [&base, &cloud, &local], newer));
            // Equal sides, or a side that changed nothing: the other one stands, whatever the policy.
            prop_assert_eq!(stands(&merged(policy, &ty, [&base, &cloud, &cloud], newer), &cloud, &cloud), Some(cloud.clone()));
            prop_assert_eq!(stands(&merged(policy, &ty, [&base, &base, &local], newer), &base, &local), Some(local.clone()));
            prop_assert_eq!(stands(&merged(policy, &ty, [&base, &cloud, &base], newer), &cloud, &base), Some(cloud.clone()));
            // What stands is a value of the type, in canonical form.
            if let Some(value) = stands(&outcome, &cloud, &local) {
                prop_assert_eq!(ty.accept(value.clone()).unwrap(), value);
            }
        }
    }

    #[test]
    fn merges_do_not_care_which_side_is_which((ty, [base, cloud, local], _) in sides()) {
        for policy in [Policy::Union, Policy::Max, Policy::Min, Policy::Json, Policy::Text] {
            let one = stands(&merged(policy, &ty, [&base, &cloud, &local], None), &cloud, &local);
            let other = stands(&merged(policy, &ty, [&base, &local, &cloud], None), &local, &cloud);
            prop_assert_eq!(one, other, "{:?}", policy);
        }
    }

    #[test]
    fn a_merge_of_what_was_merged_changes_nothing((ty, [base, cloud, local], newer) in sides()) {
        // The answer was lost and the edit comes again, over the value that it was merged into.
        for policy in [Policy::Union, Policy::Max, Policy::Min, Policy::Json, Policy::CloudWins, Policy::LocalWins] {
            if let Some(value) = stands(&merged(policy, &ty, [&base, &cloud, &local], newer), &cloud, &local) {
                let again = stands(&merged(policy, &ty, [&base, &value, &local], newer), &value, &local);
                if policy == Policy::Union && !value.is_null() {
                    // A side that only put the members in another order changed nothing of the set.
                    prop_assert_eq!(again.as_ref().and_then(items), items(&value));
                } else {
                    prop_assert_eq!(again, Some(value), "{:?}", policy);
                }
            }
        }
    }

    #[test]
    fn a_side_only_loses_by_a_policy_that_says_so((ty, [base, cloud, local], newer) in sides()) {
if cloud == local || cloud == base || local == base {
            return Ok(());
        }
        for policy in POLICIES {
            let outcome = merged(policy, &ty, [&base, &cloud, &local], newer);
            match policy {
                Policy::Manual | Policy::Add => prop_assert_eq!(outcome, Merged::Clash),
                Policy::CloudWins => prop_assert_eq!(outcome, Merged::Cloud),
                Policy::LocalWins => prop_assert_eq!(outcome, Merged::Local),
                Policy::Newest => prop_assert_eq!(outcome, match newer { Some(true) => Merged::Local, Some(false) => Merged::Cloud, None => Merged::Clash }),
                _ if cloud.is_null() || local.is_null() => prop_assert_eq!(outcome, Merged::Clash),
                _ => {}
            }
        }
    }

    #[test]
    fn union_holds_what_either_added_and_nothing_that_either_removed(base in value(&array()), cloud in value(&array()), local in value(&array())) {
        let outcome = merged(Policy::Union, &array(), [&base, &cloud, &local], None);
        if let (Some(value), false) = (stands(&outcome, &cloud, &local), cloud.is_null() || local.is_null()) {
            let [base, cloud, local, value] = [&base, &cloud, &local, &value].map(|value| items(value).unwrap());
            let kept: BTreeSet<_> = base.iter().filter(|item| cloud.contains(*item) && local.contains(*item)).cloned().collect();
            let added: BTreeSet<_> = cloud.union(&local).filter(|item| !base.contains(*item)).cloned().collect();
            prop_assert_eq!(value, kept.union(&added).cloned().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn text_holds_every_line_that_either_wrote(base in prop::collection::vec("[a-z]{3}", 1..8), edits in prop::collection::vec((any::<bool>(), 0..8_usize, 0..3_u8), 1..4)) {
        let (mut cloud, mut local, mut made) = (base.clone(), base.clone(), Vec::new());
        for (no, (at_cloud, at, what)) in edits.iter().enumerate() {
            let lines = if *at_cloud { &mut cloud } else { &mut local };
            let at = at % (lines.len() + 1);
            match what {
                0 => lines.insert(at, format!("NEW{no}")),
                1 if at < lines.len() => lines[at] = format!("NEW{no}"),
                _ => continue,
            }
            made.push((*at_cloud, format!("NEW{no}")));
        }
        let text = |lines: &[String]| Value::Text(lines.join("\n"));
        let (base, cloud, local) = (text(&base), text(&cloud), text(&local));
        if let Some(Value::Text(value)) = stands(&merged(Policy::Text, &ColumnType::Text, [&base, &cloud, &local], None), &cloud, &local) {
            let on_side = |at_cloud: bool, line: &str| matches!(if at_cloud { &cloud } else { &local }, Value::Text(text) if text.lines().any(|other| other == line));
            for (at_cloud, line) in made.iter().filter(|(at_cloud, line)| on_side(*at_cloud, line)) {
                prop_assert!(value.lines().any(|other| other == line), "{line} of {at_cloud} is not in {value:?}");
            }
        }
    }

    #[test]
    fn additions_are_exact_and_in_any_order(start in -1_000_000..1_000_000_i64, amounts in prop::collection::vec(-10_000..10_000_i64, 0..8)) {
        let as_cents = |cents: i64| ColumnType::Numeric.parse(&format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)).unwrap();
        for (ty, of) in [(ColumnType::Int8, (&Value::Int) as &dyn Fn(i64) -> Value), (ColumnType::Numeric, &as_cents)] {
            let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.fold(of(start), |sum, amount| add(&ty, &sum, &of(amount)).unwrap());
            let total = of(start + amounts.iter().sum::<i64>());
            prop_assert_eq!(sum(&mut amounts.iter().copied()), total.clone());
            prop_assert_eq!(sum(&mut amounts.iter().rev().copied()), total.clone());
            let step = difference(&ty, &of(start), &total).unwrap();
            prop_assert_eq!(add(&ty, &of(start), &step).unwrap(), total);
        }
    }
}

fn array() -> ColumnType {
    ColumnType::Array(Box::new(ColumnType::Text))
}

fn one(policy: Policy, ty: &ColumnType, base: &str, cloud: &str, local: &str) -> Option<String> {
    let [base, cloud, local] = [base, cloud, local].map(|text| ty.parse(text).unwrap());
    stands(&merged(policy, ty, [&base, &cloud, &local], None), &cloud, &local).map(|value| value.to_text().into_owned())
}

#[test]
fn texts_merge_where_their_changes_do_not_touch() {
    let text = |base, cloud, local| one(Policy::Text, &ColumnType::Text, base, cloud, local);
    assert_eq!(text("a\nb\nc", "A\nb\nc", "a\nb\nC").as_deref(), Some("A\nb\nC"));
    assert_eq!(text("a\nb", "a\nb\nmore", "A!\nb").as_deref(), Some("A!\nb\nmore"));
    assert_eq!(text("one line", "one line!", "another line"), None, "both changed the same line");
    assert_eq!(text("", "x", "y"), None);
}

#[test]
fn objects_merge_key_by_key_to_any_depth() {
    let json = |base, cloud, local| one(Policy::Json, &ColumnType::Json, base, cloud, local);
    assert_eq!(json("{\"a\":1}", "{\"a\":1,\"b\":2}", "{\"a\":3}").as_deref(), Some("{\"a\":3,\"b\":2}"));
    assert_eq!(json("{\"a\":{\"x\":1}}", "{\"a\":{\"x\":2}}", "{\"a\":{\"x\":1,\"y\":9}}").as_deref(), Some("{\"a\":{\"x\":2,\"y\":9}}"));
    assert_eq!(json("{\"a\":1,\"b\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}").as_deref(), Some("{\"b\":2}"), "a removed key stays away");
    assert_eq!(json("{\"a\":1}", "{}", "{\"a\":2}"), None, "removed here, changed there");
    assert_eq!(json("{\"a\":1}", "{\"a\":2}", "{\"a\":3}"), None);
    assert_eq!(json("[1]", "[1,2]", "[1,3]"), None, "an array is one value");
}

#[test]
fn numbers_beyond_a_float_are_compared_and_added_exactly() {
    let (big, bigger) = ("9007199254740993.000000000000000001", "9007199254740993.000000000000000002");
    assert_eq!(one(Policy::Max, &ColumnType::Numeric, "0", big, bigger).as_deref(), Some(bigger));
    assert_eq!(one(Policy::Min, &ColumnType::Numeric, "0", "9", "10").as_deref(), Some("9"), "by number, not by text");
    assert_eq!(add(&ColumnType::Int4, &Value::Int(2_147_483_647), &Value::Int(1)), None);
    assert_eq!(add(&ColumnType::Int8, &Value::Int(i64::MAX), &Value::Int(1)), None);
    assert_eq!(add(&ColumnType::Int8, &Value::Null, &Value::Int(1)), Some(Value::Null));
}

#[test]
fn a_policy_fits_only_types_that_it_means_something_for() {
    let fitting = |ty: &ColumnType| POLICIES.into_iter().filter(|policy| policy.fits(ty)).map(Policy::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(fitting(&ColumnType::Numeric), "manual cloud_wins local_wins newest add max min");
    assert_eq!(fitting(&ColumnType::Text), "manual cloud_wins local_wins newest max min text");
    assert_eq!(fitting(&ColumnType::Json), "manual cloud_wins local_wins newest union json");
    assert_eq!(fitting(&array()), "manual cloud_wins local_wins newest union");
    assert_eq!(fitting(&ColumnType::Uuid), "manual cloud_wins local_wins newest");
    assert_eq!(fitting(&ColumnType::Enum(vec!["low".into()])), "manual cloud_wins local_wins newest");
}

#[test]
fn a_text_of_too_many_lines_parks_instead_of_taking_its_time() {
    let line = |mark: &str| format!("{mark}\n{}", "line\n".repeat(sync_core::limits::MERGE_LINES_MAX));
    assert_eq!(one(Policy::Text, &ColumnType::Text, &line("a"), &line("b"), &format!("{}end", line("a"))), None);
}
