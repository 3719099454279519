//! Pulls, told line by line as docker's clients draw them.
//!
//! A failure that comes before the first layer is an answer of its own, later ones are the last line.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64URL, BASE64URL_NOPAD};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Answer, refused};
use crate::engine::api::Told;
use crate::engine::docker::Arced;
use crate::engine::docker::asked::Asked;
use crate::engine::error::Error;
use crate::engine::options::PullPolicy;
use crate::image::Reference;
use crate::image::registry::Login;

pub async fn create(Shared(engine): Arced, query: Asked, headers: HeaderMap) -> Answer<Response> {
    if query.text("fromSrc").is_some() {
        return Err(refused::import());
    }
    let name = wanted(
        query.text("fromImage").unwrap_or_default(),
        query.text("tag"),
    );
    let login = login(&headers)?;
    let before = engine.store.find(&name).map(|image| image.id);
    let (told, lines) = mpsc::channel(64);
    let (progress, mut steps) = mpsc::channel(64);
    let asked = name.clone();
    tokio::spawn(async move {
        let pulled = engine
            .puller
            .get_as(&asked, PullPolicy::Always, login, Some(progress));
        let translated = async {
            let mut seen = Seen::default();
            while let Some(step) = steps.recv().await {
                for line in seen.lines(&step) {
                    // A client that is gone does not end the pull.
                    let _ = told.send(Ok(line)).await;
                }
            }
        };
        let (pulled, ()) = tokio::join!(pulled, translated);
        let last = match pulled {
            Ok(image) => Ok(json!([
                { "status": format!("Digest: {}", image.manifest_digest) },
                { "status": status(&asked, before.as_ref() == Some(&image.id)) },
            ])),
            Err(e) => Err(e),
        };
        let _ = told.send(last).await;
    });
    stream(&name, lines).await
}

fn wanted(image: &str, tag: Option<&str>) -> String {
    match tag {
        None => image.to_string(),
        Some(digest) if digest.contains(':') => format!("{image}@{digest}"),
        Some(tag) => format!("{image}:{tag}"),
    }
}

fn status(name: &str, same: bool) -> String {
    if same {
        format!("Status: Image is up to date for {name}")
    } else {
        format!("Status: Downloaded newer image for {name}")
    }
}

type Lines = mpsc::Receiver<Result<Value, Error>>;

/// The first line decides whether there is a stream at all.
async fn stream(name: &str, mut lines: Lines) -> Answer<Response> {
    let first = lines.recv().await;
    let first = first.unwrap_or_else(|| Err(Error::failed("the engine is shutting down")));
    let first = first.map_err(|e| Error {
        status: if e.status == 500 {
            unknown(&e)
        } else {
            e.status
        },
        ..e
    })?;
    let (repository, tag) = match name.parse::<Reference>() {
        Ok(reference) => (reference.repository().to_string(), reference.wanted()),
        Err(_) => (name.to_string(), "latest".to_string()),
    };
    let head = json!({ "status": format!("Pulling from {repository}"), "id": tag });
    let queue = std::collections::VecDeque::from([encode(&head), encode(&first)]);
    let body = futures_util::stream::unfold((queue, lines), |(mut queue, mut lines)| async move {
        let line = match queue.pop_front() {
            Some(line) => line,
            None => match lines.recv().await? {
                Ok(value) => encode(&value),
                Err(e) => encode(&failure(&e)),
            },
        };
        Some((Ok::<_, std::convert::Infallible>(line), (queue, lines)))
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, Body::from_stream(body)).into_response())
}

/// What a registry does not have, or does not show, is not found.
fn unknown(e: &Error) -> u16 {
    let is_unknown = [
        "404",
        "MANIFEST_UNKNOWN",
        "NAME_UNKNOWN",
        "not found",
        "denied",
    ]
    .iter()
    .any(|word| e.message.contains(word));
    if is_unknown { 404 } else { 500 }
}

fn failure(e: &Error) -> Value {
    json!({ "errorDetail": { "message": e.message }, "error": e.message })
}

/// One line, or one for each of a list.
fn encode(value: &Value) -> Vec<u8> {
    let all = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    let mut bytes = Vec::new();
    for value in all {
        bytes.extend(value.to_string().bytes());
        bytes.extend(b"\r\n");
    }
    bytes
}

/// What has been said of each layer.
#[derive(Default)]
struct Seen(BTreeMap<String, String>);

