//! A scenario to begin with.

use super::checks::is_name;

/// The name that the template's files have.
const ID: &str = "my-drill";

/// Both files' texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `scenario.yaml`
    pub brief: String,
    /// `sealed.yaml`
    pub sealed: String,
}

/// What was given is no drill's name: small letters, digits and single hyphens, 40 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a drill's name")]
pub struct NotAName;

/// The template under another name.
///
/// # Errors
/// It is no drill's name.
pub fn named(id: &str) -> Result<Files, NotAName> {
    if !is_name(id) {
        return Err(NotAName);
    }
    let text = |text: &str| text.replace(ID, id);
    Ok(Files {
        brief: text(include_str!("template/scenario.yaml")),
        sealed: text(include_str!("template/sealed.yaml")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_new_scenario_has_its_name_in_both_files_and_is_one() {
        let Files { brief, sealed } = named("slow-disk-2").unwrap();
        let scenario = Scenario::read(&brief, &sealed).unwrap();
        assert_eq!(scenario.brief.id.value, "slow-disk-2");
        for name in ["", "A", "a--b", "-a", "a b", "../a", &"a".repeat(41)] {
            assert_eq!(named(name), Err(NotAName), "{name}");
        }
    }
}
