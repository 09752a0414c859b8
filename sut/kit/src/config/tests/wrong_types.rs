//! A value of the wrong type is refused in the same words as one out of range.

use serde_json::json;

use super::*;
use crate::config::{Change, IfMatch};

/// One field of every kind that a service of ours has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Kinds {
    size: u32,
    delay_ms: u64,
    share: f64,
    on: bool,
    label: Option<String>,
    weights: BTreeMap<String, u8>,
    mode: Mode,
    modes: Vec<Mode>,
    targets: Vec<Target>,
    pool: Part,
    #[serde(deserialize_with = "address")]
    address: Option<std::net::IpAddr>,
}

fn address<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<std::net::IpAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let refused = |_| serde::de::Error::custom("an IP address");
    text.parse().map(Some).map_err(refused)
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Good,
    VeryBad,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Target {
    weight: usize,
    name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Part {
    retries: u32,
    path: String,
}

impl ServiceConfig for Kinds {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        let path = &self.pool.path;
        let absolute = path.is_empty() || path.starts_with('/');
        let weight = |(index, target): (usize, &Target)| {
            FieldError::range(&format!("targets.{index}.weight"), target.weight, 0..=100)
        };
        let checks = [
            FieldError::range("size", self.size, 0..=100),
            FieldError::range("delay_ms", self.delay_ms, 0..=60_000),
            FieldError::range("share", self.share, 0.0..=10.0),
            FieldError::range("pool.retries", self.pool.retries, 0..=10),
            FieldError::unless(absolute, "pool.path", path, "an absolute path"),
        ];
        FieldError::collect(
            checks
                .into_iter()
                .chain(self.targets.iter().enumerate().map(weight)),
        )
    }
}

/// Field, value and what is allowed, for the one error that a replacement by `document` has.
#[track_caller]
fn refused<C: ServiceConfig + std::fmt::Debug>(document: &Value) -> [String; 3] {
    let directory = tempfile::tempdir().unwrap();
    let store = ConfigStore::<C>::open(directory.path(), None).unwrap();
    let change = Change::Replace(document.clone());
    let error = store
        .change_blocking(change, &IfMatch::Any)
        .expect_err(&document.to_string());
    let [field] = error.fields() else {
        panic!("not one error: {error}");
    };
    [
        field.field.clone(),
        field.value.clone(),
        field.allowed.clone(),
    ]
}

#[test]
fn a_number_of_the_wrong_sign_or_size_gets_the_words_of_the_range_check() {
    for value in ["-1", "4294967296", "18446744073709551615"] {
        let number: Value = serde_json::from_str(value).unwrap();
        let refused = refused::<Config>(&json!({"pool": {"size": number}}));
        assert_eq!(refused, ["pool.size", value, "1 to 100"]);
    }
    // The range begins at 0 here, so that the type's lowest value is allowed.
    for (document, field, allowed) in [
        (json!({"size": -1}), "size", "0 to 100"),
        (json!({"delay_ms": -1}), "delay_ms", "0 to 60000"),
        (json!({"pool": {"retries": -1}}), "pool.retries", "0 to 10"),
        (
            json!({"targets": [{}, {"weight": -1}]}),
            "targets.1.weight",
            "0 to 100",
        ),
        (
            json!({"weights": {"a": -1}}),
            "weights.a",
            "a whole number, 0 to 255",
        ),
    ] {
        assert_eq!(refused::<Kinds>(&document), [field, "-1", allowed]);
    }
}

#[test]
fn what_is_no_whole_number_is_told_that_one_is_needed_and_the_range() {
    for (value, shown) in [
        (json!("abc"), "abc"),
        (json!("50"), "\"50\""),
        (json!(""), "\"\""),
        (json!(1.5), "1.5"),
        (json!(null), "null"),
        (json!(true), "true"),
        (json!([1]), "[1]"),
        (json!({"a": 1}), "{\"a\":1}"),
    ] {
        let refused = refused::<Config>(&json!({"pool": {"size": value}}));
        assert_eq!(refused, ["pool.size", shown, "a whole number, 1 to 100"]);
    }
    let refused = refused::<Kinds>(&json!({"share": "half"}));
    assert_eq!(refused, ["share", "half", "a number, 0 to 10"]);
}

#[test]
fn a_wrong_variant_or_type_for_an_enum_gets_the_names_of_the_variants() {
    for (value, shown) in [
        (json!("foo"), "foo"),
        (json!("a`, expected `b"), "a`, expected `b"),
        (json!(3), "3"),
        (json!(null), "null"),
        (json!(["good"]), "[\"good\"]"),
        (json!({"foo": 1}), "{\"foo\":1}"),
        (json!({"good": 1}), "{\"good\":1}"),
    ] {
        let refused = refused::<Kinds>(&json!({"mode": value}));
        assert_eq!(refused, ["mode", shown, "one of good, very_bad"]);
    }
    let in_list = refused::<Kinds>(&json!({"modes": ["good", "foo"]}));
    assert_eq!(in_list, ["modes.1", "foo", "one of good, very_bad"]);
}

#[test]
fn a_wrong_type_for_anything_else_is_told_what_belongs_there() {
    for (document, expected) in [
        (json!({"on": "yes"}), ["on", "yes", "true or false"]),
        (json!({"on": 1}), ["on", "1", "true or false"]),
        (json!({"label": 5}), ["label", "5", "text"]),
        (
            json!({"pool": {"path": false}}),
            ["pool.path", "false", "text"],
        ),
        (
            json!({"address": "here"}),
            ["address", "here", "an IP address"],
        ),
        (json!({"address": 5}), ["address", "5", "an IP address"]),
        (json!({"weights": 5}), ["weights", "5", "an object"]),
        (
            json!({"modes": "good"}),
            ["modes", "good", "a list, each one of good, very_bad"],
        ),
        (
            json!({"targets": {}}),
            [
                "targets",
                "{}",
                "a list, each an object with the fields weight, name",
            ],
        ),
    ] {
        assert_eq!(refused::<Kinds>(&document), expected, "{document}");
    }
}

#[test]
fn wrong_nesting_is_told_the_fields_and_a_list_is_never_taken_for_them() {
    let fields = "an object with the fields retries, path";
    for (value, shown) in [
        (json!(5), "5"),
        (json!(null), "null"),
        (json!([]), "[]"),
        (json!([3, "/x"]), "[3,\"/x\"]"),
    ] {
        assert_eq!(
            refused::<Kinds>(&json!({"pool": value})),
            ["pool", shown, fields]
        );
    }
    assert_eq!(
        refused::<Kinds>(&json!({"targets": [[3, "x"]]})),
        [
            "targets.0",
            "[3,\"x\"]",
            "an object with the fields weight, name"
        ]
    );
}
