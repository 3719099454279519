//! `ps`, `start`, `stop`, `restart`, `kill`, `rm`, `wait`, `inspect`.
//!
//! Each name is handled by itself: one that fails does not stop the others.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Method;

use super::args::{Kill, Names, Ps, Rm, Stop};
use super::client::{self, escape};
use super::error::CliError;
use super::table::{age, cut, render, row, short};
use crate::engine::api::{Summary, Waited};
use crate::engine::record::{Health, Phase};

pub async fn list(options: &Ps) -> Result<u8, CliError> {
    let all = if options.all { "?all=true" } else { "" };
    let list: Vec<Summary> = client::get(&format!("/v1/containers{all}")).await?;
    if options.quiet {
        list.iter().for_each(|c| println!("{}", short(&c.id)));
    } else if options.format.json() {
        for container in &list {
            println!("{}", super::host::to_json(container)?);
        }
    } else {
        print!("{}", containers(&list, now()));
    }
    Ok(0)
}

/// The table of `ps`.
pub fn containers(list: &[Summary], now: u64) -> String {
    let mut rows = vec![row([
        "CONTAINER",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAME",
    ])];
    for c in list {
        let ports: Vec<String> = c.ports.iter().map(ToString::to_string).collect();
        rows.push(row([
            &short(&c.id),
            &cut(&c.image, 40),
            &cut(&c.command, 24),
            &format!("{} ago", age(now.saturating_sub(c.created))),
            &state(c, now),
            &ports.join(", "),
            &c.name,
        ]));
    }
    render(&rows)
}

/// `Up 3 minutes`, `Exited (1) 2 hours ago`, …
pub fn state(c: &Summary, now: u64) -> String {
    let ended = c.exit.map_or(now, |e| e.at_ns / 1_000_000_000);
    let ago = age(now.saturating_sub(ended));
    match (c.phase, c.exit) {
        (Phase::Running, _) => {
            let up = age(now.saturating_sub(c.started.unwrap_or(now)));
            let mut notes = Vec::new();
            notes.extend(c.health.map(|health| match health {
                Health::Starting => "health: starting".into(),
                health => health.to_string(),
            }));
            notes.extend(c.waiting.then(|| "not ready yet".to_owned()));
            notes.extend((c.restarts > 0).then(|| format!("restarted {} times", c.restarts)));
            match notes.is_empty() {
                true => format!("Up {up}"),
                false => format!("Up {up} ({})", notes.join(", ")),
            }
        }
        (Phase::Stopping, _) => "Stopping".into(),
        (Phase::Starting, _) => "Starting".into(),
        (Phase::Created, _) if c.error.is_none() => "Created".into(),
        (Phase::Restarting, Some(_)) if c.late => {
            format!("Restarting (not ready in time) {ago} ago")
        }
        (Phase::Restarting, Some(exit)) => format!("Restarting ({}) {ago} ago", exit.code),
        (Phase::Restarting, None) => "Restarting (not started)".into(),
        (Phase::Exited, Some(exit)) if c.error.is_none() => {
            let oom = match (exit.oom, c.late) {
                (true, _) => ", out of memory",
                (false, true) => ", not ready in time",
                (false, false) => "",
            };
            format!("Exited ({}{oom}) {ago} ago", exit.code)
        }
        _ => "Failed to start".into(),
    }
}

pub async fn start(options: &Names) -> Result<u8, CliError> {
    each(&options.names, async |name| {
        client::order(Method::POST, &path(name, "start")).await
    })
    .await
}

pub async fn stop(options: &Stop) -> Result<u8, CliError> {
    each(&options.names, async |name| {
        client::order(Method::POST, &with_time(name, "stop", options.time)).await
    })
    .await
}

pub async fn restart(options: &Stop) -> Result<u8, CliError> {
    each(&options.names, async |name| {
        client::order(Method::POST, &with_time(name, "restart", options.time)).await
    })
    .await
}

pub async fn kill(options: &Kill) -> Result<u8, CliError> {
    let verb = format!("kill?signal={}", options.signal);
    each(&options.names, async |name| {
        client::order(Method::POST, &path(name, &verb)).await
    })
    .await
}

pub async fn remove(options: &Rm) -> Result<u8, CliError> {
    let force = options.force;
    each(&options.names, async |name| {
        let path = format!("/v1/containers/{}?force={force}", escape(name));
        client::order(Method::DELETE, &path).await
    })
    .await
}

pub async fn wait(options: &Names) -> Result<u8, CliError> {
    for name in &options.names {
        let waited: Waited = client::json(Method::POST, &path(name, "wait"), None::<&()>).await?;
        println!("{}", waited.code);
    }
    Ok(0)
}

pub async fn inspect(options: &Names) -> Result<u8, CliError> {
    let mut found = Vec::new();
    for name in &options.names {
        let value: serde_json::Value =
            client::get(&format!("/v1/containers/{}", escape(name))).await?;
        found.push(value);
    }
    let text = serde_json::to_string_pretty(&found)
        .map_err(|e| CliError::engine(format!("print the answer: {e}")))?;
    println!("{text}");
    Ok(0)
}

async fn each(
    names: &[String],
    act: impl AsyncFn(&str) -> Result<(), CliError>,
) -> Result<u8, CliError> {
    let mut code = 0;
    for name in names {
        match act(name).await {
            Ok(()) => println!("{name}"),
            Err(e) if names.len() == 1 => {
                return Err(CliError {
                    code: one(e.code),
                    ..e
                });
            }
            Err(e) => {
                eprintln!("skeg: error: {e}");
                code = one(e.code);
            }
        }
    }
    Ok(code)
}

/// Verbs other than `run` and `exec` end with 1, as docker's; a dead engine stays 125.
fn one(code: u8) -> u8 {
    if code == 0 { 1 } else { code }
}

fn path(name: &str, verb: &str) -> String {
    format!("/v1/containers/{}/{verb}", escape(name))
}

fn with_time(name: &str, verb: &str, time: Option<u64>) -> String {
    let time = time.map_or(String::new(), |t| format!("?timeout={t}"));
    path(name, &format!("{verb}{time}"))
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
