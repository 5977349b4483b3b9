//! A client of either server: finds it, speaks to it, and turns what it answers into a value or a failure with its exit code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::Value;

use crate::exit::{Exit, Failure, Result};

/// Which server a command speaks to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// The data folder of a server that runs on this machine: needs no sign-in
    #[arg(long, env = "REJOIN_DATA", value_name = "DIR", conflicts_with = "url")]
    data: Option<PathBuf>,
    /// The address of a server, with --token
    #[arg(long, env = "REJOIN_URL", value_name = "URL", requires = "token")]
    url: Option<String>,
    /// An API token of that server
    #[arg(long, env = "REJOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificate authority to trust besides the system's (PEM)
    #[arg(long, env = "REJOIN_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What a running server leaves in its data folder.
#[derive(Debug, Deserialize)]
struct ServerFile {
    url: String,
    token: String,
    /// The certificate authority of the server's own certificate.
    #[serde(default)]
    ca: Option<PathBuf>,
}

/// A server that answers.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

/// A runs of a sync and an import may take long; a server that hangs is found out by the connection's own time limit.
const TIMEOUT: Duration = Duration::from_secs(600);
/// What is streamed may take as long as it goes on.
const STREAM_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Client {
    /// The server that the arguments name.
    ///
    /// # Errors
    /// None is named, or none runs there.
    pub(crate) fn find(args: &ServerArgs) -> Result<Self> {
        match (&args.url, &args.token, &args.data) {
            (Some(url), Some(token), _) => Self::new(url, token, args.ca.as_deref()),
            (_, _, Some(data)) => Self::local(data, args.ca.as_deref()),
            _ => Err(Failure::usage("name the server: --data DIR on its own machine, or --url URL with --token TOKEN")),
        }
    }

    fn local(data: &Path, ca: Option<&Path>) -> Result<Self> {
        let path = data.join("server.json");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let what = format!("no server runs in {}: {}: {error}", data.display(), path.display());
            Failure::new(Exit::Unreachable, what)
        })?;
        let file: ServerFile = serde_json::from_str(&text).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        Self::new(&file.url, &file.token, ca.or(file.ca.as_deref()))
    }

    /// A client of the server at this address.
    pub(crate) fn new(url: &str, token: &str, ca: Option<&Path>) -> Result<Self> {
        let base = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| Failure::usage(format!("--url: expected http:// or https://, got {url:?}")))?;
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
        if let Some(path) = ca {
            let pem = std::fs::read(path).map_err(|error| Failure::usage(format!("--ca {}: {error}", path.display())))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            let certificates = certificates.map_err(|error| Failure::usage(format!("--ca {}: {error}", path.display())))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self { http, base, token: token.to_owned() })
    }

    /// The server's address.
    pub(crate) fn url(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value> {
        self.send(self.request(Method::GET, path).query(query)).await
    }

    /// Does something, with a body.
    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Changes something.
    pub(crate) async fn patch(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Value> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Reads line by line.
    pub(crate) async fn get_lines(&self, path: &[&str], query: &[(&str, String)], each: impl FnMut(Value) -> Result) -> Result {
        self.lines(self.request(Method::GET, path).query(query), each).await
    }

    /// Does something, and reads line by line how far it is.
    pub(crate) async fn post_lines(&self, path: &[&str], body: &Value, each: impl FnMut(Value) -> Result) -> Result {
        self.lines(self.request(Method::POST, path).json(body), each).await
    }

    /// A line that is a problem ends it.
    async fn lines(&self, request: RequestBuilder, mut each: impl FnMut(Value) -> Result) -> Result {
        let request = request.header(header::ACCEPT, "application/x-ndjson").timeout(STREAM_TIMEOUT);
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.map_err(|error| self.unreachable(&error))?;
            return Err(refused(status, &serde_json::from_str(&text).unwrap_or(Value::Null)));
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line: Value = serde_json::from_slice(&line).map_err(|error| Failure::failed(format!("not NDJSON: {error}")))?;
                if let Some(problem) = line.get("problem") {
                    let status = problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
                    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                    return Err(refused(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), problem));
                }
                each(line)?;
            }
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // One segment each, so that a record id with a slash stays one.
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            why = inner.to_string();
            source = inner.source();
        }
        Failure::new(Exit::Unreachable, format!("cannot reach {}: {why}", self.url()))
    }
}

/// A problem that the server answered with (RFC 9457), as a failure.
fn refused(status: StatusCode, problem: &Value) -> Failure {
    let exit = match status.as_u16() {
        400 | 413 | 415 | 422 => Exit::Usage,
        409 | 412 | 428 => Exit::Conflict,
        502..=504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let text = |member: &str| problem.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let what = text("detail").or_else(|| text("title")).unwrap_or("the server gave no reason");
    let mut message = match text("code") {
        Some(code) => format!("{code}: {what}"),
        None => format!("{status}: {what}"),
    };
    for fault in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let part = |member: &str| fault.get(member).and_then(Value::as_str).unwrap_or_default();
        // Most details say it already.
        if !what.contains(part("detail")) {
            message.push_str(&format!(
                "; {} {}",
                if part("pointer").is_empty() { part("parameter") } else { part("pointer") },
                part("detail")
            ));
        }
    }
    Failure::new(exit, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_says_what_is_wrong_in_one_line() {
        let problem = json!({"title":"Unprocessable","code":"invalid","detail":"1 of the fields cannot be written",
            "errors":[{"pointer":"/name","detail":"is missing"}]});
        let failure = refused(StatusCode::UNPROCESSABLE_ENTITY, &problem);
        assert_eq!(
            (failure.exit, failure.to_string()),
            (Exit::Usage, "invalid: 1 of the fields cannot be written; /name is missing".to_owned())
        );
        let problem = json!({"code":"bad_query","detail":"limit is a number from 1 to 1000.",
            "errors":[{"parameter":"limit","detail":"limit is a number from 1 to 1000"}, {"parameter":"site","detail":"is given twice"}]});
        let said = refused(StatusCode::BAD_REQUEST, &problem).to_string();
        assert_eq!(said, "bad_query: limit is a number from 1 to 1000.; site is given twice", "each once");
        assert_eq!(refused(StatusCode::CONFLICT, &Value::Null).exit, Exit::Conflict);
        assert_eq!(refused(StatusCode::FORBIDDEN, &Value::Null).exit, Exit::Failed);
    }
}
