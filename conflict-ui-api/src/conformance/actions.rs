//! Several writes as one, decided over what is read for them.

use std::sync::Arc;

use serde_json::json;
use sync_core::catalog::Catalog;
use sync_core::id::{Key, TableNo};
use sync_core::value::Value;
use sync_core::write::Draft;

use super::{Client, Fixture, System};
use crate::backend::{Action, Filter, ListQuery, Principal, Record, Result, Role, Sort, SortKey, Write};
use crate::error::BackendError;

/// Puts one more place into a region, whose first one must be there, unless it has three already.
struct OneMore {
    catalog: Arc<Catalog>,
    region: &'static str,
    /// The code of the new one; of a second one, too.
    codes: Vec<i64>,
}

impl OneMore {
    fn table(&self) -> TableNo {
        self.catalog.by_name("places").unwrap().no
    }
}

impl Action for OneMore {
    fn tables(&self) -> Vec<TableNo> {
        vec![self.table()]
    }

    fn locks(&self) -> Vec<(TableNo, Key)> {
        vec![(self.table(), Key(vec![Value::Text(self.region.to_owned()), Value::Int(1)]))]
    }

    fn lists(&self, locked: &[Option<Record>]) -> Vec<ListQuery> {
        assert_eq!(locked.len(), 1, "what is locked comes first");
        let table = self.catalog.table(self.table()).unwrap();
        let sort = table.key.iter().map(|no| Sort { by: SortKey::Column(*no), descending: false }).collect();
        let filters = vec![Filter::equals(table.key[0], Value::Text(self.region.to_owned()))];
        vec![ListQuery { table: table.no, filters, sort, after: None, limit: 10, deleted: false }]
    }

    fn decide(&self, locked: &[Option<Record>], listed: &[Vec<Record>]) -> Result<Vec<(TableNo, Write)>> {
        if locked[0].is_none() || listed[0].len() >= 3 {
            return Err(BackendError::Check(format!("{} has no room", self.region)));
        }
        let no = |name: &str| self.catalog.table(self.table()).unwrap().column_named(name).unwrap().no;
        let draft = |code: &i64| {
            let title = Value::Text(format!("beside {}", listed[0].len()));
            Draft::from([(no("region"), Value::Text(self.region.to_owned())), (no("code"), Value::Int(*code)), (no("title"), title)])
        };
        Ok(self.codes.iter().map(|code| (self.table(), Write::Create(draft(code)))).collect())
    }
}

pub async fn what_is_read_for_an_action_decides_it(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    client.post("/api/places", json!({ "region": "north", "code": 1, "title": "first" })).await.expect(201);
    let by = Principal { name: "bea".to_owned(), role: Role::Editor };
    let catalog = client.store.backend.catalog().unwrap();
    let act = |region, codes: &[i64]| {
        let action = OneMore { catalog: catalog.clone(), region, codes: codes.to_vec() };
        client.store.backend.act(&by, Arc::new(action))
    };
    let made = act("north", &[2]).await.unwrap();
    let title = catalog.by_name("places").unwrap().columns.iter().position(|column| column.name == "title").unwrap();
    assert_eq!((made.len(), &made[0].row[title]), (1, &Value::Text("beside 1".to_owned())));
    assert_eq!(act("north", &[]).await.unwrap(), []);
    assert!(matches!(act("south", &[2]).await, Err(BackendError::Check(_))), "what it asks for is not there");
    // The first of the two could be written.
    assert!(matches!(act("north", &[3, 2]).await, Err(BackendError::Duplicate { .. })));
    assert_eq!(client.get("/api/places?total=true").await.expect(200)["total"], 2, "all or none");
    act("north", &[3]).await.unwrap();
    assert!(matches!(act("north", &[4]).await, Err(BackendError::Check(_))), "what was written counts");
}

pub async fn of_two_actions_at_once_the_second_sees_what_the_first_wrote(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    client.post("/api/places", json!({ "region": "north", "code": 1, "title": "first" })).await.expect(201);
    let by = Principal { name: "bea".to_owned(), role: Role::Editor };
    let catalog = client.store.backend.catalog().unwrap();
    let act = |code| {
        let action = OneMore { catalog: catalog.clone(), region: "north", codes: vec![code] };
        client.store.backend.act(&by, Arc::new(action))
    };
    let results = futures_util::future::join_all((10..16).map(act)).await;
    let refused = results.iter().filter(|result| matches!(result, Err(BackendError::Check(_)))).count();
    let written = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!((written, written + refused), (2, 6), "{results:?}");
    assert_eq!(client.get("/api/places?total=true").await.expect(200)["total"], 3);
}
