//! What everybody does while the link is cut, and what must have become of it in the end.

use serde_json::{Value, json};
use uuid::Uuid;

use super::data::{Dice, Production};
use super::direct;
use super::stage::Stage;
use super::tell::Tell;
use crate::client::Client;
use crate::exit::Result;

/// A row as it must be on every server once all is decided.
#[derive(Debug)]
pub(crate) struct Expected {
    /// Its table.
    pub(crate) table: &'static str,
    /// Its id.
    pub(crate) id: Uuid,
    /// Some of its members.
    pub(crate) values: Value,
    /// Whether edits of several places had to be merged for it.
    pub(crate) merged: bool,
}

/// A rule of the cloud's own: a row that comes by a push is refused.
const ONLY_AT_THE_CLOUD: &str = "
    CREATE FUNCTION only_at_the_cloud() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('rejoin.replica', true) <> '' THEN
            RAISE insufficient_privilege USING MESSAGE = 'equipment is kept at the cloud';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER only_at_the_cloud BEFORE UPDATE ON equipment_specs FOR EACH ROW EXECUTE FUNCTION only_at_the_cloud()";

/// The rate that the decision on the forbidden one writes.
pub(crate) const ALLOWED_RATE: f64 = 240.0;
/// Where the value of the dropped column ends.
pub(crate) const RESCUED_NOTE: &str = "second device: Backup switcher";

/// The slot that both sites take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The equipment.
    pub(crate) equipment: Uuid,
    /// The slot's number.
    pub(crate) number: u64,
}

/// The edits under way.
struct Edits<'a> {
    stage: &'a Stage,
    made: &'a Production,
    dice: &'a mut Dice,
    expected: Vec<Expected>,
}

/// Makes every edit of the story.
pub(crate) async fn make(stage: &Stage, made: &Production, slot: Slot, dice: &mut Dice, tell: &Tell) -> Result<Vec<Expected>> {
    let mut edits = Edits { stage, made, dice, expected: Vec::new() };
    tell.line("all three change different columns of one source")?;
    edits.different_columns().await?;
    tell.line("site-a and the cloud change the same note")?;
    edits.same_column().await?;
    tell.line("site-b deletes an output that the cloud renames")?;
    edits.delete_against_update().await?;
    tell.line("both sites put a card into the same slot")?;
    edits.same_slot(slot).await?;
    tell.line("site-a edits a send that the cloud deletes")?;
    edits.update_against_delete().await?;
    tell.line("site-b and the cloud add a source under the same id")?;
    edits.same_key().await?;
    tell.line("site-a adds an output to a source that the cloud removes")?;
    edits.child_of_a_removed_row().await?;
    tell.line("site-b sets a rate that a new rule of the cloud's database forbids")?;
    edits.against_a_new_check().await?;
    tell.line("site-b fills in a column that the cloud's next migration drops")?;
    edits.edit_of_a_dropped_column().await?;
    tell.line("site-a renames equipment, which only the cloud may")?;
    edits.forbidden(slot.equipment).await?;
    tell.line("both sites add a source with outputs and a connection")?;
    edits.new_rows().await?;
    tell.line("other programs write by plain SQL: sqlite3 at both sites, psql at the cloud")?;
    edits.plain_sql().await?;
    Ok(edits.expected)
}

