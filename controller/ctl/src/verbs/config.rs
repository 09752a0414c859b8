//! `config`: read and change a service's configuration.

mod assignment;

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use hyper::Method;
use observastack_spec::FieldError;
use serde_json::Value;

use crate::{client::Client, failure::Failure, output, sut::Service};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Read and change a service's configuration. It is kept by the service itself and survives its restarts.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Show a service's configuration, or one field of it.
    Get {
        /// gateway, inventory, worker, api@1, ...
        unit: String,
        /// A field's dotted path, such as retries.max_attempts.
        field: Option<String>,
    },
    /// Change fields, the others stay; FIELD=null gives a field its default back.
    Set {
        /// gateway, inventory, worker, api@1, ...
        unit: String,
        /// FIELD=VALUE, with a dotted path and a JSON value; text needs no quotes.
        #[arg(
            value_name = "FIELD=VALUE",
            required_unless_present = "file",
            conflicts_with = "file"
        )]
        assignments: Vec<String>,
        /// Replace the whole configuration by this JSON file (- for standard input).
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Go back to the site's configuration, or the built-in defaults.
    Reset {
        /// gateway, inventory, worker, api@1, ...
        unit: String,
        /// Remove the file of a service that does not start any more.
        #[arg(long)]
        offline: bool,
    },
}

/// Reads or changes, and prints the configuration as it is then.
pub(crate) async fn run(
    config: Config,
    runtime_directory: &Path,
    json: bool,
) -> Result<ExitCode, Failure> {
    match config.verb {
        ConfigVerb::Get { unit, field } => {
            let service = Service::named(&unit)?;
            let view = exchange(&service, runtime_directory, Method::GET, JSON, Vec::new()).await?;
            match field {
                None => show(&view, json),
                Some(field) => output::json(assignment::lookup(&view["config"], &field).ok_or_else(|| {
                    Failure::Usage(format!("field: `{field}` is not in the configuration; see: observastack-ctl config get {unit}"))
                })?),
            }
        }
        ConfigVerb::Set {
            unit,
            assignments,
            file,
        } => {
            let service = Service::named(&unit)?;
            let (method, content_type, body) = match file {
                Some(path) => (Method::PUT, JSON, read(&path)?),
                None => {
                    let patch = assignment::merge_patch(&assignments).map_err(Failure::Usage)?;
                    (Method::PATCH, MERGE_PATCH, patch.to_string().into_bytes())
                }
            };
            show(
                &exchange(&service, runtime_directory, method, content_type, body).await?,
                json,
            );
        }
        ConfigVerb::Reset {
            unit,
            offline: true,
        } => reset_offline(&Service::named(&unit)?, runtime_directory, json).await?,
        ConfigVerb::Reset {
            unit,
            offline: false,
        } => {
            let service = Service::named(&unit)?;
            show(
                &exchange(
                    &service,
                    runtime_directory,
                    Method::DELETE,
                    JSON,
                    Vec::new(),
                )
                .await?,
                json,
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn exchange(
    service: &Service,
    runtime_directory: &Path,
    method: Method,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Value, Failure> {
    let client: Client = service.client(runtime_directory);
    let (status, answer) = client.send(method, "/config", content_type, body).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    if let Ok(fields) = serde_json::from_value::<Vec<FieldError>>(answer["fields"].clone())
        && !fields.is_empty()
    {
        return Err(Failure::Invalid(fields));
    }
    let error = answer["error"]
        .as_str()
        .map_or_else(|| format!("answered {status}"), str::to_owned);
    if status.as_u16() == 400 || status.as_u16() == 422 || status.as_u16() == 413 {
        return Err(Failure::Usage(format!("{}: {error}", service.unit)));
    }
    Err(Failure::Service {
        unit: service.unit.clone(),
        error,
    })
}

fn show(view: &Value, json: bool) {
    if json {
        output::json(view);
        return;
    }
    output::line(format!(
        "{} runs with version {} ({})",
        text(&view["service"]),
        view["version"],
        text(&view["source"])
    ));
    if let Some(pending) = view["pending_restart"]
        .as_array()
        .filter(|pending| !pending.is_empty())
    {
        let fields: Vec<_> = pending.iter().map(text).collect();
        output::line(format!(
            "takes effect at the next start: {}",
            fields.join(", ")
        ));
    }
    output::json(&view["config"]);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::Io {
        what: format!("cannot read {}", path.display()),
        source,
    };
    if path == Path::new("-") {
        let mut body = Vec::new();
        io::stdin().read_to_end(&mut body).map_err(failed)?;
        return Ok(body);
    }
    fs::read(path).map_err(failed)
}

/// A service that refuses its file does not run, so it cannot be asked. One that runs must be: it has its own idea of the file.
async fn reset_offline(
    service: &Service,
    runtime_directory: &Path,
    json: bool,
) -> Result<(), Failure> {
    if exchange(service, runtime_directory, Method::GET, JSON, Vec::new())
        .await
        .is_ok()
    {
        return Err(Failure::Usage(format!(
            "{unit} runs and can be asked: use `observastack-ctl config reset {unit}` without --offline",
            unit = service.unit
        )));
    }
    let path = service.state_file();
    let removed = match fs::remove_file(&path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(source) => {
            return Err(Failure::Io {
                what: format!("cannot remove {}", path.display()),
                source,
            });
        }
    };
    if json {
        output::json(&serde_json::json!({"file": path, "removed": removed}));
    } else if removed {
        output::line(format!(
            "removed {}; now: systemctl reset-failed {unit} && systemctl restart {unit}",
            path.display(),
            unit = service.unit
        ));
    } else {
        output::line(format!("{} is not there: nothing to reset", path.display()));
    }
    Ok(())
}