impl Seen {
    fn lines(&mut self, told: &Told) -> Vec<Value> {
        let Told::Progress {
            layer,
            phase,
            done,
            total,
        } = told
        else {
            return Vec::new();
        };
        let before = self.0.insert(layer.clone(), phase.clone());
        let is_new = before.as_ref() != Some(phase);
        let plain = |status: &str| json!({ "status": status, "progressDetail": {}, "id": layer });
        let moving = |status: &str| {
            let detail = json!({ "current": done, "total": total });
            json!({ "status": status, "progressDetail": detail, "id": layer })
        };
        match (phase.as_str(), before.as_deref()) {
            ("waiting", _) if is_new => vec![plain("Pulling fs layer"), plain("Waiting")],
            ("downloading", _) => vec![moving("Downloading")],
            ("extracting", _) if is_new => vec![
                plain("Verifying Checksum"),
                plain("Download complete"),
                moving("Extracting"),
            ],
            ("ready", Some("extracting" | "downloading")) => vec![plain("Pull complete")],
            ("ready", _) if is_new => vec![plain("Already exists")],
            _ => Vec::new(),
        }
    }
}

/// The login of `X-Registry-Auth`, if there is one. Its text is in no error and no log.
///
/// # Errors
/// When it is none.
pub fn login(headers: &HeaderMap) -> Result<Option<Login>, Error> {
    let Some(value) = headers.get("x-registry-auth") else {
        return Ok(None);
    };
    let refused = || Error::invalid("X-Registry-Auth: expected JSON in URL-safe base64");
    let bytes = BASE64URL
        .decode(value.as_bytes())
        .or_else(|_| BASE64URL_NOPAD.decode(value.as_bytes()))
        .map_err(|_| refused())?;
    if bytes.is_empty() || bytes == b"null" {
        return Ok(None);
    }
    let auth: Auth = serde_json::from_slice(&bytes).map_err(|_| refused())?;
    auth.login()
}

/// A login as docker's clients send it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Auth {
    username: String,
    password: String,
    identitytoken: String,
    /// The registry, as `docker login` was told it.
    pub serveraddress: String,
}

impl Auth {
    /// For the registry client; none without a name.
    ///
    /// # Errors
    /// For an identity token, which is not there.
    pub fn login(self) -> Result<Option<Login>, Error> {
        if !self.identitytoken.is_empty() {
            return Err(Error::invalid(
                "identity tokens are not supported: log in with a password or an access token",
            ));
        }
        let is_some = !self.username.is_empty();
        Ok(is_some.then(|| Login::new(self.username, self.password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(phase: &str, done: u64) -> Told {
        Told::Progress {
            layer: "ab12".into(),
            phase: phase.into(),
            done,
            total: 9,
        }
    }

    #[test]
    fn golden_lines_of_a_layer() {
        let mut seen = Seen::default();
        let steps = [
            ("waiting", 0),
            ("downloading", 4),
            ("extracting", 9),
            ("ready", 9),
        ];
        let lines: Vec<u8> = steps
            .iter()
            .flat_map(|(phase, done)| seen.lines(&step(phase, *done)))
            .flat_map(|line| encode(&line))
            .collect();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            concat!(
                r#"{"id":"ab12","progressDetail":{},"status":"Pulling fs layer"}"#,
                "\r\n",
                r#"{"id":"ab12","progressDetail":{},"status":"Waiting"}"#,
                "\r\n",
                r#"{"id":"ab12","progressDetail":{"current":4,"total":9},"status":"Downloading"}"#,
                "\r\n",
                r#"{"id":"ab12","progressDetail":{},"status":"Verifying Checksum"}"#,
                "\r\n",
                r#"{"id":"ab12","progressDetail":{},"status":"Download complete"}"#,
                "\r\n",
                r#"{"id":"ab12","progressDetail":{"current":9,"total":9},"status":"Extracting"}"#,
                "\r\n",
                r#"{"id":"ab12","progressDetail":{},"status":"Pull complete"}"#,
                "\r\n",
            )
        );
        let again = Seen::default().lines(&step("ready", 9));
        assert_eq!(again[0]["status"], "Already exists");
    }

    #[test]
    fn a_login_is_read_and_never_shown() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            let value = BASE64URL.encode(text.as_bytes());
            headers.insert("x-registry-auth", value.parse().unwrap());
            login(&headers)
        };
        let read = with(r#"{"username":"me","password":"secret","serveraddress":"x"}"#);
        let read = read.unwrap().unwrap();
        assert_eq!(read, Login::new("me".into(), "secret".into()));
        assert!(!format!("{read:?}").contains("secret"));
        assert_eq!(with("{}").unwrap(), None);
        assert_eq!(login(&HeaderMap::new()).unwrap(), None);
        for bad in ["[1", r#"{"identitytoken":"secret"}"#] {
            let error = with(bad).unwrap_err();
            assert!(!error.message.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_digest_is_no_tag() {
        assert_eq!(wanted("box", Some("1")), "box:1");
        assert_eq!(wanted("box", Some("sha256:ab")), "box@sha256:ab");
        assert_eq!(wanted("box", None), "box");
    }
}
