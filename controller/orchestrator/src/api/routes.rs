//! What can be asked for.

use super::Role;

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: Method,
    /// Its path, as axum and OpenAPI write it.
    pub path: &'static str,
    /// What it is for.
    pub what: What,
    /// Who may ask for it; those above may as well. Nothing: everybody.
    pub role: Option<Role>,
    /// One sentence.
    pub about: &'static str,
    /// Parameters of the query string, each with what it is.
    pub parameters: &'static [(&'static str, &'static str)],
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Says something.
    Post,
}

/// What a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// This description.
    Description,
    /// Every drill.
    Drills,
    /// What a diagnosis is chosen from.
    Catalogue,
    /// How the run stands.
    Now,
    /// Begins a drill.
    Start,
    /// Takes a hint.
    Hint,
    /// Says what is wrong.
    Diagnose,
    /// Says that it is repaired.
    Submit,
    /// Ends it for the learner.
    GiveUp,
    /// Ends it, whatever it is doing.
    Abort,
    /// The debrief was read.
    Reset,
    /// The learner was seen to do something.
    Did,
    /// What has happened so far.
    Entries,
    /// What happens.
    Events,
    /// What is told afterwards.
    Report,
    /// The last runs.
    History,
    /// A record of every run that is over.
    Export,
}

macro_rules! routes {
    ($($method:ident $path:literal $what:ident $role:expr, $about:literal $(, $parameter:literal: $means:literal)*;)*) => {
        /// Every route.
        pub const ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            what: What::$what,
            role: $role,
            about: $about,
            parameters: &[$(($parameter, $means)),*],
        }),*];
    };
}

routes! {
    Get "/api/openapi.json" Description None, "This description.";
    Get "/api/drills" Drills Some(Role::Learner), "What a learner may know of every drill; whether it was passed by whoever asks, and which of its prerequisites were not.";
    Get "/api/catalogue" Catalogue Some(Role::Learner), "What a diagnosis is chosen from, with what it means.";
    Get "/api/run" Now Some(Role::Learner), "How the run stands, and its score once it has ended; `null` where none goes on.";
    Post "/api/run" Start Some(Role::Learner), "Begins a drill: `{\"id\": \"...\", \"seed\": 7}`; the seed may be left out.";
    Post "/api/run/hint" Hint Some(Role::Learner), "Takes the next hint, which is one of the events then.";
    Post "/api/run/diagnosis" Diagnose Some(Role::Learner), "Says what is wrong, chosen from the catalogue; the last one counts.";
    Post "/api/run/submit" Submit Some(Role::Learner), "Says that it is repaired: it has to hold now.";
    Post "/api/run/give-up" GiveUp Some(Role::Learner), "Ends the learner's time.";
    Post "/api/run/reset" Reset Some(Role::Learner), "The report was read: the lab goes back to its baseline.";
    Post "/api/run/abort" Abort Some(Role::Instructor), "Ends the run, whatever it is doing; the lab goes back to its baseline, and nothing is scored.";
    Post "/api/run/did" Did Some(Role::Learner), "Something that the learner was seen to do: a command, a change of configuration, a unit, an observation.";
    Get "/api/run/entries" Entries Some(Role::Learner), "What has happened so far, as far as a learner may know.",
        "after": "the number of the last entry that is known already";
    Get "/api/run/events" Events Some(Role::Learner), "What happens, as server-sent events; each has its run and its number as its id, and `Last-Event-ID` goes on after it.",
        "after": "the id of the last event that is known already";
    Get "/api/report" Report Some(Role::Learner), "The debrief and the postmortem of a run that has ended.",
        "run": "its number; the last one's, if left out", "form": "markdown, html or json", "part": "debrief or postmortem";
    Get "/api/history" History Some(Role::Learner), "The last runs and their scores, the newest first.",
        "limit": "how many, at most 1000";
    Get "/api/export" Export Some(Role::Instructor), "A record of each run that is over, the oldest first, page by page: `next` is the `after` of the next page, and `null` on the last one.",
        "after": "the number of the last run that is known already", "since_ms": "runs that were begun then or later, in milliseconds since 1970", "limit": "how many on a page, at most 500";
}
