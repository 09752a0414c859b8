//! Prometheus.

use std::net::SocketAddr;

use form_urlencoded::byte_serialize;
use serde_json::Value;

use super::{failed, http};
use crate::lab::LabError;

/// Prometheus.
#[derive(Debug)]
pub(super) struct Prometheus(http::Place);

impl Prometheus {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(http::Place::Port(address))
    }

    /// Every value that an expression has now.
    pub(super) async fn values(&self, expression: &str) -> Result<Vec<f64>, LabError> {
        let encoded: String = byte_serialize(expression.as_bytes()).collect();
        let path = format!("/api/v1/query?query={encoded}");
        let answer: Value = http::get(&self.0, &path).await?.json("ask Prometheus")?;
        values(&answer).ok_or_else(|| failed("ask Prometheus", "it answers something else"))
    }
}

/// Of an answer to an instant query (Prometheus' HTTP API): a vector, or a scalar.
fn values(answer: &Value) -> Option<Vec<f64>> {
    let number = |sample: &Value| sample.get(1)?.as_str()?.parse::<f64>().ok();
    let result = &answer["data"]["result"];
    match answer["data"]["resultType"].as_str()? {
        "scalar" => Some(vec![number(result)?]),
        "vector" => {
            let samples = result.as_array()?;
            samples.iter().map(|one| number(&one["value"])).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn vectors_and_scalars_have_values_and_nothing_else_has() {
        let vector = json!({"data": {"resultType": "vector", "result": [
            {"metric": {}, "value": [1, "0.5"]}, {"metric": {}, "value": [1, "+Inf"]}]}});
        assert_eq!(values(&vector), Some(vec![0.5, f64::INFINITY]));
        let scalar = json!({"data": {"resultType": "scalar", "result": [1, "7"]}});
        assert_eq!(values(&scalar), Some(vec![7.0]));
        let matrix = json!({"data": {"resultType": "matrix", "result": []}});
        assert_eq!(values(&matrix), None);
    }
}
