//! `metrics`: what Prometheus says to an expression, now or over a time.

use std::{
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use form_urlencoded::Serializer;
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::{client::Client, failure::Failure, output};

/// Points of one series that are asked for, about.
const POINTS: u32 = 60;
/// Prometheus itself scrapes no faster.
const SHORTEST_STEP: Duration = Duration::from_secs(1);

/// Ask Prometheus: one value of each series now, or how they went.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// In PromQL, such as 'rate(http_server_request_duration_seconds_count[1m])'.
    query: String,
    /// How it went since so long ago (15m), instead of now.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// How far apart its points are; a sixtieth of the time if left out.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "since")]
    step: Option<Duration>,
    /// Where Prometheus answers.
    #[arg(
        long,
        env = "OBSERVASTACK_PROMETHEUS",
        default_value = "127.0.0.1:9190",
        hide_env = true
    )]
    prometheus: SocketAddr,
}

/// Prints it.
pub(crate) async fn run(metrics: &Metrics, json: bool) -> Result<ExitCode, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let path = path(metrics, now.unwrap_or_default());
    let client = Client::port(metrics.prometheus, "observastack-prometheus");
    let (status, body) = client.send(Method::GET, &path, "", Vec::new()).await?;
    let answer: Value = serde_json::from_slice(&body)
        .map_err(|error| client.transport(format!("answered {status}: {error}")))?;
    if answer["status"] != "success" {
        let words = answer["error"].as_str().unwrap_or("no reason given");
        // What cannot be read as PromQL, or takes too long: the question's fault.
        return Err(Failure::Usage(format!("Prometheus: {words}")));
    }
    let data = &answer["data"];
    if json {
        output::json(data);
    } else {
        output::line(text(data));
    }
    Ok(ExitCode::SUCCESS)
}

fn path(metrics: &Metrics, now: Duration) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("query", &metrics.query);
    let Some(since) = metrics.since else {
        return format!("/api/v1/query?{}", query.finish());
    };
    let step = metrics.step.unwrap_or(since / POINTS).max(SHORTEST_STEP);
    for (name, value) in [
        ("start", now.saturating_sub(since)),
        ("end", now),
        ("step", step),
    ] {
        query.append_pair(name, &format!("{:.3}", value.as_secs_f64()));
    }
    format!("/api/v1/query_range?{}", query.finish())
}

/// A line for each series: its name and labels, and its value, or its first, smallest, largest and last one.
fn text(data: &Value) -> String {
    if data["resultType"] == "scalar" {
        return output::value(&data["result"][1]);
    }
    let no_series = Vec::new();
    let series = data["result"].as_array().unwrap_or(&no_series);
    if series.is_empty() {
        return "no series".to_owned();
    }
    let is_range = data["resultType"] == "matrix";
    let rows: Vec<Vec<String>> = series
        .iter()
        .map(|one| {
            let name = name(one["metric"].as_object());
            let mut cells = match is_range {
                true => over_time(&one["values"]),
                false => vec![output::value(&one["value"][1])],
            };
            cells.push(name);
            cells
        })
        .collect();
    let header: &[&str] = match is_range {
        true => &["FIRST", "LEAST", "MOST", "LAST", "SERIES"],
        false => &["VALUE", "SERIES"],
    };
    output::table(header, &rows)
}

fn over_time(values: &Value) -> Vec<String> {
    let numbers: Vec<f64> = values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|point| point[1].as_str()?.parse().ok())
        .collect();
    let least = numbers.iter().copied().fold(f64::NAN, f64::min);
    let most = numbers.iter().copied().fold(f64::NAN, f64::max);
    let at = |number: Option<&f64>| number.map_or_else(|| "-".to_owned(), f64::to_string);
    vec![
        at(numbers.first()),
        least.to_string(),
        most.to_string(),
        at(numbers.last()),
    ]
}

/// As PromQL has it.
fn name(labels: Option<&Map<String, Value>>) -> String {
    let labels = labels.into_iter().flatten();
    let (mut name, mut pairs) = (String::new(), Vec::new());
    for (label, value) in labels {
        if label == "__name__" {
            name = output::value(value);
        } else {
            pairs.push(format!("{label}={}", json!(value)));
        }
    }
    format!("{name}{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(since: Option<u64>) -> Metrics {
        Metrics {
            query: "a{b=\"c d\"}".to_owned(),
            since: since.map(Duration::from_secs),
            step: None,
            prometheus: ([127, 0, 0, 1], 9190).into(),
        }
    }

    #[test]
    fn a_time_is_asked_for_in_sixty_points_and_at_most_one_a_second() {
        let now = Duration::from_secs(10_000);
        assert_eq!(
            path(&metrics(None), now),
            "/api/v1/query?query=a%7Bb%3D%22c+d%22%7D"
        );
        assert_eq!(
            path(&metrics(Some(600)), now),
            "/api/v1/query_range?query=a%7Bb%3D%22c+d%22%7D&start=9400.000&end=10000.000&step=10.000"
        );
        assert!(path(&metrics(Some(5)), now).ends_with("&step=1.000"));
    }

    #[test]
    fn each_series_is_a_line_with_its_labels() {
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "a", "unit": "x"}, "value": [1, "0.5"]}]});
        assert_eq!(
            text(&vector),
            "VALUE  SERIES\n0.5    up{job=\"a\",unit=\"x\"}"
        );
        let matrix = json!({"resultType": "matrix", "result": [
            {"metric": {}, "values": [[1, "2"], [2, "NaN"], [3, "1"], [4, "4"]]}]});
        assert_eq!(
            text(&matrix),
            "FIRST  LEAST  MOST  LAST  SERIES\n2      1      4     4     {}"
        );
        let none = json!({"resultType": "vector", "result": []});
        assert_eq!(text(&none), "no series");
        let scalar = json!({"resultType": "scalar", "result": [1, "7"]});
        assert_eq!(text(&scalar), "7");
    }
}
