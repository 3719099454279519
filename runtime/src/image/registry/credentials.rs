//! Credentials for registries, from `auth.json` in the format that Docker, podman and skopeo share.
//!
//! Only plain entries are read: there are no helper programs on the host to ask.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use data_encoding::BASE64;
use serde::Deserialize;

use super::error::RegistryError;

/// Where the host's credentials lie.
pub const AUTH_FILE: &str = "/etc/containers/auth.json";

/// A name and a password. Printing it shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    name: String,
    password: String,
}

/// All logins of one file.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    logins: BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Login {
    /// Of a name and a password.
    #[must_use]
    pub fn new(name: String, password: String) -> Self {
        Self { name, password }
    }

    /// The value of a Basic `Authorization` header.
    #[must_use]
    pub fn basic(&self) -> String {
        let pair = format!("{}:{}", self.name, self.password);
        format!("Basic {}", BASE64.encode(pair.as_bytes()))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

impl Credentials {
    /// Reads a file; none is fine.
    ///
    /// # Errors
    /// A file that cannot be read or understood. Its content is never in the error's text.
    pub fn load(path: &Path) -> Result<Self, RegistryError> {
        let fail = |what: &str| RegistryError::Credentials(format!("{}: {what}", path.display()));
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&bytes).map_err(|what| fail(&what)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(fail(&e.to_string())),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        // By way of a map: a struct of which all may be left out would also read `[]`.
        let file: File = serde_json::from_slice::<serde_json::Map<_, _>>(bytes)
            .and_then(|map| serde_json::from_value(map.into()))
            .map_err(|e| format!("line {}: expected {{\"auths\": {{…}}}}", e.line()))?;
        let mut logins = BTreeMap::new();
        for (place, auth) in file.auths {
            if let Some(login) = auth
                .login()
                .ok_or(format!("entry `{place}` is malformed"))?
            {
                logins.insert(key(&place), login);
            }
        }
        Ok(Self { logins })
    }

    /// The login for a repository: the entry that names it most closely.
    #[must_use]
    pub fn find(&self, registry: &str, repository: &str) -> Option<&Login> {
        let full = format!("{registry}/{repository}");
        let mut place = full.as_str();
        loop {
            if let Some(login) = self.logins.get(place) {
                return Some(login);
            }
            place = &place[..place.rfind('/')?];
        }
    }
}

impl Auth {
    /// `Some(None)` is an entry without a secret, which helper programs leave behind.
    fn login(self) -> Option<Option<Login>> {
        if let (Some(name), Some(password)) = (self.username, self.password) {
            return Some(Some(Login { name, password }));
        }
        let Some(encoded) = self.auth.filter(|a| !a.is_empty()) else {
            return Some(None);
        };
        let pair = String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()?;
        let (name, password) = pair.split_once(':')?;
        let password = password.trim_end_matches('\0').to_owned();
        Some(Some(Login {
            name: name.to_owned(),
            password,
        }))
    }
}

/// Docker's old keys are URLs, and Docker Hub has a name of its own there.
fn key(place: &str) -> String {
    let bare = place
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let is_url = bare.len() != place.len();
    let bare = if is_url {
        bare.split('/').next().unwrap_or_default()
    } else {
        bare
    };
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.trim_end_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, String> {
        Credentials::parse(text.as_bytes())
    }

    #[test]
    fn the_closest_entry_wins() {
        // "u:p" and "me:secret:x"
        let all = parse(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"},
                "a.io:5000/team": {"auth": "bWU6c2VjcmV0Ong="}, "a.io:5000": {"auth": "dTpw"},
                "helper.io": {}}, "credsStore": "ignored"}"#,
        )
        .unwrap();
        assert_eq!(
            all.find("docker.io", "library/redis").unwrap().basic(),
            "Basic dTpw"
        );
        assert_eq!(
            all.find("a.io:5000", "team/x").unwrap().basic(),
            "Basic bWU6c2VjcmV0Ong="
        );
        assert_eq!(
            all.find("a.io:5000", "other").unwrap().basic(),
            "Basic dTpw"
        );
        assert_eq!(all.find("a.io", "team/x"), None);
        assert_eq!(all.find("helper.io", "x"), None);
    }

    #[test]
    fn a_broken_file_is_named_without_its_secrets() {
        for text in ["{", "7", r#"{"auths": {"a.io": {"auth": "???secret"}}}"#] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(!format!("{:?}", parse(r#"{"auths":{"a":{"auth":"dTpw"}}}"#)).contains("dTpw"));
        let absent = Path::new("/nonexistent/auth.json");
        assert!(Credentials::load(absent).unwrap().logins.is_empty());
    }
}
