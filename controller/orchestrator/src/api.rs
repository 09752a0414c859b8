//! HTTP for whoever drives the lab: the command line, an agent, the panel.
//!
//! - [`routes`]: what can be asked for, in one table, from which the router and the description come;
//! - [`auth`]: who may ask for it; [`events`]: what happens, as it does; [`failure`]: what is said where something comes to nothing.

pub mod auth;
mod description;
mod events;
mod failure;
mod handlers;
pub mod routes;

use axum::{Router, middleware};

pub use self::{
    auth::{Role, Tokens},
    description::description,
    routes::{ROUTES, Route},
};
use crate::engine::Engine;

/// What every request needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The thread that owns the runner.
    pub engine: Engine,
    /// Who may ask for what.
    pub tokens: Tokens,
}

/// The router.
pub fn router(context: Context) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, handlers::of(route));
    }
    router
        .fallback(failure::no_route)
        .layer(middleware::from_fn_with_state(context.clone(), auth::check))
        .with_state(context)
}

#[cfg(test)]
mod tests;
