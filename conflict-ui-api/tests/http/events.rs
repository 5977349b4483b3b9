//! What happens, as it happens.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, Request, header};
use conflict_ui_api::ApiConfig;
use conflict_ui_api::backend::{Event, Role};
use conflict_ui_api::server::{Server as Listening, local_url};
use futures_util::StreamExt;
use sync_core::limits::EVENT_LISTENERS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use crate::Server;

async fn listen(server: &Server) -> BodyDataStream {
    let request = server.request(Method::GET, "/api/events").header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].as_bytes()), (200, &b"text/event-stream"[..]));
    assert!(!response.headers().contains_key("content-encoding"));
    response.into_body().into_data_stream()
}

async fn heard(stream: &mut BodyDataStream) -> Option<String> {
    Some(String::from_utf8(stream.next().await?.unwrap().to_vec()).unwrap())
}

fn run(site: &str) -> Event {
    Event::Run { site: site.into(), status: "COMPLETED".into() }
}

#[tokio::test]
async fn whoever_listens_hears_what_happens_and_that_he_missed_something() {
    let server = Server::new(ApiConfig { request_timeout: Duration::from_millis(20), ..ApiConfig::default() });
    let mut stream = listen(&server).await;
    assert_eq!(heard(&mut stream).await.unwrap(), "retry: 3000\n: listening\n\n");
    tokio::time::sleep(Duration::from_millis(60)).await;
    server
        .backend
        .events
        .send(Event::Conflicts { table_name: Some("sources".into()), site: None, conflict: None, what: "parked".into() })
        .unwrap();
    let parked = heard(&mut stream).await.unwrap();
    let data = r#"{"event":"conflicts","tableName":"sources","site":null,"conflict":null,"what":"parked"}"#;
    assert_eq!(parked, format!("event: conflicts\ndata: {data}\n\n"), "after the time that a request may take");
    for no in 0..9 {
        server.backend.events.send(run(&format!("site-{no}"))).unwrap();
    }
    assert_eq!(heard(&mut stream).await.unwrap(), "event: lagged\ndata: {\"event\":\"lagged\"}\n\n");
    assert!(heard(&mut stream).await.unwrap().contains("site-5"), "the last ones that are kept follow");
}

#[tokio::test]
async fn a_listener_hears_a_heartbeat_until_his_credential_is_gone() {
    let server = Server::new(ApiConfig { event_heartbeat: Duration::from_millis(10), ..ApiConfig::default() });
    let mut stream = listen(&server).await;
    heard(&mut stream).await;
    assert_eq!(heard(&mut stream).await.unwrap(), ": alive\n\n");
    server.ledger.forget(Role::Admin);
    while let Some(sent) = heard(&mut stream).await {
        assert_eq!(sent, ": alive\n\n");
    }
}

#[tokio::test]
async fn a_storm_of_events_does_not_outlast_a_credential() {
    let server = Server::new(ApiConfig { event_heartbeat: Duration::from_millis(10), ..ApiConfig::default() });
    let mut stream = listen(&server).await;
    heard(&mut stream).await;
    server.ledger.forget(Role::Admin);
    let mut told = 0;
    // There is always a next event when the listener asks.
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            for no in 0..9 {
                // Nobody may be left to hear it.
                let _ = server.backend.events.send(run(&format!("site-{no}")));
            }
            if heard(&mut stream).await.is_none() {
                return;
            }
            told += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(ended.await.is_ok(), "{told} events were heard after the credential was gone");
}

#[tokio::test]
async fn as_many_listen_as_there_are_seats() {
    let server = Server::new(ApiConfig::default());
    let mut streams = Vec::new();
    for _ in 0..EVENT_LISTENERS_MAX {
        streams.push(listen(&server).await);
    }
    let refused = server.get("/api/events").await;
    assert_eq!((refused.problem(), refused.header("retry-after")), ((503, "unavailable".into()), "15"));
    streams.pop();
    streams.push(listen(&server).await);
}

#[tokio::test]
async fn listeners_do_not_hold_up_a_server_that_stops() {
    let server = Server::new(ApiConfig::default());
    let listening = Listening::start((Ipv4Addr::LOCALHOST, 0).into(), None, server.router.clone()).await.unwrap();
    assert!(local_url(listening.address(), false).starts_with("http://127.0.0.1:"));
    let mut socket = tokio::net::TcpStream::connect(listening.address()).await.unwrap();
    let secret = server.secret(Role::Viewer);
    let head = format!("GET /api/events HTTP/1.1\r\nHost: rejoin\r\nAuthorization: Bearer {secret}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut heard = vec![0; 4096];
    let mut text = String::new();
    while !text.contains("listening") {
        let read = socket.read(&mut heard).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&heard[..read]));
    }
    let stopped = tokio::time::timeout(Duration::from_secs(20), listening.stop(Duration::from_secs(600))).await;
    assert!(stopped.is_ok(), "the stop waits for the listener");
}

#[tokio::test]
async fn nobody_listens_without_a_credential() {
    let server = Server::new(ApiConfig::default());
    let stranger = Request::builder().uri("/api/events").body(Body::empty()).unwrap();
    assert_eq!(server.send(stranger).await.problem(), (401, "unauthenticated".into()));
}
