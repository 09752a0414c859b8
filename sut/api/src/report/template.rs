//! Fills a template: `{{name}}` is replaced by the value, made safe for HTML; `{{#list}}...{{/list}}` is repeated for
//! each element of the list. Anything that the template names and the values don't have is an error.

use serde_json::{Map, Value};

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("line {line}: {{{{ is not closed")]
    NotClosed {
        /// The line of the template.
        line: usize,
    },
    /// The values have no such name.
    #[error("line {line}: there is no value {name:?}; known are {known}")]
    UnknownName {
        /// The line of the template.
        line: usize,
        /// What it asks for.
        name: String,
        /// What it could ask for.
        known: String,
    },
    /// A list where a value belongs, or a value where a list belongs.
    #[error("line {line}: {name:?} is {found}, not {wanted}")]
    WrongKind {
        /// The line of the template.
        line: usize,
        /// What it asks for.
        name: String,
        /// What that is.
        found: &'static str,
        /// What it has to be there.
        wanted: &'static str,
    },
    /// `{{#list}}` without its `{{/list}}`, or the other way round.
    #[error("line {line}: {{{{#{name}}}}} and {{{{/{name}}}}} do not pair")]
    Unpaired {
        /// The line of the template.
        line: usize,
        /// The list.
        name: String,
    },
}

/// The template with the values in their places.
pub fn render(template: &str, values: &Map<String, Value>) -> Result<String, TemplateError> {
    let mut page = String::with_capacity(template.len() * 2);
    render_part(template, 1, values, &mut page)?;
    Ok(page)
}

fn render_part(
    part: &str,
    first_line: usize,
    values: &Map<String, Value>,
    page: &mut String,
) -> Result<(), TemplateError> {
    let mut rest = part;
    while let Some((text, after)) = rest.split_once("{{") {
        page.push_str(text);
        let line = first_line + newlines(&part[..part.len() - after.len()]);
        let (tag, after) = after
            .split_once("}}")
            .ok_or(TemplateError::NotClosed { line })?;
        let tag = tag.trim();
        rest = if let Some(name) = tag.strip_prefix('#') {
            let end = format!("{{{{/{name}}}}}");
            let (body, after_list) =
                after
                    .split_once(&end)
                    .ok_or_else(|| TemplateError::Unpaired {
                        line,
                        name: name.to_owned(),
                    })?;
            let body_line = first_line + newlines(&part[..part.len() - after.len()]);
            render_list(name, body, body_line, values, page)?;
            after_list
        } else if let Some(name) = tag.strip_prefix('/') {
            return Err(TemplateError::Unpaired {
                line,
                name: name.to_owned(),
            });
        } else {
            match lookup(tag, line, values)? {
                Value::String(text) => push_escaped(page, text),
                Value::Number(number) => push_escaped(page, &number.to_string()),
                other => return Err(wrong_kind(line, tag, other, "a text or a number")),
            }
            after
        };
    }
    page.push_str(rest);
    Ok(())
}

fn render_list(
    name: &str,
    body: &str,
    line: usize,
    values: &Map<String, Value>,
    page: &mut String,
) -> Result<(), TemplateError> {
    let value = lookup(name, line, values)?;
    let Value::Array(elements) = value else {
        return Err(wrong_kind(line, name, value, "a list"));
    };
    for element in elements {
        let Value::Object(fields) = element else {
            return Err(wrong_kind(line, name, element, "a list of objects"));
        };
        render_part(body, line, fields, page)?;
    }
    Ok(())
}

fn lookup<'a>(
    name: &str,
    line: usize,
    values: &'a Map<String, Value>,
) -> Result<&'a Value, TemplateError> {
    values.get(name).ok_or_else(|| TemplateError::UnknownName {
        line,
        name: name.to_owned(),
        known: values
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    })
}

fn wrong_kind(line: usize, name: &str, value: &Value, wanted: &'static str) -> TemplateError {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    TemplateError::WrongKind {
        line,
        name: name.to_owned(),
        found,
        wanted,
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn push_escaped(page: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            other => page.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn filled(template: &str, values: Value) -> Result<String, TemplateError> {
        render(template, values.as_object().unwrap())
    }

    #[test]
    fn values_and_lists_are_filled_in() {
        let page = filled(
            "<h1>{{ title }}</h1>{{#rows}}\n<li>{{name}}={{count}}</li>{{/rows}}.",
            json!({"title": "A", "rows": [{"name": "x", "count": 1}, {"name": "y", "count": 2}]}),
        );
        assert_eq!(page.unwrap(), "<h1>A</h1>\n<li>x=1</li>\n<li>y=2</li>.");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let cases = [
            (
                "a\n{{b}}",
                "line 2: there is no value \"b\"; known are list, text",
            ),
            (
                "{{#list}}\n\n{{nope}}{{/list}}",
                "line 3: there is no value \"nope\"; known are n",
            ),
            ("\n\n{{text", "line 3: {{ is not closed"),
            ("{{#list}}", "line 1: {{#list}} and {{/list}} do not pair"),
            ("\n{{/list}}", "line 2: {{#list}} and {{/list}} do not pair"),
            (
                "{{list}}",
                "line 1: \"list\" is a list, not a text or a number",
            ),
            (
                "{{#text}}{{/text}}",
                "line 1: \"text\" is a text, not a list",
            ),
        ];
        for (template, expected) in cases {
            let error = filled(template, json!({"text": "t", "list": [{"n": 1}]})).unwrap_err();
            assert_eq!(error.to_string(), expected, "{template}");
        }
    }

    proptest! {
        #[test]
        fn a_value_never_adds_markup(value in ".*") {
            let page = filled("<p title=\"{{v}}\">{{v}}</p>", json!({"v": value})).unwrap();
            let inner = page.strip_prefix("<p title=\"").and_then(|page| page.strip_suffix("</p>")).unwrap();
            prop_assert_eq!(inner.matches('<').count(), 0);
            prop_assert_eq!(inner.matches('"').count(), 1);
            prop_assert_eq!(inner.matches('>').count(), 1);
        }

        #[test]
        fn no_template_makes_it_panic(template in "[{}#/a\n ]{0,40}") {
            let _ = filled(&template, json!({"a": [{"a": "x"}]}));
        }
    }
}
