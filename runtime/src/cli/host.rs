//! `status`, `version`, `poweroff`, `reboot`.
//!
//! The host's part comes from PID 1's own file, so `status` still says something without an engine.

use formats::registration::Power;
use formats::status::Status as HostStatus;
use serde::Serialize;

use super::args::{Format, Status};
use super::client;
use super::containers::{self, now};
use super::error::CliError;
use super::table::{render, row};
use crate::engine::api::{EngineStatus, Summary, UnitState, UnitSummary};
use crate::engine::init_client;

/// Everything that `status` shows.
#[derive(Debug, Default, Serialize)]
pub struct Everything {
    pub host: Option<HostStatus>,
    pub host_error: Option<String>,
    pub engine: Option<EngineStatus>,
    pub engine_error: Option<String>,
    pub units: Vec<UnitSummary>,
    pub containers: Vec<Summary>,
}

pub async fn status(options: &Status) -> Result<u8, CliError> {
    let mut all = Everything::default();
    match host_status() {
        Ok(status) => all.host = Some(status),
        Err(e) => all.host_error = Some(e),
    }
    match client::get("/v1/status").await {
        Ok(status) => {
            all.engine = Some(status);
            all.units = client::get("/v1/units").await?;
            all.containers = client::get("/v1/containers?all=true").await?;
        }
        Err(e) => all.engine_error = Some(e.message),
    }
    if options.format.json() {
        println!("{}", to_json(&all)?);
    } else {
        print!("{}", draw(&all, now()));
    }
    Ok(u8::from(all.engine.is_none() && all.host.is_none()))
}

fn host_status() -> Result<HostStatus, String> {
    let path = formats::paths::STATUS;
    let text = std::fs::read(path).map_err(|e| format!("read {path}: {e}"))?;
    let status: HostStatus =
        serde_json::from_slice(&text).map_err(|e| format!("read {path}: {e}"))?;
    if status.format != formats::status::FORMAT {
        return Err(format!(
            "{path}: expected format {}, found {}",
            formats::status::FORMAT,
            status.format
        ));
    }
    Ok(status)
}

/// The page of `status`.
pub fn draw(all: &Everything, now: u64) -> String {
    let mut out = String::new();
    let troubles = troubles(all);
    match troubles.len() {
        0 => out.push_str("healthy\n"),
        n => out.push_str(&format!(
            "degraded: {n} thing{} to look at\n",
            if n == 1 { "" } else { "s" }
        )),
    }
    for trouble in &troubles {
        out.push_str(&format!("  ! {trouble}\n"));
    }
    if let Some(host) = &all.host {
        let mut rows = vec![row(["SERVICE", "STATE", "PID", "RESTARTS", ""])];
        for s in &host.services {
            let pid = s.pid.map_or(String::new(), |p| p.to_string());
            rows.push(row([
                &s.name,
                s.state.as_str(),
                &pid,
                &s.restarts.to_string(),
                &s.text,
            ]));
        }
        section(&mut out, &rows);
    }
    if !all.units.is_empty() {
        let mut rows = vec![row(["UNIT", "STATE", "DESCRIPTION"])];
        for unit in &all.units {
            rows.push(row([&unit.name, word(unit.state), &unit.description]));
        }
        section(&mut out, &rows);
    }
    if !all.containers.is_empty() {
        out.push('\n');
        out.push_str(&containers::containers(&all.containers, now));
    }
    out
}

fn section(out: &mut String, rows: &[Vec<String>]) {
    out.push('\n');
    out.push_str(&render(rows));
}

fn troubles(all: &Everything) -> Vec<String> {
    let host = all.host.iter().flat_map(|h| &h.degraded);
    let mut troubles: Vec<String> = host.map(|d| format!("{}: {}", d.name, d.text)).collect();
    troubles.extend(all.host_error.clone());
    troubles.extend(all.engine_error.clone());
    troubles.extend(all.engine.iter().flat_map(|e| e.degraded.clone()));
    for unit in &all.units {
        let own = unit.problems.iter().map(|p| {
            // A file's own problems name the file and the line already.
            if p.starts_with('/') {
                p.clone()
            } else {
                format!("{}: {p}", unit.name)
            }
        });
        troubles.extend(own);
        if unit.problems.is_empty() && unit.state == UnitState::Failed {
            troubles.push(format!(
                "{}: failed; see 'skeg logs {}'",
                unit.name, unit.name
            ));
        }
    }
    troubles
}

