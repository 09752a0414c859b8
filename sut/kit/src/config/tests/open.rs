//! What is found at start, good and bad.

use super::*;
use crate::config::Source;

fn opened_with(
    content: impl AsRef<[u8]>,
) -> (tempfile::TempDir, Result<ConfigStore<Config>, ConfigError>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(STATE_FILE), content).unwrap();
    let opened = open(directory.path());
    (directory, opened)
}

#[test]
fn a_corrupt_state_file_is_an_error_with_file_place_reason_and_repair() {
    let cases: [(&[u8], &str); 11] = [
        (b"", "line 1 column 0: EOF while parsing a value"),
        (
            b"{\"version\": 3, \"config\": {\"lab",
            "line 1 column 30: EOF while parsing a string",
        ),
        (
            b"{\n  \"version\": 3,\n  oops\n}",
            "line 3 column 3: key must be a string",
        ),
        (
            b"{\"version\": 3, \"config\": {}}\x00\x00",
            "line 1 column 29: trailing characters",
        ),
        (b"\xff\xfe", "line 1 column 1: expected value"),
        (
            b"[]",
            "line 1: expected an object with \"version\" and \"config\"",
        ),
        (
            b"{\"config\": {}}",
            "field version: expected a whole number from 1",
        ),
        (
            b"{\"version\": 0, \"config\": {}}",
            "field version: expected a whole number from 1",
        ),
        (
            b"{\"version\": -4, \"config\": {}}",
            "field version: expected a whole number from 1",
        ),
        (
            b"{\"version\": 9007199254740992, \"config\": {}}",
            "field version: expected a whole number from 1",
        ),
        (
            b"{\"version\": 3, \"confgi\": {}}",
            "field confgi: no field of this name; known: version, config",
        ),
    ];
    for (content, expected) in cases {
        let (directory, opened) = opened_with(content);
        let message = opened.unwrap_err().to_string();
        let path = directory.path().join(STATE_FILE);
        let start = format!("{} is corrupt at {expected}", path.display());
        assert!(
            message.starts_with(&start),
            "{message}\nshould start with\n{start}"
        );
        assert!(
            message.contains("observastack-ctl config reset "),
            "{message}"
        );
        assert_eq!(
            std::fs::read(&path).unwrap(),
            content,
            "the evidence is left as it is"
        );
    }
}

#[test]
fn a_state_file_that_is_no_longer_allowed_is_refused_with_every_field() {
    let content = r#"{"version": 3, "config": {"pool": {"size": 0, "timeout_ms": 0}, "gone": true, "label": null}}"#;
    let (_directory, opened) = opened_with(content);
    let error = opened.unwrap_err();
    assert_eq!(
        fields(&error),
        ["config.gone", "config.pool.size", "config.pool.timeout_ms"]
    );
    let message = error.to_string();
    assert!(
        message.contains("config.pool.size: 0 is not allowed, allowed: 1 to 100"),
        "{message}"
    );
    assert!(message.contains("config reset"), "{message}");
}

#[test]
fn a_state_file_too_long_to_be_one_is_refused_without_reading_it_all() {
    let (_directory, opened) = opened_with(vec![b' '; 3 * 1024 * 1024]);
    assert!(opened.unwrap_err().to_string().contains("never this long"));
}

#[test]
fn a_state_file_that_is_a_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join(STATE_FILE)).unwrap();
    let message = open(directory.path()).unwrap_err().to_string();
    assert!(
        message.starts_with("cannot read ") && message.contains(STATE_FILE),
        "{message}"
    );
}

#[test]
fn a_wrong_site_file_is_an_error_even_when_the_state_file_would_win() {
    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("site.json");
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(
        state.join(STATE_FILE),
        r#"{"version": 3, "config": {"label": "kept"}}"#,
    )
    .unwrap();
    std::fs::write(&site, r#"{"pool": {"size": "many"}}"#).unwrap();
    let error = ConfigStore::<Config>::open(&state, Some(&site)).unwrap_err();
    assert_eq!(fields(&error), ["pool.size"]);
    assert!(
        error.to_string().contains("site.json") && error.to_string().contains("built-in defaults"),
        "{error}"
    );

    std::fs::remove_file(&site).unwrap();
    let store = ConfigStore::<Config>::open(&state, Some(&site)).unwrap();
    assert_eq!(
        (
            store.current().version,
            store.current().config.label.as_deref()
        ),
        (3, Some("kept"))
    );
}

#[test]
fn a_version_without_a_config_is_a_reset_service() {
    let (_directory, opened) = opened_with(r#"{"version": 8}"#);
    let current = opened.unwrap().current();
    assert_eq!(
        (current.version, current.source, &current.config),
        (8, Source::Default, &Config::default())
    );
}

#[test]
fn the_state_directory_belongs_to_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, ConfigError::InUse { .. }), "{error}");
    drop(first);
    open(directory.path()).unwrap();
}

#[test]
fn versions_that_are_used_up_are_an_error_and_not_a_wrap_around() {
    let (_directory, opened) = opened_with(r#"{"version": 9007199254740991, "config": {}}"#);
    let change = crate::config::Change::Reset;
    let error = opened
        .unwrap()
        .change_blocking(change, &crate::config::IfMatch::Any)
        .unwrap_err();
    assert!(
        matches!(error, ConfigError::VersionsUsedUp { .. }),
        "{error}"
    );
}
