//! Decisions on their way: how many travel at once, what their answers do, and what is kept until a pull has brought their effect.

use conflict_ui_api::backend::Event;
use local_server::store::DbError;
use local_server::store::outbox::Pass;
use sync_core::change::At;
use sync_core::change::{Confirmed, Image, RowAnswer, Stamp, State, Verdict};
use sync_core::conflict::{Resolution, Way};
use sync_core::id::{ColumnNo, ScopeId, Tick};
use sync_core::limits::{PUSH_COMMAND_BYTES_MAX, PUSH_COMMANDS_MAX};
use sync_core::value::Value;
use sync_core::wire::codec;
use sync_core::wire::message::{CommandAnswer, PushResult, Refusal, ResolveCommand};
use uuid::Uuid;

use crate::bench::*;

async fn decide(site: &Site, numbers: std::ops::Range<u128>, bytes: usize) {
    decide_as(site, numbers, bytes, 1, Way::Plain).await;
}

async fn decide_as(site: &Site, numbers: std::ops::Range<u128>, bytes: usize, revision: i64, way: Way) {
    let commands: Vec<(String, Vec<u8>)> = numbers
        .map(|number| {
            let command = ResolveCommand {
                conflict: conflict(number),
                revision,
                cloud_etag: None,
                resolution: Resolution::Manual,
                values: vec![(ColumnNo(3), Value::Text("x".repeat(bytes)))],
                by: "bea".into(),
                way,
                besides: None,
            };
            (conflict(number).to_string(), codec::encode(&command).unwrap())
        })
        .collect();
    let sql = "INSERT INTO rejoin_commands (conflict, body, decided_by, decided_at) VALUES (?1, ?2, 'bea', '2026-01-01T00:00:00.000000Z')";
    let stored = site.db.write(move |connection| {
        let mut statement = connection.prepare(sql)?;
        commands.iter().try_for_each(|(id, body)| statement.execute((id, body)).map(drop))?;
        Ok::<_, DbError>(())
    });
    stored.await.unwrap();
}

#[tokio::test]
async fn ten_thousand_decisions_travel_over_fifty_pushes_in_their_order() {
    let site = Site::new(1).await;
    decide(&site, 1..10_001, 8).await;
    let mut pass = Pass::default();
    let mut sent = Vec::new();
    let mut pushes = 0;
    while let Some((_, push)) = site.next(&mut pass).await {
        assert!(push.commands.len() <= PUSH_COMMANDS_MAX);
        sent.extend(push.commands.iter().map(|command| command.conflict));
        pushes += 1;
        site.applied(&push, vec![]).await;
    }
    assert_eq!((pushes, sent.len(), sent.is_sorted()), (10_000 / PUSH_COMMANDS_MAX, 10_000, true));
}

#[tokio::test]
async fn large_decisions_leave_room_for_rows_and_wedge_nothing() {
    let site = Site::new(1).await;
    decide(&site, 1..6, PUSH_COMMAND_BYTES_MAX / 3).await;
    site.sql("INSERT INTO shows (id) VALUES ('a')").await;
    // Random enough that nothing is gained by compressing, in what counts here: the bytes before.
    let mut pass = Pass::default();
    let mut sizes = Vec::new();
    while let Some((_, push)) = site.next(&mut pass).await {
        sizes.push((push.commands.len(), push.rows.len()));
        let rows = push.rows.iter().map(|_| exact(&scope("a"), 1, 1)).collect();
        site.applied(&push, rows).await;
    }
    assert_eq!(sizes.iter().map(|(commands, _)| commands).sum::<usize>(), 5);
    assert_eq!(sizes.iter().map(|(_, rows)| rows).sum::<usize>(), 1, "{sizes:?}");
}

fn own() -> ScopeId {
    ScopeId(format!("site/{}", Uuid::nil()))
}

const STAND: &str = "SELECT substr(conflict, -1), push_no IS NOT NULL, done, refused IS NOT NULL FROM rejoin_commands ORDER BY 1";

#[tokio::test]
async fn a_decision_stays_until_its_effect_is_here_and_a_refused_one_until_somebody_decided() {
    let site = Site::new(1).await;
    let open = |tick, second: &str, revision| {
        page(&[(&own(), tick)]).live(CONFLICTS, 0, tick, tick, conflict_row(1, "PENDING", 1)).live(
            CONFLICTS,
            0,
            tick,
            tick,
            conflict_row(2, second, revision),
        )
    };
    site.pull(open(1, "PENDING", 1)).await;
    decide(&site, 1..3, 8).await;
    site.sql("UPDATE rejoin_commands SET decided_at = 'z' WHERE conflict LIKE '%2'; INSERT INTO rejoin_commands (conflict, body, decided_by, decided_at) VALUES ('c9', x'c1', 'bea', 'a')").await;
    let push = site.cut().await.unwrap();
    assert_eq!(push.commands.len(), 2);
    let commands = vec![CommandAnswer::Done, CommandAnswer::Refused("somebody was first".into())];
    site.answer(push.no, PushResult::Applied { rows: vec![], commands }).await;
    assert_eq!(site.rows(STAND).await, "1|1|1|0;2|0|0|1;9|0|0|1", "one that cannot be read is told as refused");
    assert!(site.cut().await.is_none(), "none of them is sent again");
    // A pull that read the cloud before that push; the one of no conflict has nobody to tell it to.
    site.pull(open(2, "PENDING", 1)).await;
    assert_eq!(site.rows(STAND).await, "1|1|1|0;2|0|0|1");
    // Changed, and open all the same: the refusal is still to be told.
    let effect = conflict_row(1, "MANUAL", 2);
    site.pull(page(&[(&own(), 3)]).live(CONFLICTS, 0, 3, 3, effect).live(CONFLICTS, 0, 3, 3, conflict_row(2, "PENDING", 2))).await;
    assert_eq!(site.rows(STAND).await, "2|0|0|1");
    site.pull(page(&[(&own(), 4)]).live(CONFLICTS, 0, 4, 4, conflict_row(2, "CLOUD_WINS", 3))).await;
    assert_eq!(site.rows(STAND).await, "");
}