fn word(state: UnitState) -> &'static str {
    match state {
        UnitState::Inactive => "inactive",
        UnitState::Activating => "activating",
        UnitState::Active => "active",
        UnitState::Deactivating => "deactivating",
        UnitState::Failed => "failed",
    }
}

pub async fn version(options: &Format) -> Result<u8, CliError> {
    let engine: Result<EngineStatus, CliError> = client::get("/v1/status").await;
    let client = env!("CARGO_PKG_VERSION");
    if options.json() {
        let engine = engine.ok().map(|e| e.version);
        println!(
            "{}",
            to_json(&serde_json::json!({"client": client, "engine": engine}))?
        );
        return Ok(0);
    }
    println!("skeg {client}");
    match engine {
        Ok(engine) => println!("engine {}", engine.version),
        Err(e) => println!("engine: {e}"),
    }
    Ok(0)
}

/// Asks PID 1 to shut down in order.
pub fn power(power: Power) -> Result<u8, CliError> {
    init_client::power(power).map_err(|e| CliError {
        message: e.to_string(),
        code: 1,
    })?;
    Ok(0)
}

/// One line of JSON.
pub fn to_json(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string(value).map_err(|e| CliError::engine(format!("print the answer: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::{ExitRecord, Phase};

    fn unit(name: &str, state: UnitState, problems: &[&str]) -> UnitSummary {
        UnitSummary {
            name: name.into(),
            path: format!("/etc/containers/systemd/{name}"),
            description: "A page".into(),
            state,
            problems: problems.iter().map(ToString::to_string).collect(),
        }
    }

    fn container(name: &str, phase: Phase, code: Option<u8>) -> Summary {
        Summary {
            id: "0123456789abcdef".repeat(4),
            name: name.into(),
            image: "localhost/web:1".into(),
            command: "httpd -f".into(),
            created: 1000,
            phase,
            pid: None,
            started: Some(1010),
            exit: code.map(|code| ExitRecord {
                code,
                at_ns: 1_030_000_000_000,
                oom: false,
            }),
            error: None,
            restarts: 0,
            ports: Vec::new(),
            ip: None,
            unit: None,
            health: None,
            waiting: false,
            late: false,
        }
    }

    #[test]
    fn the_page_names_what_is_wrong_first_and_where() {
        let all = Everything {
            engine: Some(EngineStatus::default()),
            units: vec![
                unit("web.service", UnitState::Active, &[]),
                unit("job.service", UnitState::Failed, &[]),
                unit(
                    "bad.container",
                    UnitState::Failed,
                    &[
                        "/etc/x/bad.container:3: unknown key 'Imge' in [Container], did you mean 'Image'?",
                    ],
                ),
            ],
            containers: vec![
                container("web", Phase::Running, None),
                container("job", Phase::Exited, Some(3)),
            ],
            ..Everything::default()
        };
        let expected = "\
degraded: 2 things to look at
  ! job.service: failed; see 'skeg logs job.service'
  ! /etc/x/bad.container:3: unknown key 'Imge' in [Container], did you mean 'Image'?

UNIT           STATE   DESCRIPTION
web.service    active  A page
job.service    failed  A page
bad.container  failed  A page

CONTAINER     IMAGE            COMMAND   CREATED        STATUS                     PORTS  NAME
0123456789ab  localhost/web:1  httpd -f  1 minute ago   Up 1 minute                       web
0123456789ab  localhost/web:1  httpd -f  1 minute ago   Exited (3) 40 seconds ago         job
";
        let drawn = draw(&all, 1070);
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&drawn), squeeze(expected), "{drawn}");
    }

    #[test]
    fn a_healthy_host_is_one_word_and_its_tables() {
        let all = Everything {
            engine: Some(EngineStatus::default()),
            ..Everything::default()
        };
        assert_eq!(draw(&all, 0), "healthy\n");
    }
}
