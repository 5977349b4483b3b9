//! Histories made up from a seed: two sites push and pull in any order, answers get lost, plain SQL writes in between. In the end everybody
//! has what the cloud has, and no push was taken twice.

use fastrand::Rng;
use serde_json::{Value as Json, json};
use sync_core::change::RowChange;
use sync_core::wire::codec::encode;
use sync_core::wire::message::Push;

use crate::cloud::Cloud;
use crate::site::{Site, id};

const PRODUCTIONS: u32 = 3;
const SLOTS: u32 = 6;

#[tokio::test]
async fn whatever_happens_everybody_ends_with_what_the_cloud_has() {
    for seed in 1..=6 {
        history(seed).await;
    }
}

async fn history(seed: u64) {
    let mut dice = Rng::with_seed(seed);
    let cloud = Cloud::start().await;
    for no in 1..=PRODUCTIONS {
        cloud.production(&id('p', no), &[&id('s', no * 10 + 1), &id('s', no * 10 + 2)]).await;
    }
    let mut sites = vec![cloud.site("all", &["*"]).await, cloud.site("some", &[&id('p', 1), &id('p', 2)]).await];
    let mut lost: Vec<Option<(Push, Vec<u8>)>> = vec![None, None];
    let mut next = 100;
    for _ in 0..40 {
        let who = dice.usize(..2);
        match dice.u32(..6) {
            0 => drop(cloud.sql.batch_execute(&plain(&mut dice)).await),
            1 | 2 => drop(sites[who].pull().await),
            _ => {
                let site = &mut sites[who];
                let (push, body) = lost[who].take().unwrap_or_else(|| {
                    let push = site.next_push(changes(&mut dice, site, &mut next));
                    let body = encode(&push).unwrap();
                    (push, body)
                });
                let answer = site.send(&body).await.unwrap();
                if dice.u32(..4) == 0 {
                    lost[who] = Some((push, body));
                } else {
                    site.take_answer(&push, &body, &answer);
                }
            }
        }
    }
    for (site, lost) in sites.iter_mut().zip(lost) {
        if let Some((push, body)) = lost {
            let answer = site.send(&body).await.unwrap();
            site.take_answer(&push, &body, &answer);
        }
        site.pull().await;
    }
    for site in &sites {
        site.assert_same_as_cloud().await;
    }
    let twice = "(SELECT replica, push_no, scope FROM rejoin.ticks WHERE replica IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1) t";
    assert_eq!(cloud.count(twice).await, 0, "seed {seed}");
    let astray = "sources s JOIN productions p ON p.id = s.production_id WHERE s.rejoin_scope <> p.rejoin_scope";
    assert_eq!(cloud.count(astray).await, 0, "seed {seed}");
}

/// What a program at the cloud writes; may fail, as any program may.
fn plain(dice: &mut Rng) -> String {
    let (p, slot) = (id('p', dice.u32(..PRODUCTIONS) + 1), dice.u32(..SLOTS) + 1);
    match dice.u32(..6) {
        0 => format!("UPDATE sources SET name = 'cloud {slot}' WHERE slot = {slot}"),
        1 => format!("UPDATE sources SET production_id = '{p}' WHERE slot = {slot}"),
        2 => format!("DELETE FROM sources WHERE slot = {slot} AND production_id = '{p}'"),
        3 => format!("UPDATE productions SET code = 'C{slot}' WHERE id = '{p}'"),
        4 => format!("DELETE FROM outputs WHERE port = '{slot}'"),
        _ => format!("INSERT INTO outputs SELECT id, '{slot}', 'cloud' FROM sources WHERE production_id = '{p}' ON CONFLICT DO NOTHING"),
    }
}

/// What a site did since its last push, one change for each row.
fn changes(dice: &mut Rng, site: &Site<'_>, next: &mut u32) -> Vec<RowChange> {
    let mut changes: Vec<RowChange> = Vec::new();
    for _ in 0..dice.u32(..8) + 1 {
        let change = one_change(dice, site, next);
        let named = |change: &RowChange| {
            let old = if let sync_core::change::Op::Rekey(old, _) = &change.op { old.clone() } else { change.key.clone() };
            [(change.table, change.key.clone()), (change.table, old)]
        };
        if let Some(change) = change
            && !changes.iter().any(|other| named(other).iter().any(|name| named(&change).contains(name)))
        {
            changes.push(change);
        }
    }
    changes
}

fn one_change(dice: &mut Rng, site: &Site<'_>, next: &mut u32) -> Option<RowChange> {
    let known = |table: &str| -> Vec<String> {
        let no = site.cloud.table(table).no;
        site.rows.keys().filter(|(at, _)| *at == no).map(|(_, key)| key.to_string()).collect()
    };
    let (sources, outputs, productions) = (known("sources"), known("outputs"), known("productions"));
    *next += 1;
    let slot = dice.u32(..SLOTS) + 1;
    let p = id('p', dice.u32(..PRODUCTIONS + 1) + 1);
    match dice.u32(..12) {
        0 => {
            let new = id('p', *next);
            Some(site.insert("productions", &json!({"id": new, "name": "made", "code": format!("C{slot}")})))
        }
        1 => dice.choice(&productions).map(|p| site.update("productions", p, &json!({"code": format!("C{slot}")}))),
        2 => dice.choice(&productions).map(|p| site.delete("productions", p)),
        3 | 4 => {
            let above = dice.choice(&sources).map_or(Json::Null, |above| json!(above));
            let row = json!({"id": id('s', *next), "production_id": p, "name": "made", "slot": slot, "above": above, "number": *next});
            Some(site.insert("sources", &row))
        }
        5 => dice.choice(&sources).map(|s| site.update("sources", s, &json!({"slot": slot}))),
        6 => dice.choice(&sources).map(|s| site.update("sources", s, &json!({"production_id": p, "name": "moved"}))),
        7 => dice.choice(&sources).map(|s| site.update("sources", s, &json!({"name": format!("site {slot}"), "slot": -1}))),
        8 => dice.choice(&sources).map(|s| site.delete("sources", s)),
        9 => dice.choice(&sources).map(|s| site.insert("outputs", &json!({"source_id": s, "port": slot.to_string(), "label": "made"}))),
        10 => {
            let (o, s) = (dice.choice(&outputs)?, dice.choice(&sources)?);
            Some(site.rekey("outputs", o, &format!("{s},{slot}"), &json!({"label": "renamed"})))
        }
        _ => dice.choice(&outputs).map(|o| site.delete("outputs", o)),
    }
}