impl Edits<'_> {
    fn expect(&mut self, table: &'static str, id: Uuid, values: Value, merged: bool) {
        self.expected.push(Expected { table, id, values, merged });
    }

    async fn different_columns(&mut self) -> Result {
        let id = self.made.sources[0];
        update(&self.stage.site_a.client, "sources", id, &json!({ "note": "checked at site-a" })).await?;
        update(&self.stage.site_b.client, "sources", id, &json!({ "blanking": "0.4 us" })).await?;
        update(&self.stage.cloud.client, "sources", id, &json!({ "standard": "SMPTE ST 2110-20" })).await?;
        let values = json!({ "note": "checked at site-a", "blanking": "0.4 us", "standard": "SMPTE ST 2110-20" });
        self.expect("sources", id, values, true);
        Ok(())
    }

    /// Parks as `update_update`; decided LOCAL_WINS.
    async fn same_column(&mut self) -> Result {
        let id = self.made.sources[1];
        update(&self.stage.site_a.client, "sources", id, &json!({ "note": "moved to rack 7" })).await?;
        update(&self.stage.cloud.client, "sources", id, &json!({ "note": "moved to rack 9" })).await?;
        self.expect("sources", id, json!({ "note": "moved to rack 7" }), false);
        Ok(())
    }

    /// Parks as `delete_update`; decided CLOUD_WINS.
    async fn delete_against_update(&mut self) -> Result {
        let id = self.made.outputs[0];
        self.stage.site_b.client.delete(&record("source_outputs", &id.to_string())).await?;
        update(&self.stage.cloud.client, "source_outputs", id, &json!({ "connector": "12G-SDI 1" })).await?;
        self.expect("source_outputs", id, json!({ "connector": "12G-SDI 1" }), false);
        Ok(())
    }

    /// The second one parks as `unique` and is held at its site; decided MANUAL, with the next slot.
    async fn same_slot(&mut self, slot: Slot) -> Result {
        let sites = [(&self.stage.site_a.client, slot.number), (&self.stage.site_b.client, slot.number + 1)];
        for (client, number) in sites {
            let id = self.dice.id();
            create(client, "equipment_cards", &json!({ "id": id, "equipmentId": slot.equipment, "slotNumber": slot.number })).await?;
            let values = json!({ "equipmentId": slot.equipment, "slotNumber": number });
            self.expected.push(Expected { table: "equipment_cards", id, values, merged: false });
        }
        Ok(())
    }

    /// Parks as `update_delete`; decided LOCAL_WINS: the send is back.
    async fn update_against_delete(&mut self) -> Result {
        let id = self.made.sends[2];
        update(&self.stage.site_a.client, "sends", id, &json!({ "note": "in use tonight" })).await?;
        self.stage.cloud.client.delete(&record("sends", &id.to_string())).await?;
        self.expect("sends", id, json!({ "note": "in use tonight", "isDeleted": false }), false);
        Ok(())
    }

    /// Parks as `insert_insert`; decided CLOUD_WINS.
    async fn same_key(&mut self) -> Result {
        let id = self.dice.id();
        for (server, name) in [(&self.stage.site_b, "CAM by site-b"), (&self.stage.cloud, "CAM by the cloud")] {
            let values = json!({ "id": id, "productionId": self.made.id, "type": "CAMERA", "name": name });
            create(&server.client, "sources", &values).await?;
        }
        self.expect("sources", id, json!({ "name": "CAM by the cloud" }), false);
        Ok(())
    }

    /// Parks as `foreign_key`; decided CLOUD_WINS: there is nothing to hang the output from.
    async fn child_of_a_removed_row(&mut self) -> Result {
        let source = self.made.sources[4];
        let output = json!({ "id": self.dice.id(), "sourceId": source, "connector": "SDI 9", "outputIndex": 9 });
        create(&self.stage.site_a.client, "source_outputs", &output).await?;
        direct::on_cloud(&self.stage.database_url, "DELETE FROM sources WHERE id = $1", source).await?;
        Ok(())
    }

    /// Parks as `check`; decided MANUAL, with a rate that the rule allows.
    async fn against_a_new_check(&mut self) -> Result {
        let id = self.made.sources[2];
        update(&self.stage.site_b.client, "sources", id, &json!({ "rate": 300.0 })).await?;
        direct::migrate(&self.stage.database_url, "ALTER TABLE sources ADD CONSTRAINT sources_rate CHECK (rate <= 240)").await?;
        self.expect("sources", id, json!({ "rate": ALLOWED_RATE }), false);
        Ok(())
    }

    /// Parks as `schema`; decided MANUAL: the value goes into the note. The rest of the edit is taken as it is.
    async fn edit_of_a_dropped_column(&mut self) -> Result {
        let id = self.made.sends[3];
        let values = json!({ "secondaryDevice": "Backup switcher", "outputConnector": "HDMI 2" });
        update(&self.stage.site_b.client, "sends", id, &values).await?;
        direct::migrate(&self.stage.database_url, "ALTER TABLE sends DROP COLUMN secondary_device").await?;
        self.stage.cloud.client.post(&["api", "rejoin", "catalog", "refresh"], &json!({})).await?;
        self.expect("sends", id, json!({ "note": RESCUED_NOTE, "outputConnector": "HDMI 2" }), false);
        Ok(())
    }

    /// Parks as `rejected`; decided CLOUD_WINS: the catalog of equipment is kept at the cloud.
    async fn forbidden(&mut self, equipment: Uuid) -> Result {
        direct::migrate(&self.stage.database_url, ONLY_AT_THE_CLOUD).await?;
        let before = self.stage.cloud.client.get(&record("equipment_specs", &equipment.to_string()), &[]).await?;
        update(&self.stage.site_a.client, "equipment_specs", equipment, &json!({ "model": "Renamed at site-a" })).await?;
        self.expect("equipment_specs", equipment, json!({ "model": before["model"] }), false);
        Ok(())
    }

    async fn new_rows(&mut self) -> Result {
        for site in self.stage.sites() {
            let source = self.dice.id();
            let name = format!("CAM of {}", site.name);
            let values = json!({ "id": source, "productionId": self.made.id, "type": "CAMERA", "name": name, "rate": 50.0 });
            create(&site.client, "sources", &values).await?;
            self.expected.push(Expected { table: "sources", id: source, values: json!({ "name": name }), merged: false });
            for index in 1..=2 {
                let output = self.dice.id();
                let values = json!({ "id": output, "sourceId": source, "connector": "SDI", "outputIndex": index });
                create(&site.client, "source_outputs", &values).await?;
                self.expected.push(Expected { table: "source_outputs", id: output, values: json!({ "sourceId": source }), merged: false });
            }
            let connection = self.dice.id();
            let values = json!({ "id": connection, "productionId": self.made.id, "sourceId": source, "destinationType": "send",
                "destinationId": self.made.sends[0] });
            create(&site.client, "connections", &values).await?;
            self.expected.push(Expected { table: "connections", id: connection, values: json!({ "sourceId": source }), merged: false });
        }
        Ok(())
    }

    async fn plain_sql(&mut self) -> Result {
        let (send, other, connection) = (self.made.sends[0], self.made.sends[1], self.made.connections[0]);
        direct::on_site(&self.stage.site_a.data, "UPDATE connections SET note = 'patched by hand' WHERE id = ?1", connection)?;
        self.expect("connections", connection, json!({ "note": "patched by hand" }), false);
        direct::on_site(&self.stage.site_b.data, "UPDATE sends SET note = 'spare cable' WHERE id = ?1", other)?;
        self.expect("sends", other, json!({ "note": "spare cable", "lastModifiedBy": "site:site-b" }), false);
        // One row by SQL on both sides: merged like any other.
        direct::on_site(&self.stage.site_b.data, "UPDATE sends SET output_connector = 'HDMI OUT' WHERE id = ?1", send)?;
        direct::on_cloud(&self.stage.database_url, "UPDATE sends SET note = 'signed off' WHERE id = $1", send).await?;
        self.expect("sends", send, json!({ "outputConnector": "HDMI OUT", "note": "signed off" }), true);
        let new = self.dice.id();
        let sql = "INSERT INTO sends (id, production_id, type, name) SELECT $1, id, 'STREAM', 'Web stream' FROM productions";
        direct::on_cloud(&self.stage.database_url, sql, new).await?;
        self.expect("sends", new, json!({ "name": "Web stream" }), false);
        Ok(())
    }
}

/// The path of a record, or of its table.
pub(crate) fn record<'a>(table: &'a str, id: &'a str) -> [&'a str; 4] {
    ["api", "tables", table, id]
}

async fn update(client: &Client, table: &str, id: Uuid, values: &Value) -> Result {
    client.patch(&record(table, &id.to_string()), values).await.map(drop)
}

async fn create(client: &Client, table: &str, values: &Value) -> Result {
    client.post(&["api", "tables", table], values).await.map(drop)
}
