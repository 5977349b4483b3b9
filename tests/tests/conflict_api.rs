//! The conflicts' API of a real cloud and a real site: found, shown field by field, decided by the many, taken back, heard of.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::time::Duration;

use rejoin_tests::World;
use rejoin_tests::api::Api;
use serde_json::{Value, json};

const SOURCES: usize = 3;

/// Sources of which cloud and site changed the note, parked.
async fn parked(world: &World) -> Vec<String> {
    let production = world.cloud.create("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    let mut sources = Vec::new();
    for no in 0..SOURCES {
        let source = json!({"type": "CAMERA", "name": format!("Cam {no}"), "note": "as it was planned"});
        sources.push(world.cloud.create(&format!("/api/productions/{production}/sources"), source).await);
    }
    world.converge().await;
    for source in &sources {
        world.site("a").api.patch(&format!("/api/sources/{source}"), json!({"note": "as it is here"})).await.ok();
        world.cloud.patch(&format!("/api/sources/{source}"), json!({"note": "as it must be"})).await.ok();
    }
    sources
}

/// An answer as lines, as it comes from the socket.
async fn lines(api: &Api, request: reqwest::RequestBuilder) -> (u16, Vec<Value>) {
    let reply = request.bearer_auth(api.token()).header("accept", "application/x-ndjson").send().await.unwrap();
    let status = reply.status().as_u16();
    let text = reply.text().await.unwrap();
    (status, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

async fn total(api: &Api, query: &str) -> u64 {
    api.get(&format!("/api/conflicts/counts?{query}")).await.ok()["total"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_found_shown_decided_and_taken_back_over_http() {
    let world = World::new(&["a"]).await;
    let sources = parked(&world).await;
    let site = &world.site("a").api;
    let http = reqwest::Client::new();

    // At the site, before and after they are parked; what hears of it is the site's stream of events.
    assert_eq!(site.get("/api/rejoin/edits/counts").await.ok()["waiting"], SOURCES);
    let mut events = http.get(format!("{}/api/events", site.url())).bearer_auth(site.token()).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    world.sync("a").await;
    let mut heard = String::new();
    while !heard.contains("event: conflicts") {
        let chunk = tokio::time::timeout(Duration::from_secs(30), events.chunk()).await.unwrap().unwrap().unwrap();
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
    let (status, edits) = lines(site, http.get(format!("{}/api/rejoin/edits", site.url()))).await;
    assert_eq!((status, edits.len()), (200, SOURCES));
    assert!(edits.iter().all(|edit| edit["state"] == "parked" && edit["conflict"].is_string()), "{edits:?}");
    world.cloud.get("/api/rejoin/edits").await.refused(501, "unsupported");

    for api in [&world.cloud, site] {
        // Found.
        for (query, expected) in [
            ("resolution=PENDING", 3),
            ("table=sources&column=note&site=a&kind=update_update&since=1h&byPolicy=false", 3),
            ("column=name", 0),
            ("until=1h", 0),
            (&format!("table=sources&record={}", sources[0]), 1),
        ] {
            assert_eq!(total(api, query).await, expected, "{query} at {}", api.url());
        }
        let groups = api.get("/api/conflicts/groups?resolution=PENDING").await.ok();
        assert_eq!((&groups["data"].as_array().unwrap().len(), &groups["data"][0]["conflicts"]), (&1, &json!(3)), "{groups}");
        let mut cursor = String::new();
        let mut seen = Vec::new();
        loop {
            let page = api.get(&format!("/api/conflicts?sort=record&limit=2{cursor}")).await.ok();
            seen.extend(page["data"].as_array().unwrap().iter().map(|conflict| conflict["recordId"].as_str().unwrap().to_owned()));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let mut expected = sources.clone();
        expected.sort();
        assert_eq!(seen, expected);

        // Shown.
        let id = groups["data"][0]["example"]["id"].as_str().unwrap();
        let detail = api.get(&format!("/api/conflicts/{id}")).await.ok();
        let field = |name: &str| detail["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).unwrap();
        let note = field("note");
        assert_eq!((&note["verdict"], &field("name")["verdict"]), (&json!("clash"), &json!("same")), "{detail}");
        let sides = (&note["base"], &note["cloud"], &note["local"]);
        assert_eq!(sides, (&json!("as it was planned"), &json!("as it must be"), &json!("as it is here")));
        assert_eq!(note["diff"][0], json!({"op": "same", "text": "as it "}));

        let document = api.get("/openapi.json").await.ok();
        assert!(document["paths"]["/api/sources/{id}"]["patch"].is_object());
    }
    let path = format!("/api/rejoin/history/sources/{}", sources[0]);
    let history = world.cloud.get(&path).await.ok();
    assert_eq!(history["data"][0]["changes"]["note"], json!(["as it was planned", "as it must be"]), "{history}");

    // Decided by the many: first as it would be, then on another number than there are, then one is taken back.
    let url = format!("{}/api/conflicts/resolve", world.cloud.url());
    let decide = |more: Value| {
        let mut body = json!({"filter": {"table": "sources", "site": "a", "column": "note"}, "resolution": "LOCAL_WINS"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        http.post(&url).json(&body)
    };
    let (status, dry) = lines(&world.cloud, decide(json!({"dryRun": true}))).await;
    assert_eq!((status, &dry.last().unwrap()["resolved"], total(&world.cloud, "resolution=PENDING").await), (200, &json!(3), 3));
    let (status, refused) = lines(&world.cloud, decide(json!({"expected": 2}))).await;
    assert_eq!((status, &refused[0]["current"]["matched"]), (409, &json!(3)), "{refused:?}");
    let (status, done) = lines(&world.cloud, decide(json!({"expected": 3}))).await;
    assert_eq!((status, &done.last().unwrap()["resolved"]), (200, &json!(3)), "{done:?}");
    assert_eq!(world.cloud.get(&format!("/api/sources/{}", sources[0])).await.ok()["note"], "as it is here");

    let list = world.cloud.get(&format!("/api/conflicts?table=sources&record={}", sources[0])).await.ok();
    let decided = &list["data"][0];
    let undo = format!("/api/conflicts/{}/undo", decided["id"].as_str().unwrap());
    let open = world.cloud.post(&undo, json!({"revision": decided["revision"]})).await.ok();
    assert_eq!(open["resolution"], "PENDING");
    assert_eq!(world.cloud.get(&format!("/api/sources/{}", sources[0])).await.ok()["note"], "as it must be");
    world.cloud.post(&undo, json!({"revision": open["revision"]})).await.refused(422, "undecidable");
    world.converge().await;
    assert_eq!(total(site, "resolution=PENDING").await, 1);
}
