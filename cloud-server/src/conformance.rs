//! The API's contract, tried on the cloud.

use std::sync::Arc;

use async_trait::async_trait;
use conflict_ui_api::backend::Place;
use conflict_ui_api::conformance::{Fixture, Opened, System};

use crate::core::Core;
use crate::secret::SecretKey;
use crate::settings::Settings;
use crate::source::Source;
use crate::store::pool::Database;
use crate::store::prepare::lead::Start;
use crate::store::{prepare, state};
use crate::test_support::database_like;

struct Cloud;

#[async_trait]
impl Fixture for Cloud {
    async fn open(&self, system: System) -> Opened {
        let settings = Settings::parse(system.settings()).unwrap();
        let template = format!("conformance_{system:?}").to_lowercase();
        let database = database_like(&template, |url| {
            let settings = settings.clone();
            async move {
                let db = Database::open(&url, 2).unwrap();
                db.client().await.unwrap().batch_execute(system.sql()).await.unwrap();
                prepare(&db, &settings, None).await.unwrap();
                db.close();
                // A template with a session cannot be copied.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        })
        .await;
        let db = Database::open(database.url(), 4).unwrap();
        let catalog = prepare(&db, &settings, None).await.unwrap();
        let epoch = state::begin_epoch(&db.client().await.unwrap()).await.unwrap();
        let key = SecretKey::from_hex(&"ab".repeat(32)).unwrap();
        let core = Arc::new(Core::new(db, key, epoch, Source::new(settings, None, None, Start::default()), catalog));
        Opened { backend: core.clone(), accounts: core, here: Place::Cloud, manages_users: true, keep: Box::new(database) }
    }
}

conflict_ui_api::conformance_suite!(Cloud);
