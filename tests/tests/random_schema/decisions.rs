//! Decisions of conflicts, at the cloud and at sites without a link.

use serde_json::{Value, json};

use crate::model::{Table, Type};
use crate::{History, SITES};

impl History {
    /// Somebody decides one of the open conflicts that he is shown.
    pub(crate) async fn decide(&mut self) {
        let party = self.dice.roll(SITES.len() + 1);
        let api = if party == 0 { &self.world.cloud } else { &self.world.site(SITES[party - 1]).api };
        let open = api.get("/api/conflicts?resolution=PENDING&limit=1000").await.ok();
        let open: Vec<Value> = open["data"].as_array().unwrap().iter().filter(|conflict| conflict["decision"].is_null()).cloned().collect();
        if let Some(conflict) = self.dice.one_of(&open) {
            let resolution = ["CLOUD_WINS", "LOCAL_WINS", "MANUAL"][self.dice.roll(3)];
            self.decide_one(party, &conflict, resolution).await;
        }
    }

    /// A refusal is an answer, too; a failure of the server is none.
    pub(crate) async fn decide_one(&mut self, party: usize, conflict: &Value, resolution: &str) {
        let api = if party == 0 { self.world.cloud.clone() } else { self.world.site(SITES[party - 1]).api.clone() };
        let (id, record) = (conflict["id"].as_str().unwrap(), conflict["recordId"].as_str().unwrap());
        let shown = api.get(&format!("/api/conflicts/{id}")).await;
        let mut body = json!({"resolution": resolution, "revision": conflict["revision"]});
        for (name, from) in [("cloudEtag", "cloudEtag"), ("besides", "besidesDigest")] {
            if shown.body.get(from).is_some_and(|value| !value.is_null()) {
                body[name] = shown.body[from].clone();
            }
        }
        if resolution == "MANUAL" {
            body["values"] = self.given(party, conflict);
        }
        let before = self.seen(0).await;
        let answer = api.post(&format!("/api/conflicts/{id}/resolve"), body).await;
        let who = if party == 0 { "cloud" } else { SITES[party - 1] };
        self.tell(&format!("{who}: {} of {record} is decided {resolution}: {} {}", conflict["kind"], answer.status, answer.body["detail"]));
        assert!(answer.status.as_u16() < 500, "{resolution}: {}\n{conflict:#}", answer.body);
        if answer.status.is_success() {
            self.model.decided(record);
            let after = self.seen(0).await;
            self.overwritten(&before, &after);
            if party > 0 {
                self.decided[party - 1] = true;
            }
        }
    }

    /// A value for a column that clashed, where the party has it.
    fn given(&mut self, party: usize, conflict: &Value) -> Value {
        let tables: &[Table] = if party == 0 { &self.model.tables } else { &self.model.sites[party - 1].tables };
        let clashed = |name: &str| conflict["columns"].as_array().is_some_and(|columns| columns.iter().any(|column| column == name));
        let Some(table) = tables.iter().find(|table| conflict["tableName"] == table.name.as_str()) else { return json!({}) };
        let mut given = if table.kin.is_some() { json!({"fit": 1}) } else { json!({}) };
        if let Some(column) = table.columns.iter().find(|column| clashed(&column.name)).cloned() {
            let value = self.dice.rare_value(column.ty);
            given[column.name] = if column.ty == Type::Text { json!(value) } else { json!(value.parse::<i64>().unwrap()) };
        }
        given
    }
}
