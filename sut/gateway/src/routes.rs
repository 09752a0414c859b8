//! Paths to route templates, so that metrics have one series for all products and not one for each.

/// Templates of the shop, as the API server has them; `{}` stands for one segment of any text.
const TEMPLATES: &[(&str, &[&str])] = &[
    ("/healthz", &["healthz"]),
    ("/products", &["products"]),
    ("/products/{sku}", &["products", "{}"]),
    ("/orders", &["orders"]),
    ("/orders/{id}", &["orders", "{}"]),
    ("/report/sales", &["report", "sales"]),
];

/// What any other path is called.
pub const OTHER: &str = "other";

/// The template of a path without its query.
pub fn template(path: &str) -> &'static str {
    if path == "/" {
        return "/";
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    TEMPLATES
        .iter()
        .find(|(_, pattern)| matches(pattern, path))
        .map_or(OTHER, |(template, _)| template)
}

fn matches(pattern: &[&str], path: &str) -> bool {
    let mut segments = path.split('/');
    pattern.iter().all(|expected| {
        segments.next().is_some_and(|segment| {
            if *expected == "{}" {
                !segment.is_empty()
            } else {
                segment == *expected
            }
        })
    }) && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_the_template_of_its_route() {
        for (path, expected) in [
            ("/", "/"),
            ("/products", "/products"),
            ("/products/", "/products"),
            ("/products/SKU-00017", "/products/{sku}"),
            ("/orders/17", "/orders/{id}"),
            ("/report/sales", "/report/sales"),
            ("/products/a/b", OTHER),
            ("/report/other", OTHER),
            ("/products//", OTHER),
            ("/wp-login.php", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(template(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_has_one_of_few_templates(path in "[ -~]{0,40}") {
            let template = template(&path);
            let known = template == OTHER || template == "/" || TEMPLATES.iter().any(|(known, _)| *known == template);
            prop_assert!(known);
        }
    }
}
