//! How the web pages are served: to anybody, with a policy of their own, kept by browsers for as long as they are true.

use axum::body::Body;
use axum::http::{Request, header};
use conflict_ui_api::ApiConfig;

use crate::{Reply, Server};

/// What a browser asks without a credential.
async fn browse(server: &Server, path: &str, known: Option<&str>) -> Reply {
    let mut request = Request::get(path).header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
    if let Some(etag) = known {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn pages_are_open_and_may_load_nothing_but_their_own_files() {
    let server = Server::new(ApiConfig::default());
    for path in ["/", "/conflicts", "/conflicts/0192", "/edits", "/sync", "/sign-in"] {
        let page = browse(&server, path, None).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        let policy = page.header("content-security-policy");
        for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "require-trusted-types-for 'script'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !page.body.contains("<style") && !page.body.contains("onload"));
        // Every file that the document names is there, for good.
        let files: Vec<_> = page.body.split('"').filter(|text| text.starts_with("/pages/")).collect();
        assert!(files.len() > 10);
        for file in files {
            let part = browse(&server, file, None).await;
            assert_eq!((part.status.as_u16(), part.header("cache-control")), (200, "public, max-age=31536000, immutable"), "{file}");
        }
        let again = browse(&server, path, Some(page.header("etag"))).await;
        assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""));
    }
    // What an older page asks for is answered and not kept.
    assert_eq!(browse(&server, "/pages/0000/app.js", None).await.header("cache-control"), "private, no-cache");
    assert_eq!(browse(&server, "/pages/0000/..%2fapp.js", None).await.problem(), (404, "unknown_route".to_owned()));
}

#[tokio::test]
async fn an_unknown_page_is_a_page_and_an_unknown_path_of_the_api_a_problem() {
    let server = Server::new(ApiConfig::default());
    let page = browse(&server, "/nowhere", None).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (404, "text/html; charset=utf-8"));
    for path in ["/api/rejoin/nowhere", "/sync/v1/nowhere", "/pages/0000/nowhere.js"] {
        assert_eq!(browse(&server, path, None).await.problem().1, "unknown_route", "{path}");
    }
    assert_eq!(server.get("/nowhere").await.problem(), (404, "unknown_route".to_owned()));
}
