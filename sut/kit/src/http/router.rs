//! From method and path to a handler.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, StatusCode};

use super::request::percent_decode;
use super::{HttpError, Request, Response};

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response, HttpError>> + Send>>;
type Handler = Box<dyn Fn(Request) -> Answer + Send + Sync>;

/// The route label of a request that no template matches.
pub(super) const UNMATCHED: &str = "_unmatched";

/// A service's routes. The first template that matches wins, so put `/orders/open` before `/orders/{id}`.
///
/// ```
/// # use std::sync::Arc;
/// # use hyper::StatusCode;
/// # use observastack_kit::http::{Request, Router, json};
/// struct Shop;
/// let router = Router::new(Arc::new(Shop))
///     .get("/products/{id}", async |_shop: Arc<Shop>, request: Request| {
///         let id: u64 = request.param("id")?;
///         json(StatusCode::OK, &id)
///     });
/// # let _ = router;
/// ```
pub struct Router<S> {
    state: Arc<S>,
    routes: Vec<Route>,
    render_error: RenderError,
}

/// Gives an error the shape that a service's clients know.
type RenderError = fn(HttpError) -> HttpError;

pub(super) struct Route {
    method: Method,
    pub(super) template: &'static str,
    pub(super) handler: Handler,
}

/// What a request's method and path lead to.
pub(super) enum Found<'a> {
    Route(&'a Route, Vec<(&'static str, String)>),
    /// The path is known, with other methods: the template and the `Allow` header.
    Method(&'static str, String),
    Nothing,
}

impl<S: Send + Sync + 'static> Router<S> {
    /// No routes yet; `state` is handed to every handler.
    #[must_use]
    pub fn new(state: Arc<S>) -> Self {
        Self {
            state,
            routes: Vec::new(),
            render_error: |error| error,
        }
    }

    /// Adds a route. `template` is a path whose segments are literal or `{name}`; it is the metrics' label.
    #[must_use]
    pub fn route<H, F>(mut self, method: Method, template: &'static str, handler: H) -> Self
    where
        H: Fn(Arc<S>, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response, HttpError>> + Send + 'static,
    {
        let state = Arc::clone(&self.state);
        let handler: Handler =
            Box::new(move |request| Box::pin(handler(Arc::clone(&state), request)));
        self.routes.push(Route {
            method,
            template,
            handler,
        });
        self
    }

    /// Adds a route for GET, and for HEAD.
    #[must_use]
    pub fn get<H, F>(self, template: &'static str, handler: H) -> Self
    where
        H: Fn(Arc<S>, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response, HttpError>> + Send + 'static,
    {
        self.route(Method::GET, template, handler)
    }

    /// Adds a route for POST.
    #[must_use]
    pub fn post<H, F>(self, template: &'static str, handler: H) -> Self
    where
        H: Fn(Arc<S>, Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response, HttpError>> + Send + 'static,
    {
        self.route(Method::POST, template, handler)
    }

    /// Gives every error, those of unknown paths and methods too, another shape; see [`HttpError::with_content`].
    #[must_use]
    pub fn render_errors(mut self, render: fn(HttpError) -> HttpError) -> Self {
        self.render_error = render;
        self
    }

    /// Adds another router's routes behind the own ones. Their errors get the own ones' shape.
    #[must_use]
    pub fn merge<T>(mut self, other: Router<T>) -> Self {
        self.routes.extend(other.routes);
        self
    }
}

impl<S> Router<S> {
    pub(super) fn into_table(self) -> Table {
        Table {
            routes: self.routes,
            render_error: self.render_error,
        }
    }
}

/// The routes, without the state's type.
pub(super) struct Table {
    routes: Vec<Route>,
    pub(super) render_error: RenderError,
}

impl Table {
    pub(super) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let asked = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let mut allowed: Vec<&str> = Vec::new();
        let mut template = UNMATCHED;
        for route in &self.routes {
            let Some(params) = matched(route.template, path) else {
                continue;
            };
            if route.method == asked {
                return Found::Route(route, params);
            }
            template = route.template;
            allowed.push(route.method.as_str());
        }
        if allowed.is_empty() {
            Found::Nothing
        } else {
            Found::Method(template, allowed.join(", "))
        }
    }
}

impl Found<'_> {
    /// The route's label on metrics and in logs.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Found::Route(route, _) => route.template,
            Found::Method(template, _) => template,
            Found::Nothing => UNMATCHED,
        }
    }
}

pub(super) fn method_not_allowed(method: &Method, allowed: &str) -> HttpError {
    let error = HttpError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not allowed, allowed: {allowed}"),
    );
    match HeaderValue::from_str(allowed) {
        Ok(value) => error.with_header(ALLOW, value),
        Err(_) => error,
    }
}

/// The parameters, when the path has the template's shape. An escaped `/` stays within its segment.
fn matched(template: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut params = Vec::new();
    let (mut expected, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(params),
            (Some(expected), Some(given)) => {
                match expected
                    .strip_prefix('{')
                    .and_then(|name| name.strip_suffix('}'))
                {
                    Some(_) if given.is_empty() => return None,
                    Some(name) => params.push((name, percent_decode(given, false)?)),
                    None if expected == given => {}
                    None => return None,
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_matches_paths_of_its_shape_only() {
        assert_eq!(
            matched("/a/{id}/b", "/a/7/b"),
            Some(vec![("id", "7".to_owned())])
        );
        assert_eq!(
            matched("/a/{id}", "/a/x%2Fy%20z"),
            Some(vec![("id", "x/y z".to_owned())])
        );
        assert_eq!(matched("/", "/"), Some(vec![]));
        for path in ["/a", "/a/", "/a/7/", "/a/7/b", "/b/7", "/a/%zz", "/a/%ff"] {
            assert_eq!(matched("/a/{id}", path), None, "{path}");
        }
    }
}
