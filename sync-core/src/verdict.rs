//! What both sides did to each column of a row in conflict, for whoever decides it.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::catalog::Table;
use crate::value::ColumnType;
use crate::write::is_too_large;

/// What both sides did to one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody changed it.
    Same,
    /// Only the cloud did.
    CloudOnly,
    /// Only the site did.
    LocalOnly,
    /// Both did, to the same value.
    BothSame,
    /// Both did, to different values.
    Clash,
}

/// One column's three sides; `None` where a side does not have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Three<T> {
    /// What the site's edit was made on; `None` where the site did not edit it, or made the row.
    pub base: Option<T>,
    /// What the cloud has.
    pub cloud: Option<T>,
    /// What the site has.
    pub local: Option<T>,
}

impl<T> Three<T> {
    fn map<U>(self, mut change: impl FnMut(T) -> U) -> Three<U> {
        Three { base: self.base.map(&mut change), cloud: self.cloud.map(&mut change), local: self.local.map(change) }
    }
}

/// The verdict on one column. `made`: the site made the row, so that there is no base for any column; else a column without base is one that
/// the site left alone.
#[must_use]
pub fn verdict<T: PartialEq>(made: bool, sides: &Three<T>) -> Verdict {
    match (&sides.base, &sides.cloud, &sides.local) {
        (_, None, None) => Verdict::Same,
        (Some(base), Some(cloud), Some(local)) => match (cloud == base, local == base) {
            (true, true) => Verdict::Same,
            (false, true) => Verdict::CloudOnly,
            (true, false) => Verdict::LocalOnly,
            (false, false) if cloud == local => Verdict::BothSame,
            (false, false) => Verdict::Clash,
        },
        (None, Some(cloud), Some(local)) => match (made, cloud == local) {
            (true, true) => Verdict::BothSame,
            (true, false) => Verdict::Clash,
            (false, true) => Verdict::Same,
            (false, false) => Verdict::CloudOnly,
        },
        (base, None, Some(local)) => changed(base.as_ref(), local, Verdict::LocalOnly),
        (base, Some(cloud), None) => changed(base.as_ref(), cloud, Verdict::CloudOnly),
    }
}

fn changed<T: PartialEq>(base: Option<&T>, side: &T, by: Verdict) -> Verdict {
    if base == Some(side) { Verdict::Same } else { by }
}

/// The verdict on a column whose sides are kept as JSON: compared in the canonical form of its type (`1.50` is `1.5`), and as they stand where
/// one of them cannot be read or was too large to be kept.
#[must_use]
pub fn of_json(ty: &ColumnType, made: bool, sides: Three<&Json>) -> Verdict {
    let read = sides.map(|json| if is_too_large(json) { None } else { ty.from_json(json).ok() });
    let legible = [&read.base, &read.cloud, &read.local].iter().all(|side| **side != Some(None));
    if legible { verdict(made, &read) } else { verdict(made, &sides) }
}