#[tokio::test]
async fn an_undo_stays_until_its_conflict_is_open_again_and_a_refused_one_until_it_has_changed() {
    let site = Site::new(1).await;
    let both = |tick, first: &str, second: &str, revision| {
        let page = page(&[(&own(), tick)]).live(CONFLICTS, 0, tick, tick, conflict_row(1, first, revision));
        page.live(CONFLICTS, 0, tick, tick, conflict_row(2, second, revision))
    };
    site.pull(both(1, "MANUAL", "MANUAL", 2)).await;
    decide_as(&site, 1..3, 8, 2, Way::Undo).await;
    let push = site.cut().await.unwrap();
    let commands = vec![CommandAnswer::Done, CommandAnswer::Refused("written since".into())];
    site.answer(push.no, PushResult::Applied { rows: vec![], commands }).await;
    site.pull(both(2, "MANUAL", "MANUAL", 2)).await;
    assert_eq!(site.rows(STAND).await, "1|1|1|0;2|0|0|1");
    site.pull(page(&[(&own(), 3)]).live(CONFLICTS, 0, 3, 3, conflict_row(1, "PENDING", 3))).await;
    assert_eq!(site.rows(STAND).await, "2|0|0|1");
    site.pull(page(&[(&own(), 4)]).live(CONFLICTS, 0, 4, 4, conflict_row(2, "PENDING", 3))).await;
    assert_eq!(site.rows(STAND).await, "");
}

#[tokio::test]
async fn a_parked_edit_is_kept_until_its_conflict_arrives_which_is_told() {
    let site = Site::new(1).await;
    site.pull(page(&[(&scope("a"), 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "A"))).await;
    site.sql("UPDATE shows SET b = 'B'").await;
    let push = site.cut().await.unwrap();
    let stamp = Stamp { version: 8, updated_at: NOW.into(), modified_by: None, synced_at: Some(NOW.into()) };
    let image = Image { at: At { scope: scope("a"), tick: Tick(2) }, stamp, state: State::Live(show("a", 1, "X")) };
    let clash =
        RowAnswer { verdict: Verdict::Parked(conflict(1)), clashed: vec![ColumnNo(3)], confirmed: Confirmed::Image(image), merged: vec![] };
    site.applied(&push, vec![clash]).await;
    assert_eq!(site.rows("SELECT b FROM shows").await, "X");
    let kept = "SELECT conflict, table_no, record_id FROM rejoin_parked";
    assert_eq!(site.rows(kept).await, format!("{}|1|a", conflict(1)));
    let what = |events: Vec<Event>| {
        let one = |event: &Event| {
            if let Event::Conflicts { what, conflict, .. } = event { (what.clone(), *conflict) } else { panic!("{event:?}") }
        };
        events.iter().map(one).collect::<Vec<_>>()
    };
    for (tick, resolution, told) in
        [(1, "PENDING", Some("parked")), (2, "CLOUD_WINS", Some("resolved")), (3, "CLOUD_WINS", None), (4, "PENDING", Some("reopened"))]
    {
        let applied = site.pull(page(&[(&own(), tick)]).live(CONFLICTS, 0, tick, tick, conflict_row(1, resolution, tick))).await;
        let expected: Vec<_> = told.iter().map(|told| ((*told).to_owned(), Some(conflict(1)))).collect();
        assert_eq!(what(applied.news.events("venue")), expected);
        assert_eq!(site.rows(kept).await, "");
    }
}

#[tokio::test]
async fn decisions_that_the_cloud_calls_malformed_are_not_sent_for_ever() {
    let site = Site::new(1).await;
    decide(&site, 1..3, 8).await;
    let mut pass = Pass::default();
    let (_, push) = site.next(&mut pass).await.unwrap();
    site.answer(push.no, PushResult::Refused(Refusal::Malformed("bad".into()))).await;
    pass.refused(0, "bad");
    assert!(site.next(&mut pass).await.is_none());
    assert_eq!(site.rows("SELECT DISTINCT refused, push_no IS NULL FROM rejoin_commands").await, "bad|1");
}
