//! What the gateway does not let through: too many, too large, or not for clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use http::{Method, Request};
use serde_json::json;
use support::{
    client::{Connection, get, request, send},
    eventually,
    gateway::Gateway,
    upstream::{Behaviour, Upstream},
};

#[tokio::test]
async fn the_global_rate_is_limited_and_can_be_changed_at_once() {
    let only = Upstream::start().await;
    let more = json!({"rate_limit": {"global": {"enabled": true, "requests_per_second": 0.01, "burst": 5}}});
    let gateway = Gateway::before(&[&only], more).await;
    // On one connection: being refused does not cost a client its connection.
    let mut connection = Connection::open(gateway.shop).await.unwrap();
    for _ in 0..5 {
        assert_eq!(connection.get("/products").await.unwrap().status, 200);
    }
    let refused = connection.get("/products").await.unwrap();
    assert_eq!(refused.kind(), (429, "rate_limited".into()));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((90..=100).contains(&wait), "a token each 100 s: {wait}");
    assert_eq!(only.requests(), 5);
    assert_eq!(
        gateway
            .metric(
                "observastack_gateway_rate_limited_total",
                &["scope=\"global\""]
            )
            .await,
        1.0
    );
    assert_eq!(
        get(gateway.shop, "/healthz").await.status,
        200,
        "health is not limited"
    );

    gateway
        .patch(json!({"rate_limit": {"global": {"enabled": false}}}))
        .await;
    assert_eq!(connection.get("/products").await.unwrap().status, 200);
}

#[tokio::test]
async fn each_client_address_has_a_limit_of_its_own() {
    let only = Upstream::start().await;
    let more = json!({"rate_limit": {"per_client": {"enabled": true, "requests_per_second": 0.01, "burst": 2}}});
    let gateway = Gateway::before(&[&only], more).await;
    let from = async |address: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket
            .bind(format!("{address}:0").parse().unwrap())
            .unwrap();
        let stream = socket.connect(gateway.shop).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        // Who claims to be somebody else is not believed.
        let mut request = request(Method::GET, "/products", "");
        request
            .headers_mut()
            .insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
        sender
            .send_request(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let statuses = [
        from("127.0.0.2").await,
        from("127.0.0.2").await,
        from("127.0.0.2").await,
        from("127.0.0.3").await,
    ];
    assert_eq!(statuses, [200, 200, 429, 200]);
    assert_eq!(
        gateway
            .metric(
                "observastack_gateway_rate_limited_total",
                &["scope=\"client\""]
            )
            .await,
        1.0
    );
}

#[tokio::test]
async fn too_many_requests_in_flight_are_refused_and_not_queued() {
    let only = Upstream::start().await;
    only.behave(Behaviour::Hang);
    let gateway = Gateway::before(&[&only], json!({"limits": {"max_in_flight": 2}})).await;
    let shop = gateway.shop;
    let hanging: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { get(shop, "/products").await }))
        .collect();
    eventually("two requests hang", async || {
        (only.waiting() == 2).then_some(())
    })
    .await;
    assert_eq!(
        gateway.metric("http_server_active_requests", &[]).await,
        2.0
    );
    assert_eq!(
        get(shop, "/products").await.kind(),
        (503, "overloaded".into())
    );
    assert_eq!(
        get(shop, "/healthz").await.status,
        200,
        "health is not limited"
    );
    assert_eq!(
        gateway
            .metric("observastack_gateway_overloaded_total", &[])
            .await,
        1.0
    );
    only.release();
    for request in hanging {
        assert_eq!(request.await.unwrap().body, "late");
    }
    only.behave(Behaviour::Answer);
    eventually("there is room again", async || {
        (get(shop, "/products").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({"limits": {"max_body_bytes": 1000}})).await;
    let post = |body: usize| request(Method::POST, "/orders", vec![b'x'; body]);
    assert_eq!(
        send(gateway.shop, post(1000)).await.unwrap().body.len(),
        1000
    );
    assert_eq!(
        send(gateway.shop, post(1001)).await.unwrap().kind(),
        (413, "body_too_large".into())
    );
    assert_eq!(
        only.requests(),
        1,
        "an announced body is refused before an upstream sees it"
    );

    let mut chunked: Request<_> = post(1001);
    chunked
        .headers_mut()
        .insert("transfer-encoding", "chunked".parse().unwrap());
    assert_eq!(
        send(gateway.shop, chunked).await.unwrap().kind(),
        (413, "body_too_large".into())
    );
    let mut chunked = post(1000);
    chunked
        .headers_mut()
        .insert("transfer-encoding", "chunked".parse().unwrap());
    assert_eq!(send(gateway.shop, chunked).await.unwrap().body.len(), 1000);
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_one_is_closed() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({"limits": {"max_connections": 1}})).await;
    let shop = gateway.shop;
    let mut first = eventually("the only place is free", async || {
        let mut connection = Connection::open(shop).await.ok()?;
        connection.get("/products").await.ok().map(|_| connection)
    })
    .await;
    let waiting = tokio::spawn(async move { get(shop, "/products").await });
    // Were it served it would be while the first one is asked so often.
    for _ in 0..20 {
        assert_eq!(first.get("/products").await.unwrap().status, 200);
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn what_upstreams_show_to_operators_is_not_for_clients() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({})).await;
    for path in ["/metrics", "/livez", "/metrics?x=1"] {
        assert_eq!(
            get(gateway.shop, path).await.kind(),
            (404, "not_found".into()),
            "{path}"
        );
    }
    assert_eq!(only.requests(), 0);
}
