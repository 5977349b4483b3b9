//! The web pages in a real browser, on a real cloud and real sites: what an admin, a technician and a viewer do with them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::browser::Tab;
use rejoin_tests::pages::{Scene, clash, scene, tab};
use rejoin_tests::{Api, World};
use serde_json::{Value, json};

/// A new user with a password, signed in through the page.
async fn signed_in(cloud: &Api, name: &str, role: &str) -> Tab {
    let made = cloud.post("/api/rejoin/users", json!({"name": name, "role": role})).await.ok();
    let secret = made["oneTimeSecret"].as_str().unwrap_or_else(|| panic!("{made}"));
    let tab = Tab::new().await;
    tab.open(&format!("{}/", cloud.url())).await;
    tab.click_where("button", "I have a one-time secret").await;
    for (field, text) in [("name", name), ("oneTimeSecret", secret), ("newPassword", "correct horse battery")] {
        tab.click(&format!("[name={field}]")).await;
        tab.write(text).await;
    }
    tab.press(&["Enter"]).await;
    tab.until("document.querySelector('h1')?.innerText === 'Conflicts'").await;
    tab
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_out() {
    let world = World::new(&[]).await;
    let tab = signed_in(&world.cloud, "anna", "admin").await;
    tab.sees("Nothing to decide").await;
    tab.click("summary[aria-label=Account]").await;
    tab.click_where("button", "Sign out").await;
    tab.until("location.pathname === '/sign-in' && !localStorage.getItem('rejoin.session')").await;

    // A page that needs somebody leads to the sign-in and back.
    tab.open(&format!("{}/sync", world.cloud.url())).await;
    tab.until("location.search === '?to=%2Fsync'").await;
    tab.click("[name=name]").await;
    tab.write("anna").await;
    tab.click("[name=password]").await;
    tab.write("wrong").await;
    tab.press(&["Enter"]).await;
    tab.sees("Name and password do not match").await;
    tab.write("correct horse battery").await;
    tab.press(&["Enter"]).await;
    tab.until("location.pathname === '/sync'").await;
    tab.sees("Last runs").await;

    // A session that the server ended leads back to the sign-in at the next request.
    tab.eval("localStorage.setItem('rejoin.session', localStorage.getItem('rejoin.session').replace(/rjs_\\w+/, 'rjs_gone'))").await;
    tab.open(&format!("{}/conflicts", world.cloud.url())).await;
    tab.until("location.pathname === '/sign-in'").await;

    tab.open(&format!("{}/nowhere", world.cloud.url())).await;
    tab.sees("There is nothing here").await;
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_picks_fields_saves_and_takes_it_back() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let path = format!("/api/sources/{source}");
    clash(&world, "a", &path, json!({"note": "ask Ben twice", "rate": 59.94}), json!({"note": "ask Ann", "rate": 50.0})).await;

    let tab = tab(&world.cloud).await;
    tab.open(&format!("{}/", world.cloud.url())).await;
    tab.sees("1 conflict to decide").await;
    tab.click(".line a").await;
    tab.sees("at site a changed").await;
    assert_eq!(tab.count(".crumbs a[href*=group]").await, 0, "it is alone in its group");
    tab.until("document.querySelectorAll('.field.clashed').length === 2").await;
    assert!(tab.eval("document.querySelector('[data-focus=save]').disabled").await.as_bool().unwrap(), "nothing is picked yet");
    tab.click("[data-field=rate] .cell.local").await;
    tab.click("[data-field=note] .cell.cloud").await;
    tab.sees("After saving: rate 50 → 59.94.").await;
    tab.click("[data-focus=save]").await;
    tab.sees("Saved.").await;
    tab.sees("decided this").await;
    let row = world.cloud.get(&path).await.ok();
    assert_eq!((&row["rate"], &row["note"]), (&json!(59.94), &json!("ask Ann")));
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());

    // At the site it is changed with its next sync.
    world.sync("a").await;
    let row = world.site("a").api.get(&path).await.ok();
    assert_eq!((&row["rate"], &row["note"]), (&json!(59.94), &json!("ask Ann")));

    tab.click_where(".notice button", "Undo").await;
    tab.sees("Taken back").await;
    tab.until("document.querySelector('[data-focus=save]')").await;
    let row = world.cloud.get(&path).await.ok();
    assert_eq!((&row["rate"], &row["note"]), (&json!(50.0), &json!("ask Ann")));
    tab.open(&format!("{}/", world.cloud.url())).await;
    tab.sees("1 conflict to decide").await;
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_decision_shows_the_new_state_and_keeps_what_was_picked() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let path = format!("/api/sources/{source}");
    clash(&world, "a", &path, json!({"note": "by the site", "rate": 59.94}), json!({"note": "by the cloud", "rate": 50.0})).await;
    let conflict = world.only_conflict(&source).await;
    let address = format!("{}/conflicts/{}", world.cloud.url(), conflict["id"].as_str().unwrap());

    let tab = tab(&world.cloud).await;
    // This tab hears of nothing, as behind a proxy that cuts streams: it learns of it from the refusal.
    tab.eval_on_start(
        "const known = fetch; window.fetch = (path, ...rest) => path === '/api/events' ? new Promise(() => {}) : known(path, ...rest)",
    )
    .await;
    tab.open(&address).await;
    tab.click("[data-field=note] .cell.local").await;
    tab.click("[data-field=rate] .cell.cloud").await;
    tab.sees("After saving: note").await;
    world.cloud.patch(&path, json!({"rate": 24.0})).await.ok();
    tab.click("[data-focus=save]").await;
    tab.sees("This changed while you looked at it").await;
    tab.sees("rate at the cloud went from 50 to 24").await;
    tab.until("document.querySelector('[data-field=rate] .own input')?.value === '50'").await;
    tab.until("document.querySelector('[data-field=note] .cell.local.picked')").await;
    assert_eq!(world.cloud.get(&path).await.ok()["note"], "by the cloud", "nothing was written");

    // Now it is decided by somebody else.
    let read = world.only_conflict(&source).await;
    world.resolve(&read, "CLOUD_WINS", &Value::Null).await.ok();
    tab.click("[data-focus=save]").await;
    tab.sees("Somebody decided this meanwhile").await;
    tab.sees("You had picked").await;
    tab.sees("“by the site”").await;
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_somewhere_else_shows_at_once() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    clash(&world, "a", &format!("/api/sources/{source}"), json!({"note": "by the site"}), json!({"note": "by the cloud"})).await;
    let tab = tab(&world.cloud).await;
    tab.open(&format!("{}/", world.cloud.url())).await;
    tab.sees("1 conflict to decide").await;
    tab.until("document.querySelector('.dot.live, .dot.polling')").await;
    let read = world.only_conflict(&source).await;
    world.resolve(&read, "CLOUD_WINS", &Value::Null).await.ok();
    tab.sees("Nothing to decide").await;
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_are_only_ever_text() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let path = format!("/api/sources/{source}");
    let script = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>";
    let reversed = "\u{202e}drowssap\u{202c} </td></bdi>{{constructor}}";
    let name = "\"><svg onload=window.hacked=1>";
    let long = format!("<b onclick=window.hacked=1>{}</b>", "x".repeat(20_000));
    world.cloud.post("/api/rejoin/users", json!({"name": "<i>eve</i>", "role": "editor"})).await;
    clash(
        &world,
        "a",
        &path,
        json!({"note": script, "name": name, "standard": long}),
        json!({"note": reversed, "name": "__proto__", "standard": "1"}),
    )
    .await;
    world.psql("UPDATE rejoin.sync_conflicts SET local_modified_by = '<img src=x onerror=window.hacked=1>'").await;
    let conflict = world.only_conflict(&source).await;

    let tab = tab(&world.cloud).await;
    tab.open(&format!("{}/", world.cloud.url())).await;
    tab.sees("<svg onload=window.hacked=1>").await;
    tab.open(&format!("{}/conflicts/{}", world.cloud.url(), conflict["id"].as_str().unwrap())).await;
    tab.sees("<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>").await;
    tab.sees("<img src=x onerror=window.hacked=1>").await;
    tab.sees("U+202E").await;
    tab.sees("__proto__").await;
    tab.until("document.querySelector('.value.long')").await;
    assert_eq!(tab.count("main img, main script, main svg, main b[onclick]").await, 0);
    // Picked, written by hand and saved, they are still what they were.
    tab.click("[data-field=note] .cell.local").await;
    tab.click("[data-field=name] .cell.cloud").await;
    tab.click("[data-field=standard] .cell.cloud").await;
    tab.click("[data-field=name] .free").await;
    tab.write("constructor<script>").await;
    tab.press(&["Enter"]).await;
    tab.sees("“constructor<script>”").await;
    tab.click("[data-focus=save]").await;
    tab.sees("Saved.").await;
    let row = world.cloud.get(&path).await.ok();
    assert_eq!((&row["note"], &row["name"]), (&json!(script), &json!("constructor<script>")));
    // In the address, too.
    tab.open(&format!("{}/conflicts/%3Cimg%20src=x%20onerror=window.hacked=1%3E", world.cloud.url())).await;
    tab.sees("There is no such conflict").await;
    tab.open(&format!("{}/conflicts?kind=%3Cscript%3E&table=__proto__&site=javascript:alert(1)", world.cloud.url())).await;
    tab.until("document.querySelector('[data-filter=table]')?.value === '__proto__'").await;
    tab.open(&format!("{}/sign-in?to=//evil.example", world.cloud.url())).await;
    tab.until("location.pathname === '/'").await;
    assert_eq!(tab.eval("window.hacked ?? null").await, Value::Null);
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_and_cannot_decide() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    clash(&world, "a", &format!("/api/sources/{source}"), json!({"note": "by the site"}), json!({"note": "by the cloud"})).await;
    let tab = signed_in(&world.cloud, "vic", "viewer").await;
    tab.sees("1 conflict to decide").await;
    assert_eq!(tab.count(".line input, .filters button").await, 0);
    tab.click(".line a").await;
    tab.sees("Deciding it takes the role admin").await;
    tab.sees("“by the site”").await;
    assert_eq!(tab.count("main input, [data-focus=save], .side").await, 0);
    tab.press(&["s", "c", "1", "2"]).await;
    // A page that shows something later than the keys has heard them.
    tab.press(&["Escape"]).await;
    tab.until("location.pathname === '/conflicts'").await;
    assert_eq!(world.pending_conflicts().await.len(), 1);
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let path = format!("/api/sources/{source}");
    clash(&world, "a", &path, json!({"note": "by the site", "rate": 59.94}), json!({"note": "by the cloud", "rate": 50.0})).await;
    let tab = tab(&world.cloud).await;
    tab.open(&format!("{}/", world.cloud.url())).await;
    tab.sees("1 conflict to decide").await;
    tab.press(&["?"]).await;
    tab.sees("Next line").await;
    tab.press(&["Escape"]).await;
    tab.until("!document.querySelector('dialog')").await;
    tab.press(&["j"]).await;
    tab.until("document.activeElement.matches('.line a')").await;
    tab.press(&["Enter"]).await;
    tab.until("document.querySelectorAll('.field.clashed').length === 2").await;
    let first = tab.eval("document.querySelector('.field.clashed').dataset.field").await;
    // The site's value of the first field, the base's of the second, and then the cloud's by the arrows.
    tab.press(&["ArrowDown", "3", "ArrowDown", "1", "ArrowRight"]).await;
    tab.until("document.querySelectorAll('.clashed .cell.picked').length === 2 && document.querySelector('[data-focus=save]:enabled')")
        .await;
    tab.press(&["s"]).await;
    tab.sees("Saved.").await;
    let row = world.cloud.get(&path).await.ok();
    let expected = if first == "note" { (json!("by the site"), json!(50.0)) } else { (json!("by the cloud"), json!(59.94)) };
    assert_eq!((row["note"].clone(), row["rate"].clone()), expected);
    tab.press(&["u"]).await;
    tab.sees("Taken back").await;
    tab.press(&["c"]).await;
    tab.sees("Nothing changes at the cloud").await;
    tab.press(&["s"]).await;
    tab.sees("Saved.").await;
    tab.press(&["n"]).await;
    tab.sees("Nothing to decide").await;
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_fits_a_phone() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let long = "no-break-".repeat(60);
    clash(&world, "a", &format!("/api/sources/{source}"), json!({"note": long, "rate": 59.94}), json!({"note": "short", "rate": 50.0}))
        .await;
    let conflict = world.only_conflict(&source).await;
    let tab = tab(&world.cloud).await;
    tab.look(360, 740, true, false).await;
    for (path, shows) in [
        ("/".to_owned(), "1 conflict to decide"),
        (format!("/conflicts/{}", conflict["id"].as_str().unwrap()), "Site a"),
        ("/sync".to_owned(), "Last runs"),
        ("/nowhere".to_owned(), "There is nothing here"),
    ] {
        tab.open(&format!("{}{path}", world.cloud.url())).await;
        tab.sees(shows).await;
        assert_eq!(tab.eval("document.documentElement.scrollWidth").await, 360, "{path}");
    }
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_decides_offline_and_the_decision_travels() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let path = format!("/api/sources/{source}");
    clash(&world, "a", &path, json!({"note": "by the site"}), json!({"note": "by the cloud"})).await;
    world.sync("a").await;
    world.cut_all();
    let site = &world.site("a").api;
    let tab = tab(site).await;
    tab.open(&format!("{}/", site.url())).await;
    tab.sees("1 conflict to decide").await;
    tab.click(".line a").await;
    tab.click("[data-field=note] .cell.local").await;
    tab.click("[data-focus=save]").await;
    tab.sees("travels to the cloud with the next sync").await;
    assert_eq!(world.cloud.get(&path).await.ok()["note"], "by the cloud");
    world.heal_all();
    world.converge().await;
    assert_eq!(world.cloud.get(&path).await.ok()["note"], "by the site");
    // The page follows, by itself.
    tab.sees("the site’s edit was taken").await;
    tab.check();
}
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_one_line_and_one_decision() {
    const ROWS: usize = 60;
    let world = World::new(&["a"]).await;
    let Scene { production, .. } = scene(&world).await;
    let mut sources = Vec::new();
    for at in 0..ROWS {
        let body = json!({"type": "CAMERA", "name": format!("Cam {at}"), "rate": 25.0});
        sources.push(world.cloud.create(&format!("/api/productions/{production}/sources"), body).await);
    }
    world.converge().await;
    world.cut_all();
    world.site("a").sqlite3("UPDATE sources SET rate = 59.94 WHERE name LIKE 'Cam %'");
    world.psql("UPDATE sources SET rate = 50 WHERE name LIKE 'Cam %'").await;
    world.heal_all();
    world.converge().await;
    let all = world.pending_conflicts().await.len();

    let tab = tab(&world.cloud).await;
    let one = world.only_conflict(&sources[0]).await;
    tab.open(&format!("{}/conflicts/{}", world.cloud.url(), one["id"].as_str().unwrap())).await;
    tab.sees("same cause").await;
    tab.open(&format!("{}/", world.cloud.url())).await;
    tab.sees(&format!("{all} conflicts to decide, from 1 cause")).await;
    tab.press(&["j", "x", "b"]).await;
    tab.sees(&format!("{all} would keep the cloud’s state")).await;
    tab.click_where("dialog label", "Take the site’s").await;
    tab.sees(&format!("{all} would take the site’s edit")).await;
    tab.click_where("dialog button", &format!("Decide {all}")).await;
    tab.sees(&format!("{all} took the site’s edit")).await;
    tab.click_where("dialog button", "Done").await;
    tab.sees("Nothing to decide").await;
    for source in sources.iter().step_by(20) {
        assert_eq!(world.cloud.get(&format!("/api/sources/{source}")).await.ok()["rate"], 59.94);
    }
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_technician_sees_and_exports_what_is_not_in_the_cloud() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    world.cut_all();
    let site = &world.site("a").api;
    site.patch(&format!("/api/sources/{source}"), json!({"note": "moved to stage left"})).await.ok();
    world.try_sync("a").await;
    let run = world.site("a").last_run().await;
    let told = run["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("{run}")).to_owned();
    let tab = tab(site).await;
    tab.open(&format!("{}/sync", site.url())).await;
    tab.until(&format!("document.querySelector('td .problem')?.innerText.startsWith({})", json!(&told[..20.min(told.len())]))).await;
    tab.open(&format!("{}/edits", site.url())).await;
    tab.sees("Waiting").await;
    tab.sees("moved to stage left").await;
    // What is downloaded is what the link holds.
    tab.eval(
        "URL.createObjectURL = ((make) => (blob) => { window.exported = blob.text(); return make.call(URL, blob); })(URL.createObjectURL)",
    )
    .await;
    tab.click_where("button", "Export").await;
    tab.sees("Exported").await;
    let exported = tab.eval("window.exported").await;
    let line: Value = serde_json::from_str(exported.as_str().unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((&line["recordId"], &line["changes"]["note"][1]), (&json!(source), &json!("moved to stage left")));

    world.heal_all();
    world.converge().await;
    tab.sees("Everything is in the cloud").await;
    let at_cloud = self::tab(&world.cloud).await;
    at_cloud.open(&format!("{}/edits", world.cloud.url())).await;
    at_cloud.sees("This is the cloud").await;
    tab.check();
    at_cloud.check();
}

/// Writes one value of the site's edit anew and saves.
async fn change_and_save(world: &World, record: &str, field: &str, value: &str, shown: &[&str]) {
    let conflict = world.only_conflict(record).await;
    let tab = tab(&world.cloud).await;
    tab.open(&format!("{}/conflicts/{}", world.cloud.url(), conflict["id"].as_str().unwrap())).await;
    if conflict["kind"] != "unique" {
        tab.click_where("label", "Change it, then offer it again").await;
    }
    tab.until(&format!("document.querySelector('[data-focus=write-{field}]')")).await;
    tab.click(&format!("[data-focus=write-{field}]")).await;
    tab.eval("document.activeElement.select()").await;
    tab.write(value).await;
    for text in shown {
        tab.sees(text).await;
    }
    tab.click("[data-focus=save]").await;
    tab.sees("Saved.").await;
    tab.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_one_value_of_a_refused_edit_keeps_the_rest_of_it() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let spec = json!({"category": "ROUTER", "manufacturer": "Acme", "model": "R1", "ioArchitecture": "CARD_BASED"});
    let from = world.cloud.create("/api/equipment", spec.clone()).await;
    let to = world.cloud.create("/api/equipment", spec).await;
    let card = world.cloud.create("/api/equipment_cards", json!({"equipmentId": from, "slotNumber": 1})).await;
    world.converge().await;
    world.psql("ALTER TABLE sources ADD CONSTRAINT sources_rate_known CHECK (rate <= 240)").await;
    world.cut_all();
    let (card, path) = (format!("/api/equipment_cards/{card}"), format!("/api/sources/{source}"));
    let site = &world.site("a").api;
    site.patch(&card, json!({"equipmentId": to, "slotNumber": 5})).await.ok();
    site.patch(&path, json!({"note": "by the site", "rate": 400.0})).await.ok();
    world.cloud.create("/api/equipment_cards", json!({"equipmentId": to, "slotNumber": 5})).await;
    world.cloud.patch(&path, json!({"name": "Camera 2"})).await.ok();
    world.heal_all();
    world.sync("a").await;

    change_and_save(&world, card.rsplit('/').next().unwrap(), "slot_number", "6", &["slot_number 1 → 6", &format!("→ “{}", &to[..8])])
        .await;
    change_and_save(&world, &source, "rate", "60", &["rate 25 → 60", "note", "by the site"]).await;
    world.converge().await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
    for api in world.everybody() {
        let row = api.get(&card).await.ok();
        assert_eq!((&row["equipmentId"], &row["slotNumber"]), (&json!(to), &json!(6)));
        let row = api.get(&path).await.ok();
        assert_eq!((&row["note"], &row["rate"], &row["name"]), (&json!("by the site"), &json!(60.0), &json!("Camera 2")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_brought_back_has_all_of_the_sites_edit() {
    let world = World::new(&["a"]).await;
    let Scene { source, .. } = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.cut_all();
    world.site("a").api.patch(&path, json!({"note": "by the site", "rate": 50.0})).await.ok();
    world.psql(&format!("UPDATE sources SET is_deleted = true WHERE id = '{source}'")).await;
    world.heal_all();
    world.sync("a").await;
    let conflict = world.only_conflict(&source).await;
    assert_eq!(conflict["kind"], "update_delete");
    let tab = tab(&world.cloud).await;
    tab.open(&format!("{}/conflicts/{}", world.cloud.url(), conflict["id"].as_str().unwrap())).await;
    tab.sees("rate 25 → 50").await;
    tab.click("[data-field=rate] .free").await;
    tab.write("60").await;
    tab.sees("rate 25 → 60").await;
    tab.sees("The row comes back.").await;
    tab.click("[data-focus=save]").await;
    tab.sees("Saved.").await;
    world.converge().await;
    for api in world.everybody() {
        let row = api.get(&path).await.ok();
        assert_eq!((&row["note"], &row["rate"], &row["isDeleted"]), (&json!("by the site"), &json!(60.0), &json!(false)));
    }
    tab.check();
}
