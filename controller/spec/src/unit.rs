//! Names of units, and which of them are never a target.

use crate::FieldError;

/// The slice whose units may be broken.
pub const SUT_SLICE: &str = "observastack-sut.slice";

/// The slice that must keep working.
pub const CONTROL_SLICE: &str = "observastack-control.slice";

/// The longest unit name that the kernel side has room for, in bytes.
pub const MAX_NAME: usize = 63;

const ALLOWED: &str =
    "the name of a service in the target slices, such as observastack-api@1.service";

/// Units that no configuration makes a target, by the start of their name.
const PROTECTED: &[(&str, &str)] = &[
    ("init.scope", "it is pid 1"),
    ("systemd-", "it belongs to systemd"),
    ("ssh.", "it is the way into this machine"),
    ("ssh@", "it is the way into this machine"),
    ("sshd", "it is the way into this machine"),
    ("dropbear", "it is the way into this machine"),
    ("dbus", "systemd is spoken to through it"),
    ("getty@", "it is the way into this machine"),
    ("serial-getty@", "it is the way into this machine"),
    ("console-getty", "it is the way into this machine"),
    ("container-getty@", "it is the way into this machine"),
    ("user@", "people's sessions live in it"),
    ("session-", "people's sessions live in it"),
    ("observastack-injector.", "it is in the control slice"),
    (
        "observastack-postgresql-setup.",
        "it is in the control slice",
    ),
    ("observastack-observer.", "it is in the control slice"),
    ("observastack-controller.", "it is in the control slice"),
    ("observastack-loadgen.", "it is in the control slice"),
    ("observastack-collector.", "it is in the control slice"),
    ("observastack-prometheus.", "it is in the control slice"),
];

/// Slices that no configuration makes a target.
const PROTECTED_SLICES: &[&str] = &[
    "-.slice",
    "system.slice",
    "user.slice",
    "machine.slice",
    CONTROL_SLICE,
];

/// Reads a unit's name, `.service` added where it has no suffix, and refuses units that are never a target.
pub fn parse(name: &str) -> Result<String, FieldError> {
    let refused = |why: &str| FieldError::new("unit", name, format!("{ALLOWED} ({why})"));
    let full = if has_suffix(name) {
        name.to_owned()
    } else {
        format!("{name}.service")
    };
    if name.is_empty() {
        return Err(refused("it is empty"));
    }
    if full.len() > MAX_NAME {
        return Err(refused("it has more than 63 bytes"));
    }
    if !full
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
    {
        return Err(refused(
            "a unit's name has letters, digits and :-_.\\@ only",
        ));
    }
    if full.contains("@.") {
        return Err(refused("it is a template: name an instance"));
    }
    if let Some(why) = protected(&full) {
        return Err(refused(why));
    }
    if !(full.ends_with(".service") || full.ends_with(".scope")) {
        return Err(refused("only services and scopes have processes to break"));
    }
    Ok(full)
}

/// Why a unit is never a target, `None` where it may be one.
pub fn protected(full_name: &str) -> Option<&'static str> {
    PROTECTED
        .iter()
        .find(|(start, _)| full_name.starts_with(start))
        .map(|(_, why)| *why)
}

/// Checks the name of a slice that an administrator lists as a target.
pub fn check_target_slice(name: &str) -> Result<(), FieldError> {
    let allowed = "a slice of services that may be broken, such as observastack-sut.slice";
    let refused = |why: &str| {
        Err(FieldError::new(
            "target_slices",
            name,
            format!("{allowed} ({why})"),
        ))
    };
    if !name.ends_with(".slice") || name.contains('/') || name.len() <= ".slice".len() {
        return refused("it is not a slice's name");
    }
    // Slices below a protected one keep the machine working as much as the slice itself.
    let below = |protected: &str| {
        let stem = protected.strip_suffix(".slice").unwrap_or(protected);
        stem != "-"
            && name
                .strip_prefix(stem)
                .is_some_and(|rest| rest.starts_with('-'))
    };
    if PROTECTED_SLICES.contains(&name)
        || PROTECTED_SLICES.iter().any(|protected| below(protected))
        || name == "observastack.slice"
    {
        return refused("what keeps the machine or the lab working lives there");
    }
    Ok(())
}

fn has_suffix(name: &str) -> bool {
    const SUFFIXES: &[&str] = &[
        ".service",
        ".scope",
        ".socket",
        ".slice",
        ".target",
        ".timer",
        ".mount",
        ".automount",
        ".path",
        ".swap",
        ".device",
    ];
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_service_needs_no_suffix() {
        assert_eq!(
            parse("observastack-api@1").unwrap(),
            "observastack-api@1.service"
        );
        assert_eq!(
            parse("observastack-gateway.service").unwrap(),
            "observastack-gateway.service"
        );
        assert_eq!(parse("nginx").unwrap(), "nginx.service");
    }

    #[test]
    fn what_keeps_the_machine_alive_is_refused_with_the_reason() {
        for (unit, why) in [
            ("ssh", "way into"),
            ("sshd.service", "way into"),
            ("ssh@3.service", "way into"),
            ("systemd-journald", "systemd"),
            ("init.scope", "pid 1"),
            ("observastack-injector", "control slice"),
            ("observastack-controller.service", "control slice"),
            ("user@1000.service", "sessions"),
        ] {
            let error = parse(unit).unwrap_err();
            assert_eq!(error.field, "unit");
            assert!(error.allowed.contains(why), "{unit}: {}", error.allowed);
        }
    }

    #[test]
    fn what_is_no_service_is_refused() {
        let long = "x".repeat(60);
        for unit in [
            "",
            "a b",
            "../etc",
            "observastack-api@",
            "observastack-api@.service",
            "tmp.mount",
            "a/b",
            &long,
        ] {
            assert!(parse(unit).is_err(), "{unit}");
        }
    }

    #[test]
    fn slices_of_the_system_are_never_a_target() {
        assert!(check_target_slice(SUT_SLICE).is_ok());
        assert!(check_target_slice("shop.slice").is_ok());
        for slice in [
            "system.slice",
            "-.slice",
            ".slice",
            CONTROL_SLICE,
            "observastack.slice",
            "user-1000.slice",
            "observastack-control-x.slice",
            "shop",
            "a/b.slice",
        ] {
            assert!(check_target_slice(slice).is_err(), "{slice}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_path_component(name in ".{0,80}") {
            if let Ok(full) = parse(&name) {
                prop_assert!(!full.contains('/') && full != "." && full != "..");
                prop_assert!(full.len() <= MAX_NAME);
                prop_assert!(protected(&full).is_none());
            }
        }
    }
}
