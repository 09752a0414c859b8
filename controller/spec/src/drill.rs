//! One run of a drill: what state it is in, what happened in it, what it is worth, and how it is told afterwards. Pure.
//!
//! - [`life`]: from the brief to the debrief, and back to the baseline whenever somebody asks, or whatever breaks;
//! - [`log`]: everything that happens, in one list;
//! - [`score`]: points with their reasons, from what happened;
//! - [`postmortem`]: the report, begun; [`document`]: the same as Markdown and HTML.

pub mod document;
pub mod life;
pub mod log;
pub mod postmortem;
pub mod score;
