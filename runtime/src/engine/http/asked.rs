//! What a request asks, read strictly: a parameter that is not known is refused, not passed over.
//!
//! Every refusal has the API's own shape.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::engine::error::Error;

/// The parameters after the `?`.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        read.map(|query| Self(query.0))
            .map_err(|e: QueryRejection| refusal(e.status().as_u16(), &e))
    }
}

/// The JSON of the body.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|e: BytesRejection| refusal(e.status().as_u16(), &e))?;
        let read = serde_json::from_slice(&body);
        read.map(Self)
            .map_err(|e| refusal(if e.is_data() { 422 } else { 400 }, &e))
    }
}

fn refusal(status: u16, e: &dyn std::error::Error) -> Error {
    Error {
        status,
        ..Error::invalid(format!(
            "read the request: {}",
            crate::engine::puller::chain(e)
        ))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;

    use super::*;
    use crate::engine::http::containers::ListQuery;

    #[derive(Debug, Deserialize)]
    struct Thing {
        #[allow(dead_code)]
        name: String,
    }

    #[tokio::test]
    async fn json_that_cannot_be_read_is_an_error_of_the_api() {
        for (body, status) in [("{", 400), ("{}", 422)] {
            let request = axum::http::Request::post("/")
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap();
            let refused = Sent::<Thing>::from_request(request, &()).await;
            let error = refused.err().expect("a refusal");
            assert_eq!(error.status, status, "{error}");
            assert!(error.message.starts_with("read the request: "), "{error}");
        }
    }

    #[tokio::test]
    async fn a_parameter_that_is_not_known_is_refused_by_its_name() {
        let read = async |uri: &str| {
            let request = axum::http::Request::get(uri).body(()).unwrap();
            let mut parts = request.into_parts().0;
            Query::<ListQuery>::from_request_parts(&mut parts, &()).await
        };
        assert!(read("/v1/containers?all=true").await.is_ok());
        let error = read("/v1/containers?al=true").await.err().expect("refused");
        assert_eq!(error.status, 400);
        assert!(error.message.contains("`al`"), "{error}");
    }
}
