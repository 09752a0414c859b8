//! What a change does, and what is refused.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::{Change, IfMatch, Source};

fn patch(store: &ConfigStore<Config>, patch: Value) -> Result<u64, ConfigError> {
    store
        .change_blocking(Change::Patch(patch), &IfMatch::Any)
        .map(|now| now.version)
}

#[test]
fn a_patch_changes_what_it_names_and_is_back_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    assert_eq!(
        (store.current().version, store.current().source),
        (1, Source::Default)
    );
    assert_eq!(
        patch(&store, json!({"pool": {"timeout_ms": 50}})).unwrap(),
        2
    );
    assert_eq!(
        on_disk(directory.path()).unwrap()["config"]["pool"],
        json!({"size": 10, "timeout_ms": 50})
    );
    let before = store.current();
    drop(store);

    let after = open(directory.path()).unwrap().current();
    assert_eq!(*after, *before);
    assert_eq!(after.source, Source::State);
}

#[test]
fn a_replacement_gives_fields_left_out_their_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    patch(&store, json!({"label": "x", "listen_backlog": 7})).unwrap();
    store
        .change_blocking(Change::Replace(json!({"listen_backlog": 9})), &IfMatch::Any)
        .unwrap();
    assert_eq!(
        store.current().config,
        Config {
            listen_backlog: 9,
            ..Config::default()
        }
    );
}

#[test]
fn null_and_reset_go_back_to_the_site_file_and_the_version_goes_on_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("site.json");
    std::fs::write(&site, r#"{"pool": {"size": 20}}"#).unwrap();
    let state = directory.path().join("state");
    let store = ConfigStore::<Config>::open(&state, Some(&site)).unwrap();
    assert_eq!(
        (store.current().config.pool.size, store.current().source),
        (20, Source::Site)
    );

    patch(
        &store,
        json!({"pool": {"size": 5, "timeout_ms": 9}, "weights": {"a": 1, "b": 2}}),
    )
    .unwrap();
    patch(
        &store,
        json!({"pool": {"size": null}, "weights": {"a": null}}),
    )
    .unwrap();
    let config = store.current().config.clone();
    assert_eq!(
        config.pool,
        Pool {
            size: 20,
            timeout_ms: 9
        }
    );
    assert_eq!(config.weights, BTreeMap::from([("b".to_owned(), 2)]));

    let reset = store.change_blocking(Change::Reset, &IfMatch::Any).unwrap();
    assert_eq!(
        (reset.version, reset.source, reset.config.pool.clone()),
        (
            4,
            Source::Site,
            Pool {
                size: 20,
                timeout_ms: 500
            }
        )
    );
    drop(store);
    let store = ConfigStore::<Config>::open(&state, Some(&site)).unwrap();
    assert_eq!(*store.current(), *reset);
}

#[test]
fn every_wrong_field_is_named_at_once_with_its_value_and_what_is_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let wrong = json!({"bogus": 1, "label": 5, "pool": {"size": 101, "timeuot_ms": 1}, "weights": {"a": 300}});
    let error = patch(&store, wrong).unwrap_err();
    let mut fields = error.fields().to_vec();
    fields.sort_by(|left, right| left.field.cmp(&right.field));
    let names: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
    assert_eq!(
        names,
        [
            "bogus",
            "label",
            "pool.size",
            "pool.timeuot_ms",
            "weights.a"
        ]
    );
    assert_eq!(
        fields[0].allowed,
        "no field of this name; known: one of listen_backlog, label, weights, pool"
    );
    assert_eq!(
        (fields[1].value.as_str(), fields[1].allowed.as_str()),
        ("5", "text")
    );
    assert_eq!(
        (fields[2].value.as_str(), fields[2].allowed.as_str()),
        ("101", "1 to 100")
    );
    assert_eq!(
        (fields[4].value.as_str(), fields[4].allowed.as_str()),
        ("300", "a whole number, 0 to 255")
    );
    assert_eq!(
        (store.version(), on_disk(directory.path())),
        (1, None),
        "nothing is half-applied"
    );
}

#[test]
fn null_for_a_field_that_does_not_exist_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    assert_eq!(
        fields(&patch(&store, json!({"bogus": null})).unwrap_err()),
        ["bogus"]
    );
    assert_eq!(
        fields(&patch(&store, json!({"pool": {"bogus": null}})).unwrap_err()),
        ["pool.bogus"]
    );
    assert_eq!(
        fields(&patch(&store, json!({"pool": null, "extra": {"x": null}})).unwrap_err()),
        ["extra"]
    );
    assert_eq!(
        patch(&store, json!({"label": null})).unwrap(),
        2,
        "an optional field that is not set may be nulled"
    );
}

