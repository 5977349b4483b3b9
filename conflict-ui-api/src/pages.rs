//! The web pages: plain files in the binary, without a build step. They hold no data; what they show they ask of the public API.
//!
//! Every page is the same document, and `app.js` looks at the path. The other files are named with a version made of their contents, so
//! that browsers may keep them for good and never mix two versions.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};
use crate::routes::{Access, Route};

/// What the pages may do in a browser: nothing from anywhere else, and no text ever becomes script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; \
    base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// The page is asked for each time; its parts carry their version in the path.
const ASK_AGAIN: &str = "private, no-cache";
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// A file that pages are made of.
struct File {
    name: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => { &[$(File { name: $name, text: include_str!(concat!("../pages/", $name)) }),+] };
}

const DOCUMENT: &str = include_str!("../pages/index.html");
const FILES: &[File] = files!(
    "icon.svg",
    "style.css",
    "conflict.css",
    "app.js",
    "api.js",
    "around.js",
    "bulk.js",
    "decision.js",
    "detail.js",
    "diff.js",
    "dom.js",
    "edits.js",
    "fields.js",
    "inbox.js",
    "keys.js",
    "live.js",
    "runs.js",
    "session.js",
    "sign_in.js",
    "time.js",
    "values.js",
    "words.js",
);

/// The first digits of the digest over all files and their names.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new_with_prefix(DOCUMENT);
    for file in FILES {
        hash.update(file.name);
        hash.update(file.text);
    }
    hex::encode(&hash.finalize()[..8])
});

/// The document, with the version in every path and the scripts named so that they all load at once.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let scripts = FILES.iter().filter(|file| file.name.ends_with(".js"));
    let preload: String =
        scripts.map(|file| format!("<link rel=\"modulepreload\" href=\"/pages/{}/{}\">\n", *VERSION, file.name)).collect();
    DOCUMENT.replace("{{preload}}", preload.trim_end()).replace("{{version}}", &VERSION)
});

/// The pages' routes. Nobody needs a credential to have the files; the API behind them asks for one.
pub(crate) fn routes() -> Vec<Route> {
    let pages = ["/", "/conflicts", "/conflicts/{id}", "/edits", "/sync", "/sign-in"];
    let mut routes: Vec<_> = pages.into_iter().map(|path| Route::get(path, Access::Open, page)).collect();
    routes.push(Route::get("/pages/{version}/{file}", Access::Open, part));
    routes
}

async fn page(headers: HeaderMap) -> Response {
    let etag = format!("\"{}\"", *VERSION);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // A proxy that compresses weakens the tag.
    if known.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == etag) {
        return answer(StatusCode::NOT_MODIFIED, "text/html; charset=utf-8", ASK_AGAIN, "");
    }
    answer(StatusCode::OK, "text/html; charset=utf-8", ASK_AGAIN, &PAGE)
}

async fn part(Path((version, name)): Path<(String, String)>, uri: Uri) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::new(Code::UnknownRoute, format!("There is nothing at {}.", uri.path())).into_response();
    };
    let kind = match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "image/svg+xml",
    };
    // A page that was opened before an update asks for what was; what it gets it must not keep.
    answer(StatusCode::OK, kind, if version == *VERSION { FOR_GOOD } else { ASK_AGAIN }, file.text)
}

/// What a browser gets at a path where there is nothing: the pages' own way to say so. Programs get a problem.
pub(crate) fn not_found(headers: &HeaderMap, uri: &Uri) -> Option<Response> {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let of_programs = ["/api", "/sync/", "/docs", "/pages"].iter().any(|start| uri.path().starts_with(start));
    (accepted.contains("text/html") && !of_programs).then(|| answer(StatusCode::NOT_FOUND, "text/html; charset=utf-8", ASK_AGAIN, &PAGE))
}

fn answer(status: StatusCode, kind: &'static str, cache: &'static str, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 3] =
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache), (header::CONTENT_SECURITY_POLICY, POLICY)];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", *VERSION)) {
        headers.insert(header::ETAG, etag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_and_preloaded() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pages");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "index.html" || FILES.iter().any(|file| file.name == name), "{name} is served by nobody");
            assert!(!name.ends_with(".js") || PAGE.contains(&format!("/pages/{}/{name}\"", *VERSION)), "{name} is not preloaded");
        }
        assert!(!PAGE.contains("{{"));
    }

    /// Whatever comes from outside is only ever a text node or an attribute.
    #[test]
    fn no_text_becomes_markup_or_script() {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "createContextualFragment",
            "setHTML",
            "eval(",
            "new Function",
            "srcdoc",
            "javascript:",
            " style=",
            "onclick=",
            "onerror=",
            "http://",
            "https://",
            "import(",
        ];
        // The namespace of SVG is a name, not an address.
        let texts = FILES.iter().map(|file| (file.name, file.text.replace("http://www.w3.org/2000/svg", "")));
        for (name, text) in texts.chain([("index.html", DOCUMENT.to_owned())]) {
            for word in forbidden {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }

    #[test]
    fn scripts_import_only_files_that_are_served() {
        for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
            for line in file.text.lines().filter(|line| line.starts_with("import ")) {
                let from = line.split(['\'', '"']).nth(1).unwrap();
                let name = from.strip_prefix("./").unwrap_or_else(|| panic!("{}: {line}", file.name));
                assert!(FILES.iter().any(|other| other.name == name), "{}: {line}", file.name);
            }
        }
    }
}
