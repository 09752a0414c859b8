//! `FIELD=VALUE` on the command line, as a JSON merge patch (RFC 7396).

use serde_json::{Map, Value};

/// Makes one patch of all assignments; the reason, naming the assignment, where one is malformed.
pub(super) fn merge_patch(assignments: &[String]) -> Result<Value, String> {
    let mut patch = Value::Object(Map::new());
    for assignment in assignments {
        let (path, value) = assignment.split_once('=').ok_or_else(|| {
            format!("`{assignment}` is not FIELD=VALUE, such as retries.max_attempts=2")
        })?;
        if path.is_empty() || path.split('.').any(str::is_empty) {
            return Err(format!(
                "`{path}` is not a field's dotted path, such as retries.max_attempts"
            ));
        }
        // What is not JSON is text: people don't quote for two readers.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        insert(&mut patch, path, value).ok_or_else(|| {
            format!("`{path}` is set twice, or is part of another field that is set")
        })?;
    }
    Ok(patch)
}

fn insert(patch: &mut Value, path: &str, value: Value) -> Option<()> {
    let mut place = patch;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let object = place.as_object_mut()?;
        if names.peek().is_none() {
            return object
                .insert(name.to_owned(), value)
                .is_none()
                .then_some(());
        }
        place = object
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    None
}

/// The value at a dotted path.
pub(super) fn lookup<'a>(config: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(config, |place, name| match place {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => place.get(name),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn patch(assignments: &[&str]) -> Result<Value, String> {
        merge_patch(
            &assignments
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn dotted_paths_become_objects() {
        let made = patch(&[
            "retries.max_attempts=2",
            "retries.enabled=true",
            "name=shop floor",
            "cache=null",
        ])
        .unwrap();
        assert_eq!(
            made,
            json!({"retries": {"max_attempts": 2, "enabled": true}, "name": "shop floor", "cache": null})
        );
    }

    #[test]
    fn a_value_may_contain_the_equals_sign() {
        assert_eq!(patch(&["query=a=b"]).unwrap(), json!({"query": "a=b"}));
    }

    #[test]
    fn what_is_malformed_or_contradictory_is_named() {
        for (assignments, named) in [
            (vec!["retries"], "retries"),
            (vec!["=1"], "``"),
            (vec!["a..b=1"], "a..b"),
            (vec!["a=1", "a=2"], "`a`"),
            (vec!["a=1", "a.b=2"], "a.b"),
        ] {
            let error = patch(&assignments).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_path() {
        let config = json!({"upstreams": [{"address": "a"}, {"address": "b"}]});
        assert_eq!(lookup(&config, "upstreams.1.address"), Some(&json!("b")));
        assert_eq!(lookup(&config, "upstreams.7"), None);
        assert_eq!(lookup(&config, "nothing"), None);
    }

    proptest! {
        #[test]
        fn what_is_set_is_found(path in "[a-z]{1,5}(\\.[a-z]{1,5}){0,3}", value: i64) {
            let made = patch(&[&format!("{path}={value}")]).unwrap();
            prop_assert_eq!(lookup(&made, &path), Some(&json!(value)));
        }
    }
}