#[test]
fn documents_that_are_no_objects_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    for document in [json!([1, null, {}, {}]), json!(null), json!("x"), json!(3)] {
        for change in [
            Change::Patch(document.clone()),
            Change::Replace(document.clone()),
        ] {
            let error = store.change_blocking(change, &IfMatch::Any).unwrap_err();
            assert_eq!(fields(&error), ["(document)"], "{document}");
        }
    }
}

#[test]
fn a_change_for_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let at = |versions: &[u64]| IfMatch::Versions(versions.to_vec());
    let change = || Change::Patch(json!({"label": "x"}));
    let error = store.change_blocking(change(), &at(&[2, 3])).unwrap_err();
    assert!(
        matches!(error, ConfigError::VersionMismatch { current: 1 }),
        "{error}"
    );
    assert_eq!(
        store
            .change_blocking(change(), &at(&[3, 1]))
            .unwrap()
            .version,
        2
    );
    assert!(store.change_blocking(Change::Reset, &at(&[1])).is_err());
}

#[test]
fn fields_that_need_a_restart_are_pending_until_they_have_their_old_value_or_the_service_starts_again()
 {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    patch(
        &store,
        json!({"listen_backlog": 5, "pool": {"size": 3, "timeout_ms": 3}}),
    )
    .unwrap();
    assert_eq!(
        store.current().pending_restart,
        ["listen_backlog", "pool.size"]
    );
    assert_eq!(store.started().config, Config::default());
    patch(&store, json!({"listen_backlog": null})).unwrap();
    assert_eq!(store.current().pending_restart, ["pool.size"]);
    drop(store);
    assert!(
        open(directory.path())
            .unwrap()
            .current()
            .pending_restart
            .is_empty()
    );
}

#[test]
fn reload_takes_what_an_editor_left_in_the_file_and_refuses_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    patch(&store, json!({"label": "x"})).unwrap();
    let reload = || store.change_blocking(Change::Reload, &IfMatch::Any);
    assert_eq!(reload().unwrap().version, 2, "nothing has changed");

    let path = directory.path().join(STATE_FILE);
    std::fs::write(&path, r#"{"version": 2, "config": {"pool": {"size": 33}}}"#).unwrap();
    let now = reload().unwrap();
    assert_eq!(
        (now.version, now.config.pool.size, &now.config.label),
        (3, 33, &None)
    );
    assert_eq!(on_disk(directory.path()).unwrap()["version"], 3);

    std::fs::write(
        &path,
        r#"{"version": 3, "config": {"pool": {"size": 1000}}}"#,
    )
    .unwrap();
    assert_eq!(fields(&reload().unwrap_err()), ["config.pool.size"]);
    assert_eq!((store.version(), store.current().config.pool.size), (3, 33));

    std::fs::remove_file(&path).unwrap();
    let now = reload().unwrap();
    assert_eq!((now.version, now.source), (4, Source::Default));
}

#[test]
fn subscribers_see_every_newest_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let mut changes = store.subscribe();
    assert!(!changes.has_changed().unwrap());
    patch(&store, json!({"label": "x"})).unwrap();
    patch(&store, json!({"label": "y"})).unwrap();
    assert!(changes.has_changed().unwrap());
    let seen = Arc::clone(&changes.borrow_and_update());
    assert_eq!((seen.version, seen.config.label.as_deref()), (3, Some("y")));
}

#[test]
fn changes_are_counted_and_the_version_is_exported() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let mut registry = observastack_telemetry::metrics::Registry::default();
    store.register_metrics(&mut registry);
    patch(&store, json!({"label": "x"})).unwrap();
    patch(&store, json!({"label": 1})).unwrap_err();
    let text = observastack_telemetry::metrics::encode(&registry);
    for line in [
        "observastack_config_version 2",
        "observastack_config_changes_total{outcome=\"accepted\"} 1",
        "observastack_config_changes_total{outcome=\"rejected\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_patches_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64_u8 {
        let store = store.clone();
        tasks.spawn(async move {
            store
                .patch(
                    json!({"weights": {format!("w{number}"): number}}),
                    IfMatch::Any,
                )
                .await
        });
    }
    let mut versions: Vec<u64> = tasks
        .join_all()
        .await
        .into_iter()
        .map(|now| now.unwrap().version)
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=65).collect::<Vec<_>>());
    let expected: BTreeMap<String, u8> = (0..64)
        .map(|number| (format!("w{number}"), number))
        .collect();
    assert_eq!(store.current().config.weights, expected);
    assert_eq!(
        on_disk(directory.path()).unwrap()["config"]["weights"],
        json!(expected)
    );
}
