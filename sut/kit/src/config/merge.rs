//! JSON merge patch, RFC 7396.

use serde_json::{Map, Value};

/// Applies a merge patch: members are replaced or merged, `null` removes a member, anything but an object replaces
/// the target as a whole.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, patch) in patch {
        if patch.is_null() {
            target.remove(name);
        } else {
            merge_patch(target.entry(name.clone()).or_insert(Value::Null), patch);
        }
    }
}

/// The paths of every `null` in a patch: the members it removes.
pub(super) fn removed_paths(patch: &Value) -> Vec<Vec<String>> {
    fn walk(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        let Value::Object(members) = value else {
            return;
        };
        for (name, member) in members {
            path.push(name.clone());
            if member.is_null() {
                found.push(path.clone());
            } else {
                walk(member, path, found);
            }
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(patch, &mut Vec::new(), &mut found);
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_rfc_7396_come_out_as_written_there() {
        let examples = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ];
        for (target, patch, expected) in examples {
            assert_eq!(
                merged(&target, &patch),
                expected,
                "{target} patched with {patch}"
            );
        }
    }

    fn merged(target: &Value, patch: &Value) -> Value {
        let mut target = target.clone();
        merge_patch(&mut target, patch);
        target
    }

    /// Documents over few names, so that they meet. `null` is in patches only.
    fn document(leaf: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
        let names = prop::sample::select(vec!["a", "b", "c"]);
        leaf.prop_recursive(3, 24, 3, move |inner| {
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    fn plain() -> impl Strategy<Value = Value> {
        document(prop_oneof![any::<u8>().prop_map(Value::from), Just(json!([1, null]))].boxed())
    }

    fn patch() -> impl Strategy<Value = Value> {
        document(prop_oneof![any::<u8>().prop_map(Value::from), Just(Value::Null)].boxed())
    }

    /// The patch that leads from one document to another: what RFC 7396 was made for.
    fn patch_from(from: &Value, to: &Value) -> Value {
        let (Value::Object(from), Value::Object(to)) = (from, to) else {
            return to.clone();
        };
        let removed = from
            .keys()
            .filter(|name| !to.contains_key(*name))
            .map(|name| (name.clone(), Value::Null));
        let changed = to
            .iter()
            .filter(|(name, value)| from.get(*name) != Some(value))
            .map(|(name, value)| {
                (
                    name.clone(),
                    from.get(name)
                        .map_or_else(|| value.clone(), |from| patch_from(from, value)),
                )
            });
        Value::Object(removed.chain(changed).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn patching_twice_is_patching_once(target in plain(), patch in patch()) {
            let once = merged(&target, &patch);
            prop_assert_eq!(merged(&once, &patch), once);
        }

        #[test]
        fn there_is_a_patch_from_every_object_to_every_other(
            from in plain().prop_filter("an object", Value::is_object),
            to in plain().prop_filter("an object", Value::is_object),
        ) {
            prop_assert_eq!(merged(&from, &patch_from(&from, &to)), to);
        }

        #[test]
        fn what_a_patch_does_not_name_stays_and_what_it_nulls_is_gone(
            target in plain().prop_filter("an object", Value::is_object),
            patch in patch().prop_filter("an object", Value::is_object),
        ) {
            let after = merged(&target, &patch);
            for name in ["a", "b", "c"] {
                match patch.get(name) {
                    None => prop_assert_eq!(after.get(name), target.get(name)),
                    Some(Value::Null) => prop_assert_eq!(after.get(name), None),
                    Some(_) => prop_assert!(after.get(name).is_some()),
                }
            }
            for path in removed_paths(&patch) {
                let value = path.iter().try_fold(&after, |value, name| value.get(name));
                prop_assert_eq!(value, None, "{:?} is still there", path);
            }
        }
    }
}
