//! Any sequence of changes: the file says what memory says, and versions only go up.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Change, IfMatch, Source};

/// A member of the configuration with a value that is right, wrong, or `null`.
fn member() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_u32..5000).prop_map(|value| json!({"listen_backlog": value})),
        prop::option::of("[a-z]{0,3}").prop_map(|value| json!({"label": value})),
        ("[ab]", prop::option::of(0_u16..300))
            .prop_map(|(name, value)| json!({"weights": {name: value}})),
        (0_u32..130).prop_map(|value| json!({"pool": {"size": value}})),
        (0_u64..70_000).prop_map(|value| json!({"pool": {"timeout_ms": value}})),
        Just(json!({"pool": null})),
        Just(json!({"pool": {"size": null}})),
        Just(json!({"bogus": 1})),
        Just(json!({})),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Change(Change, IfMatch),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let change = prop_oneof![
        6 => member().prop_map(Change::Patch),
        3 => member().prop_map(Change::Replace),
        1 => Just(Change::Reset),
        1 => Just(Change::Reload),
    ];
    let only = prop_oneof![
        4 => Just(IfMatch::Any),
        1 => prop::collection::vec(1_u64..20, 1..8).prop_map(IfMatch::Versions),
    ];
    prop_oneof![8 => (change, only).prop_map(|(change, only)| Step::Change(change, only)), 1 => Just(Step::Restart)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn file_and_memory_agree_and_versions_count_what_was_accepted(steps in prop::collection::vec(step(), 1..24)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path()).unwrap();
        let mut accepted = 0_u64;
        for step in steps {
            let before = store.current();
            match step {
                Step::Restart => {
                    drop(store);
                    store = open(directory.path()).unwrap();
                    prop_assert_eq!(&store.current().config, &before.config);
                    prop_assert_eq!(store.current().source, before.source);
                }
                Step::Change(change, only) => {
                    let named = match &only {
                        IfMatch::Any => true,
                        IfMatch::Versions(versions) => versions.contains(&before.version),
                    };
                    let reload = change == Change::Reload;
                    match store.change_blocking(change, &only) {
                        Ok(now) => {
                            prop_assert!(named, "accepted for another version");
                            prop_assert_eq!(&*now, &*store.current());
                            // Nobody else writes the file, so there is never anything new to reload.
                            accepted += u64::from(!reload);
                        }
                        Err(error) => {
                            let mismatch = matches!(error, ConfigError::VersionMismatch { .. });
                            prop_assert_eq!(mismatch, !named, "{}", error);
                            prop_assert!(mismatch || !error.fields().is_empty(), "{}", error);
                            prop_assert_eq!(&*store.current(), &*before);
                        }
                    }
                }
            }
            let now = store.current();
            prop_assert_eq!(now.version, 1 + accepted);
            prop_assert_eq!(now.config.validate(), Ok(()));
            let expected = match now.source {
                Source::State => Some(json!({"version": now.version, "config": &now.config})),
                _ if now.version == 1 => None,
                _ => Some(json!({"version": now.version})),
            };
            prop_assert_eq!(on_disk(directory.path()), expected);
        }
    }
}
