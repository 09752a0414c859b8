//! The OpenAPI description, made of the table that the router is made of.

use serde_json::{Map, Value, json};

use super::{
    ROUTES, Role, Route,
    routes::{Method, What},
};

/// The description (OpenAPI 3.1).
#[must_use]
pub fn description() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths
            .entry(route.path.to_owned())
            .or_insert_with(|| json!({}));
        if let Value::Object(methods) = methods {
            let method = match route.method {
                Method::Get => "get",
                Method::Post => "post",
            };
            methods.insert(method.to_owned(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ObservaStack controller",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Drills: begin one, follow it, say what is wrong, read the report.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Failure": {
                    "type": "object",
                    "required": ["error", "code"],
                    "properties": {
                        "error": {"type": "string", "description": "Words for people."},
                        "code": {"type": "string", "description": "A word for programs."},
                    },
                },
                "Diagnosis": schemars::schema_for!(observastack_spec::scenario::answer::Diagnosis),
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let name = format!("{:?}", route.what);
    let parameters: Vec<Value> = route
        .parameters
        .iter()
        .map(|(name, about)| {
            json!({"name": name, "in": "query", "description": about, "schema": {"type": "string"}})
        })
        .collect();
    let content = match route.what {
        What::Events => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        What::Report => json!({
            "text/markdown": {"schema": {"type": "string"}},
            "text/html": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        }),
        _ => json!({"application/json": {"schema": {"type": "object"}}}),
    };
    let status = if route.what == What::Start {
        "201"
    } else {
        "200"
    };
    let failure = |words: &str| {
        json!({
            "description": words,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
        })
    };
    let mut operation = json!({
        "operationId": name,
        "summary": route.about,
        "parameters": parameters,
        "responses": {
            status: {"description": "Done.", "content": content},
            "4XX": failure("It comes to nothing, and why."),
        },
    });
    if let Some(role) = route.role {
        let role = match role {
            Role::Learner => "learner",
            Role::Instructor => "instructor",
            Role::Admin => "admin",
        };
        operation["security"] = json!([{"token": []}]);
        operation["x-role"] = json!(role);
    }
    let body = match route.what {
        What::Start => Some(json!({
            "type": "object",
            "required": ["id"],
            "additionalProperties": false,
            "properties": {"id": {"type": "string"}, "seed": {"type": "integer", "minimum": 0, "default": 1}},
        })),
        What::Diagnose => Some(json!({"$ref": "#/components/schemas/Diagnosis"})),
        What::Did => Some(json!({"type": "object", "required": ["what"]})),
        _ => None,
    };
    if let Some(schema) = body {
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}