/// Columns of a group clash as one: where one side changed one of them and the other side another, all that differ clash. `verdicts` and
/// `differ` (whether cloud and site differ in it) go by the table's columns.
pub fn join_groups(table: &Table, verdicts: &mut [Verdict], differ: &[bool]) {
    for group in &table.groups {
        let members: Vec<usize> = group.iter().filter_map(|no| table.position(*no)).filter(|at| *at < verdicts.len()).collect();
        let any = |wanted: &[Verdict]| members.iter().any(|at| wanted.contains(&verdicts[*at]));
        let cloud = any(&[Verdict::CloudOnly, Verdict::BothSame, Verdict::Clash]);
        let local = any(&[Verdict::LocalOnly, Verdict::BothSame, Verdict::Clash]);
        if cloud && local {
            for at in members {
                if differ.get(at) == Some(&true) {
                    verdicts[at] = Verdict::Clash;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn sides() -> impl Strategy<Value = Three<u8>> {
        let side = || prop::option::weighted(0.8, 0_u8..3);
        (side(), side(), side()).prop_map(|(base, cloud, local)| Three { base, cloud, local })
    }

    fn mirrored(verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::CloudOnly => Verdict::LocalOnly,
            Verdict::LocalOnly => Verdict::CloudOnly,
            other => other,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn who_did_what_is_seen_from_both_sides_alike(sides in sides(), made: bool) {
            // Only where the site left a column alone does it matter which side is whose.
            prop_assume!(made || sides.base.is_some());
            let turned = Three { base: sides.base, cloud: sides.local, local: sides.cloud };
            prop_assert_eq!(verdict(made, &turned), mirrored(verdict(made, &sides)));
        }

        #[test]
        fn nothing_clashes_that_is_equal_and_nothing_is_lost_that_is_not(sides in sides(), made: bool) {
            let verdict = verdict(made, &sides);
            if sides.cloud == sides.local {
                prop_assert!(matches!(verdict, Verdict::Same | Verdict::BothSame));
            } else {
                prop_assert!(!matches!(verdict, Verdict::BothSame));
                prop_assert!(verdict != Verdict::Same || sides.cloud.is_none() || sides.local.is_none());
            }
            if verdict == Verdict::Clash {
                prop_assert!(sides.base != sides.cloud && sides.base != sides.local && sides.cloud != sides.local);
            }
        }

        #[test]
        fn numbers_are_equal_in_any_notation(number in -1_000_000_i64..1_000_000, zeros in 0_usize..5) {
            let plain = json!(format!("{number}"));
            let long = json!(format!("{number}.{}", "0".repeat(zeros + 1)));
            let other = json!(format!("{}", number + 1));
            let of = |base, cloud, local| of_json(&ColumnType::Numeric, false, Three { base: Some(base), cloud: Some(cloud), local: Some(local) });
            prop_assert_eq!(of(&plain, &long, &plain), Verdict::Same);
            prop_assert_eq!(of(&plain, &long, &other), Verdict::LocalOnly);
        }
    }

    #[test]
    fn json_is_compared_by_what_it_says() {
        let (one, other) = (json!({"a": 1, "b": 2.50}), serde_json::from_str(r#"{"b": 2.5, "a": 1}"#).unwrap());
        let sides = Three { base: Some(&one), cloud: Some(&other), local: Some(&one) };
        assert_eq!(of_json(&ColumnType::Json, false, sides), Verdict::Same);
    }

    #[test]
    fn what_was_too_large_to_keep_is_compared_as_it_stands() {
        let (large, larger) = (json!({"rejoinTooLarge": 500_000}), json!({"rejoinTooLarge": 500_001}));
        let of = |cloud, local| of_json(&ColumnType::Text, true, Three { base: None, cloud: Some(cloud), local: Some(local) });
        assert_eq!(of(&large, &larger), Verdict::Clash);
        assert_eq!(of(&large, &large), Verdict::BothSame);
    }

    #[test]
    fn a_group_clashes_as_one() {
        let json = json!({
            "no": 1, "schema": "public", "name": "t", "path": "t", "engine": false, "key": [1], "uniques": [], "indexes": [],
            "references": [], "scope": "global", "soft_delete": null, "groups": [[2, 3, 4]],
            "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"},
            "columns": (1..=5).map(|no| json!({"no": no, "name": format!("c{no}"), "ty": "int4", "sql_type": "integer",
                "not_null": false, "default": null, "max_length": null})).collect::<Vec<_>>(),
        });
        let table: Table = serde_json::from_value(json).unwrap();
        use Verdict::{Clash, CloudOnly, LocalOnly, Same};
        let mut verdicts = [Same, CloudOnly, LocalOnly, Same, LocalOnly];
        join_groups(&table, &mut verdicts, &[false, true, true, false, true]);
        assert_eq!(verdicts, [Same, Clash, Clash, Same, LocalOnly]);
        let mut one_sided = [Same, CloudOnly, CloudOnly, Same, LocalOnly];
        join_groups(&table, &mut one_sided, &[false, true, true, false, true]);
        assert_eq!(one_sided, [Same, CloudOnly, CloudOnly, Same, LocalOnly]);
    }
}
