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
