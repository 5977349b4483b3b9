//! Whether all servers are equal, and whether every edit is where it must be.

use conflict_ui_api::backend::Digests;
use serde_json::{Value, json};

use super::edits::{Expected, record};
use super::stage::{Server, Stage};
use crate::exit::{Exit, Failure, Result};

/// Rounds of syncs after which all must be equal. Two are enough for what the sites did themselves, a third one brings what the other
/// site's last push changed.
const ROUNDS_MAX: usize = 5;

/// What each server holds, in the order cloud, site-a, site-b.
pub(crate) struct Proof {
    pub(crate) digests: [Digests; 3],
}

impl Proof {
    async fn take(stage: &Stage) -> Result<Self> {
        Ok(Self { digests: [digests(&stage.cloud).await?, digests(&stage.site_a).await?, digests(&stage.site_b).await?] })
    }

    /// Whether all hold the same.
    pub(crate) fn equal(&self) -> bool {
        let [cloud, sites @ ..] = &self.digests;
        sites.iter().all(|site| site.digest == cloud.digest && site.rows == cloud.rows)
    }

    /// The tables that differ somewhere.
    pub(crate) fn differing(&self) -> Vec<&str> {
        let [cloud, sites @ ..] = &self.digests;
        let differs = |at: usize| sites.iter().any(|site| site.tables.get(at).map(|table| &table.digest) != Some(&cloud.tables[at].digest));
        cloud.tables.iter().enumerate().filter(|(at, _)| differs(*at)).map(|(_, table)| table.table.as_str()).collect()
    }

    /// Held rows, by record id, with their server's name.
    pub(crate) fn held<'a>(&'a self, stage: &'a Stage) -> Vec<String> {
        let of = |(server, digests): (&'a Server, &'a Digests)| {
            let rows = digests.tables.iter().flat_map(|table| table.held.iter().map(move |id| format!("{} {id}", table.table)));
            rows.map(|row| format!("{row} at {}", server.name)).collect::<Vec<_>>()
        };
        stage.servers().into_iter().zip(&self.digests).flat_map(of).collect()
    }
}

async fn digests(server: &Server) -> Result<Digests> {
    let answer = server.client.get(&["api", "rejoin", "digests"], &[]).await?;
    serde_json::from_value(answer).map_err(|error| Failure::failed(format!("the digests of {} cannot be read: {error}", server.name)))
}

/// Syncs the sites in turns until nothing is left to send and all hold the same.
pub(crate) async fn converge(stage: &Stage) -> Result<Proof> {
    let mut proof = None;
    for _ in 0..ROUNDS_MAX {
        let mut pending = 0;
        for site in stage.sites() {
            let status = site.client.post(&["api", "sync", "run"], &json!({ "direction": "BIDIRECTIONAL" })).await?;
            if let Some(error) = status.get("lastError").and_then(Value::as_str) {
                return Err(Failure::failed(format!("the sync of {} failed: {error}", site.name)));
            }
            pending += status.get("pending").and_then(Value::as_i64).unwrap_or(0);
        }
        let now = Proof::take(stage).await?;
        if pending == 0 && now.equal() {
            return Ok(now);
        }
        proof = Some(now);
    }
    let tables = proof.as_ref().map(|proof| proof.differing().join(", ")).unwrap_or_default();
    Err(Failure::new(Exit::Check, format!("cloud and sites still differ after {ROUNDS_MAX} rounds of syncs, in {tables}")))
}

/// Checks on every server that each row is as expected; returns how many of them were merged.
pub(crate) async fn check(stage: &Stage, expected: &[Expected]) -> Result<usize> {
    for row in expected {
        for server in stage.servers() {
            let found = server.client.get(&record(row.table, &row.id.to_string()), &[]).await?;
            for (name, value) in row.values.as_object().into_iter().flatten() {
                if found.get(name) != Some(value) {
                    let is = found.get(name).unwrap_or(&Value::Null);
                    let what = format!("{name} of {} {} at {} is {is} and should be {value}", row.table, row.id, server.name);
                    return Err(Failure::new(Exit::Check, what));
                }
            }
        }
    }
    Ok(expected.iter().filter(|row| row.merged).count())
}

#[cfg(test)]
mod tests {
    use conflict_ui_api::backend::TableDigest;

    use super::*;

    fn digests(sends: &str, rows: u64) -> Digests {
        let table =
            |table: &str, digest: &str| TableDigest { table: table.to_owned(), digest: digest.to_owned(), rows: 1, held: Vec::new() };
        let tables = vec![table("public.sources", "a"), table("public.sends", sends)];
        Digests { digest: format!("a{sends}"), rows, held: 0, tables }
    }

    #[test]
    fn one_row_that_differs_at_one_site_is_found_and_its_table_named() {
        let proof = |site_b| Proof { digests: [digests("b", 2), digests("b", 2), site_b] };
        assert!(proof(digests("b", 2)).equal());
        let differs = proof(digests("c", 2));
        assert!(!differs.equal());
        assert_eq!(differs.differing(), ["public.sends"]);
        assert!(!proof(digests("b", 3)).equal(), "as many rows, too");
    }
}
