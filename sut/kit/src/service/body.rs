//! A request's JSON body, within the configured limit.

use crate::http::Request;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::service::ServiceError;

/// The body as a `T`.
///
/// # Errors
/// 413 when it is longer than `limit` bytes, 400 when it is not JSON or does not arrive, 422 naming the field when it is
/// JSON of another shape.
pub async fn read_json<T: DeserializeOwned>(
    request: &mut Request,
    limit: usize,
) -> Result<T, ServiceError> {
    let body = request.bytes().await?;
    if body.len() > limit {
        let message = format!("the body is too long, allowed: {limit} bytes");
        return Err(ServiceError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            message,
        ));
    }
    parse(&body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    let not_json = |error: &serde_json::Error| {
        ServiceError::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            format!("the body is not JSON: {error}"),
        )
    };
    // serde would take an array for a struct, field after field.
    if body.trim_ascii_start().starts_with(b"[") {
        let message = "the body is an array, allowed: an object";
        return Err(ServiceError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            message,
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        match error.inner().classify() {
            Category::Data => {
                let message = format!("{field}: {}", error.inner());
                ServiceError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", message)
                    .with("field", field)
            }
            Category::Io | Category::Syntax | Category::Eof => not_json(error.inner()),
        }
    })?;
    deserializer.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only its reading is tested")]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[expect(dead_code, reason = "only its reading is tested")]
        quantity: i32,
    }

    #[test]
    fn what_is_not_json_is_400_and_another_shape_is_422_naming_the_field() {
        let cases = [
            ("", 400, "the body is not JSON: EOF"),
            ("{\"lines\":", 400, "the body is not JSON: EOF"),
            ("{\"lines\":[]} x", 400, "the body is not JSON: trailing"),
            ("[[]]", 422, "the body is an array"),
            (
                "{\"lines\":[{\"quantity\":1},{\"quantity\":\"2\"}]}",
                422,
                "lines[1].quantity: invalid type: string",
            ),
            (
                "{\"lines\":[{\"quantity\":3000000000}]}",
                422,
                "lines[0].quantity: invalid value: integer",
            ),
            (
                "{\"liens\":[]}",
                422,
                "liens: unknown field `liens`, expected `lines`",
            ),
        ];
        for (body, status, message) in cases {
            let error = parse::<Order>(body.as_bytes()).unwrap_err();
            assert_eq!(error.status.as_u16(), status, "{body}: {}", error.message);
            assert!(
                error.message.starts_with(message),
                "{body}: {}",
                error.message
            );
        }
    }
}
