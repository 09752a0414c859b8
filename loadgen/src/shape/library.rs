//! Shapes that come with the program: what a shop's clients do on a usual day, and on others.

/// A shape by its name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! shapes {
    ($($name:literal),* $(,)?) => {
        &[$(Named { name: $name, text: include_str!(concat!("../../shapes/", $name, ".yaml")) }),*]
    };
}

/// All of them.
pub const SHAPES: &[Named] = shapes![
    "steady-baseline",
    "traffic-spike",
    "retry-prone-clients",
    "slow-clients",
    "thundering-herd",
    "flash-sale",
    "returning-customers",
    "month-end",
    "impatient-office",
];

/// One of them.
#[must_use]
pub fn named(name: &str) -> Option<&'static Named> {
    SHAPES.iter().find(|shape| shape.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::parse;

    #[test]
    fn every_shape_can_be_used_and_says_what_it_is_for() {
        for Named { name, text } in SHAPES {
            let shape = parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(shape.name.as_deref(), Some(*name));
            assert!(
                shape.description.is_some_and(|words| words.len() > 20),
                "{name}"
            );
            assert!(!shape.thresholds.is_empty(), "{name}: nothing has to hold");
        }
    }
}
