//! Scenes for the web pages: a production with a source, an edit on both sides, a tab that is signed in.

use serde_json::{Value, json};

use crate::browser::Tab;
use crate::{Api, World};

/// A production with one source that everybody has.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The production's id.
    pub production: String,
    /// The source's id.
    pub source: String,
}

/// Makes a scene.
pub async fn scene(world: &World) -> Scene {
    let production = world.cloud.create("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    let source = json!({"type": "CAMERA", "name": "Camera 1", "note": "as planned", "hRes": 1920, "rate": 25.0});
    let source = world.cloud.create(&format!("/api/productions/{production}/sources"), source).await;
    world.converge().await;
    Scene { production, source }
}

/// Edits a record at a site and at the cloud while the link is cut, and lets the two meet.
pub async fn clash(world: &World, site: &str, path: &str, local: Value, cloud: Value) {
    world.cut_all();
    world.site(site).api.patch(path, local).await.ok();
    world.cloud.patch(path, cloud).await.ok();
    world.heal_all();
    world.sync(site).await;
}

/// A tab that is signed in with the admin's credential of a server.
pub async fn tab(api: &Api) -> Tab {
    let tab = Tab::new().await;
    tab.sign_in_with(api).await;
    tab
}
