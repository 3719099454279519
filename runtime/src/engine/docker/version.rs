//! The version before a path, and what every answer says of this side.
//!
//! A version that is too old or too new is refused in dockerd's own words; none means the newest.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;

/// The newest version that is spoken.
pub const NEWEST: (u16, u16) = (1, 47);
/// The oldest one.
pub const OLDEST: (u16, u16) = (1, 41);

/// Kinds of things whose names may have slashes in them, and what may come behind such a name.
const SLASHED: [(&str, &[&str]); 2] = [
    ("images", &["json", "history", "tag", "push", "get"]),
    ("distribution", &["json"]),
];
/// What follows `images` and is no name.
const NO_NAMES: [&str; 6] = ["json", "create", "search", "prune", "get", "load"];

/// The routes behind a version, which may be left out.
pub fn around(routes: Router) -> Router {
    Router::new().fallback_service(routes).layer(from_fn(strip))
}

/// `1.47`.
pub fn text((major, minor): (u16, u16)) -> String {
    format!("{major}.{minor}")
}

async fn strip(mut request: Request, next: Next) -> Response {
    let mut response = match path_of(request.uri().path()) {
        Ok(path) => match replaced(request.uri(), &path) {
            Some(uri) => {
                *request.uri_mut() = uri;
                next.run(request).await
            }
            None => Refusal::invalid("the path is malformed").into_response(),
        },
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("api-version", &text(NEWEST));
    put("docker-experimental", "false");
    put("ostype", "linux");
    put(
        "server",
        concat!("Skeg/", env!("CARGO_PKG_VERSION"), " (linux)"),
    );
    response
}

fn replaced(uri: &Uri, path: &str) -> Option<Uri> {
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    whole.parse().ok()
}

/// The path without its version, and with the slashes of an image's name escaped.
fn path_of(path: &str) -> Result<String, Refusal> {
    let bare = path.strip_prefix("/v").and_then(|rest| {
        let (version, rest) = rest.split_once('/')?;
        Some((read(version)?, version, rest))
    });
    let Some((version, written, rest)) = bare else {
        return Ok(escaped(path));
    };
    if version > NEWEST {
        return Err(Refusal::invalid(format!(
            "client version {written} is too new. Maximum supported API version is {}",
            text(NEWEST)
        )));
    }
    if version < OLDEST {
        return Err(Refusal::invalid(format!(
            "client version {written} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
            text(OLDEST)
        )));
    }
    Ok(escaped(&format!("/{rest}")))
}

fn read(version: &str) -> Option<(u16, u16)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `/images/a/b:1/json` becomes `/images/a%2Fb:1/json`: one segment for the router.
fn escaped(path: &str) -> String {
    for (kind, endings) in SLASHED {
        let Some(rest) = path.strip_prefix('/').and_then(|p| p.strip_prefix(kind)) else {
            continue;
        };
        let Some(rest) = rest.strip_prefix('/').filter(|r| r.contains('/')) else {
            continue;
        };
        let (name, ending) = match rest.rsplit_once('/') {
            Some((name, ending)) if endings.contains(&ending) => (name, Some(ending)),
            _ => (rest, None),
        };
        if NO_NAMES.contains(&name) {
            continue;
        }
        let name = name.replace('/', "%2F");
        return match ending {
            Some(ending) => format!("/{kind}/{name}/{ending}"),
            None => format!("/{kind}/{name}"),
        };
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_off_and_those_that_are_not_spoken_are_refused() {
        let of = |path| path_of(path).map_err(|r| r.to_string());
        assert_eq!(of("/v1.41/containers/json").unwrap(), "/containers/json");
        assert_eq!(of("/v1.47/_ping").unwrap(), "/_ping");
        assert_eq!(of("/volumes").unwrap(), "/volumes");
        assert_eq!(
            of("/v1.48/info").unwrap_err(),
            "client version 1.48 is too new. Maximum supported API version is 1.47"
        );
        assert!(
            of("/v1.40/info")
                .unwrap_err()
                .contains("is too old. Minimum")
        );
        assert!(of("/v2.1/info").unwrap_err().contains("too new"));
    }

    #[test]
    fn the_slashes_of_an_image_are_part_of_its_name() {
        let cases = [
            ("/images/a/b:1/json", "/images/a%2Fb:1/json"),
            ("/images/h:5/a/b", "/images/h:5%2Fa%2Fb"),
            ("/images/a/json", "/images/a/json"),
            ("/images/json", "/images/json"),
            ("/images/x/y/tag", "/images/x%2Fy/tag"),
            ("/distribution/x/y/json", "/distribution/x%2Fy/json"),
            ("/containers/a/json", "/containers/a/json"),
        ];
        for (path, wanted) in cases {
            assert_eq!(escaped(path), wanted);
        }
    }
}
