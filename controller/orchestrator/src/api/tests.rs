use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt as _;
use observastack_spec::{
    drill::score::Mode,
    scenario::{Scenario, template},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{routes::Method, *};
use crate::{engine, fake::FakeLab, runner::Runner, store::Store};

const LEARNER: &str = "learner-0123456789abcdef";
const INSTRUCTOR: &str = "instructor-0123456789abcdef";

struct Api {
    router: Router,
    now_ms: Arc<AtomicU64>,
    _directory: tempfile::TempDir,
}

impl Api {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tokens = directory.path().join("tokens.json");
        let text = json!({"learner": LEARNER, "instructor": INSTRUCTOR, "admin": "admin-0123456789abcdefgh"});
        std::fs::write(&tokens, text.to_string()).unwrap();
        let files = template::named("a-drill").unwrap();
        let scenario = Scenario::read(&files.brief, &files.sealed).unwrap();
        let library = [("a-drill".to_owned(), Arc::new(scenario))].into();
        let store = Store::open(&directory.path().join("drills.db")).unwrap();
        let runner =
            Runner::open(FakeLab::default(), store, library, Mode::Assessed, 1, false).unwrap();
        let now_ms = Arc::new(AtomicU64::new(1_000));
        // A second of the run's goes by whenever somebody looks.
        let clock = Arc::clone(&now_ms);
        let (engine, _) =
            engine::spawn(runner, move || clock.fetch_add(1_000, Ordering::Relaxed)).unwrap();
        let context = Context {
            engine,
            tokens: Tokens::read(&tokens).unwrap(),
        };
        Self {
            router: router(context),
            now_ms,
            _directory: directory,
        }
    }

    async fn ask(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let (status, text) = self.ask(LEARNER, method, path, body).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn until(&self, phase: &str) -> Value {
        for _ in 0..600 {
            let (_, now) = self.json("GET", "/api/run", None).await;
            if now["run"]["life"]["phase"] == phase {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!(
            "{phase} never came: {:?}",
            self.json("GET", "/api/run", None).await
        );
    }
}

#[tokio::test]
async fn a_drill_is_begun_followed_and_told() {
    let api = Api::new();
    let (status, drills) = api.json("GET", "/api/drills", None).await;
    assert_eq!(
        (status, &drills["drills"][0]["id"]),
        (StatusCode::OK, &json!("a-drill"))
    );
    let start = json!({"id": "a-drill", "seed": 3});
    let (status, now) = api.json("POST", "/api/run", Some(start)).await;
    assert_eq!(status, StatusCode::CREATED, "{now}");
    api.until("investigating").await;
    let (status, _) = api.json("POST", "/api/run/hint", None).await;
    assert_eq!(status, StatusCode::OK);
    let diagnosis = json!({"component": "api@1", "mechanism": "packet-loss", "cause": "network",
        "evidence": [{"signal": "kernel.packet-drops", "of": "api@1"}]});
    let (status, now) = api
        .json("POST", "/api/run/diagnosis", Some(diagnosis))
        .await;
    assert_eq!(status, StatusCode::OK, "{now}");
    let (status, now) = api.json("POST", "/api/run/give-up", None).await;
    assert_eq!(status, StatusCode::OK, "{now}");
    let now = api.until("debrief").await;
    assert_eq!(now["score"]["verdict"], "fail", "{now}");
    let (_, text) = api.ask(LEARNER, "GET", "/api/report", None).await;
    assert!(text.starts_with("# Debrief: "), "{text}");
    let (_, page) = api
        .ask(
            LEARNER,
            "GET",
            "/api/report?form=html&part=postmortem",
            None,
        )
        .await;
    assert!(page.contains("<h1>Postmortem: "), "{page}");
    let (status, _) = api.json("POST", "/api/run/reset", None).await;
    assert_eq!(status, StatusCode::OK);
    for _ in 0..200 {
        if api.json("GET", "/api/run", None).await.1["run"].is_null() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (_, history) = api.json("GET", "/api/history", None).await;
    assert_eq!(history["runs"][0]["score"]["verdict"], "fail", "{history}");
    let exported = async |query: &str| -> Value {
        let path = format!("/api/export{query}");
        let (status, text) = api.ask(INSTRUCTOR, "GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let page = exported("?limit=1").await;
    let record = &page["runs"][0];
    assert_eq!(
        (&record["drill"], &record["seed"], &record["begun_by"]),
        (&json!("a-drill"), &json!(3), &json!("learner")),
        "{page}"
    );
    assert_eq!(
        (&record["verdict"], &record["mode"], &record["hints"]),
        (&json!("fail"), &json!("assessed"), &json!(1)),
        "{page}"
    );
    assert_eq!(record["points"]["mitigation"], 0.0, "{page}");
    assert!(
        record["detect_ms"].is_u64() && record["ended_ms"].is_u64(),
        "{page}"
    );
    // A full page may not be the last one.
    assert_eq!(page["next"], 1);
    assert_eq!(
        exported("?after=1").await,
        json!({"runs": [], "next": null})
    );
    let since = format!("?since_ms={}", record["began_ms"].as_u64().unwrap() + 1);
    assert_eq!(exported(&since).await["runs"], json!([]));
    assert_eq!(exported("").await["next"], Value::Null);
    let (_, report) = api.json("GET", "/api/report?form=json&run=1", None).await;
    assert_eq!(report["run"], 1, "{report}");
    assert!(api.now_ms.load(Ordering::Relaxed) > 1_000);
}

#[tokio::test]
async fn events_go_on_after_the_last_one_that_was_seen() {
    let api = Api::new();
    let start = json!({"id": "a-drill"});
    api.json("POST", "/api/run", Some(start)).await;
    api.until("investigating").await;
    let read = async |path: &str, last: Option<&str>| {
        let mut request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {LEARNER}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = api
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut body = answer.into_body();
        let frame = body.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    let all = read("/api/run/events", None).await;
    assert!(
        all.starts_with("id: 1-1\nevent: entry\ndata: {\"number\":1,"),
        "{all}"
    );
    assert!(!all.contains("packet-loss"), "the answer is told: {all}");
    let rest = read("/api/run/events", Some("1-1")).await;
    assert!(
        !rest.contains("id: 1-1\n") && all.ends_with(&rest),
        "{rest}"
    );
    assert_eq!(read("/api/run/events?after=1-1", None).await, rest);
    // Of an earlier run: this one from its beginning.
    let other = read("/api/run/events", Some("7-50")).await;
    assert!(other.starts_with("id: 1-1\n"), "{other}");
}

#[tokio::test]
async fn nobody_gets_anything_without_the_token_of_its_role() {
    let api = Api::new();
    for route in ROUTES {
        let method = match route.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let (status, text) = api.ask("nobody", method, route.path, None).await;
        match route.role {
            None => assert_eq!(status, StatusCode::OK, "{route:?}"),
            Some(_) => {
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{route:?}");
                assert!(text.contains("Bearer"), "{text}");
            }
        }
        if route.role == Some(Role::Instructor) {
            let (status, text) = api.ask(LEARNER, method, route.path, None).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{route:?}");
            assert!(text.contains("the role instructor"), "{text}");
            let (status, _) = api.ask(INSTRUCTOR, method, route.path, None).await;
            // Nothing goes on that could be ended.
            let there = match route.method {
                Method::Get => StatusCode::OK,
                Method::Post => StatusCode::CONFLICT,
            };
            assert_eq!(status, there, "{route:?}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_words() {
    let api = Api::new();
    for (method, path, body, status, words) in [
        ("GET", "/api/nothing", None, 404, "see /api/openapi.json"),
        (
            "POST",
            "/api/run",
            Some(json!({"id": "b"})),
            404,
            "there are a-drill",
        ),
        (
            "POST",
            "/api/run",
            Some(json!({"name": "b"})),
            400,
            "unknown field",
        ),
        ("POST", "/api/run/hint", None, 409, "no drill goes on"),
        (
            "POST",
            "/api/run/diagnosis",
            Some(json!({"component": "moon"})),
            400,
            "unknown variant",
        ),
        (
            "POST",
            "/api/run/did",
            Some(json!({"what": "submitted"})),
            400,
            "not something that a learner does",
        ),
        ("GET", "/api/history?limit=0", None, 400, "use 1 to 1000"),
        ("GET", "/api/report", None, 404, "there is no report"),
        ("GET", "/api/report?form=pdf", None, 400, "unknown variant"),
    ] {
        let (found, text) = api.ask(LEARNER, method, path, body).await;
        assert_eq!(found.as_u16(), status, "{path}: {text}");
        assert!(text.contains(words), "{path}: {text}");
    }
}

#[tokio::test]
async fn the_description_is_of_what_is_there() {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let count: usize = paths
        .values()
        .map(|one| one.as_object().unwrap().len())
        .sum();
    assert_eq!(count, ROUTES.len());
    let api = Api::new();
    let (status, told) = api.json("GET", "/api/openapi.json", None).await;
    assert_eq!((status, told), (StatusCode::OK, description.clone()));
    // Every route is routed: asked without a body and outside of a run, none is unknown or not allowed.
    for route in ROUTES {
        let method = match route.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        if route.what == super::routes::What::Events {
            continue;
        }
        let (status, text) = api.ask(INSTRUCTOR, method, route.path, None).await;
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{route:?}");
        assert!(!text.contains("see /api/openapi.json"), "{route:?}: {text}");
    }
    let published = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/controller.openapi.json"
    );
    let published = std::fs::read_to_string(published).unwrap_or_default();
    let published: Value = serde_json::from_str(&published).unwrap_or_default();
    if published != description {
        let path = std::env::temp_dir().join("controller.openapi.json");
        std::fs::write(&path, serde_json::to_string_pretty(&description).unwrap()).unwrap();
        panic!(
            "docs/controller.openapi.json is not up to date: {} is",
            path.display()
        );
    }
}
