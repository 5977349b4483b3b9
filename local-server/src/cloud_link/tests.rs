//! The link against a server that misbehaves in each way a network can; the real cloud is met in the whole-system tests.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use sync_core::id::{CatalogVersion, CloudEpoch, ReplicaEpoch, ReplicaId};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;

fn speaker() -> Speaker {
    Speaker {
        replica: ReplicaId(Uuid::from_u128(1)),
        epoch: ReplicaEpoch(Uuid::from_u128(2)),
        cloud_epoch: CloudEpoch(Uuid::from_u128(3)),
        catalog: CatalogVersion(0),
    }
}

fn message(status: StatusCode, media: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", media).body(body.into()).unwrap()
}

/// A server that gives the same answer to everything, and a link to it.
async fn answering(answer: impl Fn(HeaderMap) -> Response<Body> + Clone + Send + Sync + 'static) -> CloudLink {
    let handler = move |headers: HeaderMap, _: Bytes| {
        let answer = answer(headers);
        async move { answer }
    };
    let app = Router::new().route("/sync/v1/{*rest}", post(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    CloudLink::new(&LinkConfig { timeout: Duration::from_millis(500), ..LinkConfig::new(url) }).unwrap()
}

fn replica() -> Replica {
    Replica { replica: ReplicaId(Uuid::from_u128(7)), epoch: ReplicaEpoch(Uuid::from_u128(8)), cloud_epoch: CloudEpoch(Uuid::from_u128(9)) }
}

#[tokio::test]
async fn a_message_arrives_with_the_key_and_both_ways_are_counted() {
    let link = answering(|headers| {
        let told = headers.get("authorization").is_some_and(|value| value == "Bearer rjk_secret") && headers["content-type"] == MEDIA_TYPE;
        let status = if told { StatusCode::OK } else { StatusCode::IM_A_TEAPOT };
        message(status, MEDIA_TYPE, codec::encode(&replica()).unwrap())
    })
    .await;
    let link = link.with_key("rjk_secret").unwrap();
    assert_eq!(link.new_replica(&speaker()).await.unwrap(), replica());
    let (up, down) = link.traffic();
    assert_eq!(up, codec::encode(&speaker()).unwrap().len() as u64);
    assert_eq!(down, codec::encode(&replica()).unwrap().len() as u64);
}

#[tokio::test]
async fn a_captive_portal_is_no_cloud_and_never_looks_like_a_revocation() {
    for (status, media, body) in [
        (StatusCode::OK, "text/html", "<html>sign in</html>"),
        (StatusCode::OK, MEDIA_TYPE, "<html>a liar</html>"),
        (StatusCode::FOUND, "text/html", "moved"),
        (StatusCode::UNAUTHORIZED, "text/html", "pay first"),
        (StatusCode::FORBIDDEN, "application/json", "{\"error\":\"blocked\"}"),
    ] {
        let link = answering(move |_| message(status, media, body)).await;
        let error = link.new_replica(&speaker()).await.unwrap_err();
        assert!(matches!(error, LinkError::Protocol(_)) && error.is_offline(), "{status} {media}: {error}");
    }
}

#[tokio::test]
async fn a_truncated_answer_and_silence_are_a_broken_link() {
    let whole = codec::encode(&replica()).unwrap();
    let cut = whole[..whole.len() - 3].to_vec();
    let link = answering(move |_| message(StatusCode::OK, MEDIA_TYPE, cut.clone())).await;
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::Protocol(_))));

    let link = answering(|_| {
        let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        message(StatusCode::OK, MEDIA_TYPE, silent)
    })
    .await;
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::Offline(_))));

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let link = CloudLink::new(&LinkConfig::new(url)).unwrap();
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::Offline(_))));
}

#[tokio::test]
async fn the_clouds_own_refusals_are_told_apart() {
    let problem = r#"{"type":"/docs/errors#unauthorized","title":"Not signed in","status":401,"code":"unauthorized","detail":"revoked"}"#;
    let link = answering(move |_| message(StatusCode::UNAUTHORIZED, "application/problem+json", problem)).await;
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::Unauthorized(detail)) if detail == "unauthorized: revoked"));

    let link = answering(move |_| message(StatusCode::PAYLOAD_TOO_LARGE, "application/problem+json", problem)).await;
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::Refused { status: 413, .. })));

    let clone = r#"{"title":"..","status":409,"code":"unknown_replica","detail":"cloned"}"#;
    let link = answering(move |_| message(StatusCode::CONFLICT, "application/problem+json", clone)).await;
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::UnknownReplica(_))));

    let link = answering(|_| {
        let mut busy = message(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "later");
        busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("7"));
        busy
    })
    .await;
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::Busy(wait)) if wait == Duration::from_secs(7)));
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let link = answering(|_| {
        let chunk = Ok::<_, std::io::Error>(Bytes::from(vec![0_u8; 1 << 20]));
        let endless =
            futures_util::stream::iter(std::iter::repeat_with(move || chunk.as_ref().cloned().map_err(|_| std::io::Error::other(""))));
        message(StatusCode::OK, MEDIA_TYPE, Body::from_stream(endless))
    })
    .await;
    let link = CloudLink { client: Client::new(), ..link };
    assert!(matches!(link.new_replica(&speaker()).await, Err(LinkError::Protocol(_))));
}

#[test]
fn plain_http_to_another_machine_is_refused_unless_allowed() {
    for allowed in ["https://cloud.example", "http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9/base"] {
        assert!(CloudLink::new(&LinkConfig::new(allowed)).is_ok(), "{allowed}");
    }
    for refused in ["http://cloud.example", "http://10.0.0.1", "http://127.0.0.1.example", "ftp://cloud", "cloud"] {
        assert!(matches!(CloudLink::new(&LinkConfig::new(refused)), Err(LinkError::Config(_))), "{refused}");
    }
    assert!(CloudLink::new(&LinkConfig { allow_http: true, ..LinkConfig::new("http://cloud.example") }).is_ok());
    let broken_ca = LinkConfig { extra_ca: Some(b"nothing".to_vec()), ..LinkConfig::new("https://cloud.example") };
    assert!(matches!(CloudLink::new(&broken_ca), Err(LinkError::Config(_))));
}
