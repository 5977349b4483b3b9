//! Takes the pictures of the pages in docs/screenshots: `make screenshots`. Real servers, a real browser, one small story.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::browser::Tab;
use rejoin_tests::pages::tab;
use rejoin_tests::{Api, World};
use serde_json::{Value, json};

async fn keep(tab: &Tab, name: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    tab.until("document.fonts.status === 'loaded'").await;
    let picture = tab.picture().await;
    assert!(picture.len() < 150_000, "{name} has {} bytes", picture.len());
    std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
}

/// A person with a password, which the sites have with their next sync.
async fn person(world: &World, name: &str, role: &str) {
    let made = world.cloud.post("/api/rejoin/users", json!({"name": name, "role": role})).await.ok();
    let first = json!({"name": name, "oneTimeSecret": made["oneTimeSecret"], "newPassword": "correct horse battery"});
    world.cloud.post("/api/rejoin/sign-in", first).await.ok();
}

/// A server as this person sees it.
async fn acts(server: &Api, name: &str) -> Api {
    let session = server.post("/api/rejoin/sign-in", json!({"name": name, "password": "correct horse battery"})).await.ok();
    server.with_token(session["token"].as_str().unwrap())
}

/// A show with sources, edited by two sites and at the cloud while the links are cut.
async fn story(world: &World) -> (String, Value) {
    for (name, role) in [("anna", "admin"), ("maria", "editor"), ("ben", "editor")] {
        person(world, name, role).await;
    }
    let maria = acts(&world.cloud, "maria").await;
    let production = maria.create("/api/productions", json!({"client": "Acme", "showName": "Winter Gala", "venue": "Hall 4"})).await;
    let sources = format!("/api/productions/{production}/sources");
    let source = |body: Value| maria.create(&sources, body);
    let note = "Check the genlock before doors open. Second row, left of the stairs.";
    let wide = source(json!({"type": "CAMERA", "name": "Camera 1 wide", "note": note, "hRes": 1920, "vRes": 1080, "rate": 29.97})).await;
    let gone = source(json!({"type": "SERVER", "name": "Playback B", "rate": 50.0})).await;
    let kept = source(json!({"type": "CAMERA", "name": "Backstage cam", "standard": "1080p"})).await;
    for at in 1..=48 {
        source(json!({"type": "CAMERA", "name": format!("Wall tile {at}"), "rate": 25.0})).await;
    }
    let spec = world
        .cloud
        .create(
            "/api/equipment_specs",
            json!({"category": "ROUTER", "manufacturer": "Acme", "model": "RX-9", "ioArchitecture": "CARD_BASED"}),
        )
        .await;
    world.converge().await;
    world.cut_all();
    let (studio, truck) = (world.site("studio-a"), world.site("truck-2"));
    let (ben, driver) = (acts(&studio.api, "ben").await, &truck.api);
    let edit = json!({"note": "Check the genlock twice before doors open. Second row, right of the stairs.", "rate": 59.94});
    ben.patch(&format!("/api/sources/{wide}"), edit).await.ok();
    driver.patch(&format!("/api/sources/{gone}"), json!({"note": "spare deck"})).await.ok();
    driver.delete(&format!("/api/sources/{kept}")).await.ok();
    truck.sqlite3("UPDATE sources SET rate = 59.94 WHERE name LIKE 'Wall tile %'");
    let card = json!({"equipmentId": spec, "slotNumber": 3});
    ben.post("/api/equipment_cards", card.clone()).await.ok();
    maria.post("/api/equipment_cards", card).await.ok();
    let edit = json!({"note": "Check the genlock before doors open. First row, left of the stairs.", "rate": 50.0});
    maria.patch(&format!("/api/sources/{wide}"), edit).await.ok();
    maria.delete(&format!("/api/sources/{gone}")).await.ok();
    maria.patch(&format!("/api/sources/{kept}"), json!({"standard": "2160p"})).await.ok();
    world.psql("UPDATE sources SET rate = 50 WHERE name LIKE 'Wall tile %'").await;
    world.heal_all();
    world.sync("truck-2").await;
    world.sync("studio-a").await;
    (wide.clone(), world.only_conflict(&wide).await)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes files: make screenshots"]
async fn pictures_of_the_pages() {
    let world = World::new(&["studio-a", "truck-2"]).await;
    let (source, conflict) = story(&world).await;
    let address = format!("{}/conflicts/{}", world.cloud.url(), conflict["id"].as_str().unwrap());

    let tab = tab(&acts(&world.cloud, "anna").await).await;
    tab.look(1200, 760, false, false).await;
    tab.open(&format!("{}/", world.cloud.url())).await;
    tab.sees("48 rows").await;
    tab.eval("[...document.querySelectorAll('.line')].find((line) => line.innerText.includes('48 rows')).querySelector('input').click()")
        .await;
    tab.sees("48 conflicts selected").await;
    keep(&tab, "inbox").await;
    tab.click_where(".bar button", "Decide").await;
    tab.click_where("dialog label", "Take the site’s").await;
    tab.sees("48 would take the site’s edit").await;
    keep(&tab, "bulk").await;

    for (name, width, height, phone, dark) in
        [("conflict", 1200, 900, false, false), ("conflict-dark", 1200, 900, false, true), ("conflict-phone", 390, 844, true, false)]
    {
        tab.look(width, height, phone, dark).await;
        tab.open(&address).await;
        tab.click("[data-field=rate] .cell.local").await;
        tab.click("[data-field=note] .cell.cloud").await;
        tab.sees("After saving").await;
        tab.eval("scrollTo(0, 0)").await;
        keep(&tab, name).await;
    }

    world.cut_all();
    let site = &acts(&world.site("studio-a").api, "ben").await;
    site.patch(&format!("/api/sources/{source}"), json!({"name": "Camera 1 wide, stage left"})).await.ok();
    let production = site.get(&format!("/api/sources/{source}")).await.ok()["productionId"].as_str().unwrap().to_owned();
    site.create(&format!("/api/productions/{production}/sources"), json!({"type": "CAMERA", "name": "Handheld 7", "rate": 50.0})).await;
    let tab = rejoin_tests::pages::tab(site).await;
    tab.look(1200, 700, false, false).await;
    tab.open(&format!("{}/edits", site.url())).await;
    tab.sees("Handheld 7").await;
    keep(&tab, "edits").await;
}
