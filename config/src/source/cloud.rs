//! Metadata services, each asked as its provider documents it.
//!
//! An answer is user data or none; 404 says that the machine was given none.

use super::{Document, Places, Platform};
use crate::http::{Answer, Settings, ask};
use data_encoding::BASE64;
use hyper::Method;

/// The address at which nearly all of them answer.
const ADDRESS: &str = "http://169.254.169.254";

/// One provider's way.
#[derive(Debug)]
pub struct Metadata<'a> {
    /// Who is asked.
    pub platform: &'a Platform,
    /// At this address instead of its own.
    pub address: Option<&'a str>,
}

/// The document of a platform, if it has one.
pub fn document(
    platform: &Platform,
    places: &Places,
    settings: &Settings,
) -> Result<Option<Document>, String> {
    let metadata = Metadata {
        platform,
        address: places.metadata.as_deref(),
    };
    user_data(&metadata, settings)
}

/// Asks for the user data.
///
/// # Errors
/// The service does not answer, or not as it should.
pub fn user_data(metadata: &Metadata<'_>, settings: &Settings) -> Result<Option<Document>, String> {
    let base = metadata.address.unwrap_or(ADDRESS);
    let get = |path: &str, headers: &[(&str, &str)]| {
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        ask(&Method::GET, &format!("{base}{path}"), &headers, settings)
    };
    let (name, answer) = match metadata.platform {
        Platform::None => return Ok(None),
        Platform::Vmware => {
            return Err("vmware: guestinfo cannot be read here; hand the configuration over on a disk labelled cidata, or by ignition.config.url=".to_owned());
        }
        Platform::Aws => {
            let token = aws_token(base, settings)?;
            let headers = [("X-aws-ec2-metadata-token", token.as_str())];
            ("aws", get("/2019-10-01/user-data", &headers)?)
        }
        Platform::Gcp => {
            let path = "/computeMetadata/v1/instance/attributes/user-data";
            let answer = get(path, &[("Metadata-Flavor", "Google")])?;
            if answer
                .headers
                .get("Metadata-Flavor")
                .is_none_or(|flavor| flavor != "Google")
            {
                return Err("gcp: what answers is not Google's metadata server".to_owned());
            }
            ("gcp", answer)
        }
        Platform::Azure => {
            let path = "/metadata/instance/compute/userData?api-version=2021-01-01&format=text";
            ("azure", decoded(get(path, &[("Metadata", "true")])?)?)
        }
        Platform::OpenStack => ("openstack", get("/openstack/latest/user_data", &[])?),
        Platform::DigitalOcean => ("digitalocean", get("/metadata/v1/user-data", &[])?),
        Platform::Hetzner => ("hetzner", get("/hetzner/v1/userdata", &[])?),
        Platform::NoCloud(seed) => {
            let url = format!("{seed}user-data");
            ("nocloud", ask(&Method::GET, &url, &[], settings)?)
        }
    };
    of_answer(name, answer)
}

fn of_answer(name: &str, answer: Answer) -> Result<Option<Document>, String> {
    match answer.status {
        200 if answer.body.trim_ascii().is_empty() => Ok(None),
        200 => Ok(Some(Document {
            name: format!("{name}:user-data"),
            bytes: answer.body,
        })),
        404 | 204 => Ok(None),
        status => Err(format!("{name}: the metadata service answered {status}")),
    }
}

/// IMDSv2: nothing is asked without a token, which only a PUT gives.
fn aws_token(base: &str, settings: &Settings) -> Result<String, String> {
    let ttl = (
        "X-aws-ec2-metadata-token-ttl-seconds".to_owned(),
        "300".to_owned(),
    );
    let answer = ask(
        &Method::PUT,
        &format!("{base}/latest/api/token"),
        &[ttl],
        settings,
    )?;
    let token = String::from_utf8(answer.body).ok();
    let plain = |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    match token.filter(plain) {
        Some(token) if answer.status == 200 => Ok(token),
        _ => Err(format!(
            "aws: asked for a token, the metadata service answered {}",
            answer.status
        )),
    }
}

/// Azure hands user data over as it was given: in base64.
fn decoded(answer: Answer) -> Result<Answer, String> {
    if answer.status != 200 {
        return Ok(answer);
    }
    let text = answer.body.trim_ascii();
    let body = BASE64
        .decode(text)
        .map_err(|_| "azure: expected user data in base64".to_owned())?;
    Ok(Answer { body, ..answer })
}
