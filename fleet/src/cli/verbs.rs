//! What each verb does.
//!
//! A verb that changes units waits until the cluster has done it, unless it is told not to.

use super::client::Client;
use super::tables::{cell, pairs, print, short};
use super::{Arguments, Daemon, Output, Units, Verb, files};
use crate::daemon;
use crate::etcd::init::init;
use formats::fleet::UnitName;
use hyper::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

type Done = Result<(), String>;

pub(super) fn run(arguments: Arguments) -> Done {
    match &arguments.verb {
        Verb::Engine(Daemon { config }) => {
            daemon::run(daemon::engine::run(daemon::Config::load(config)?))
        }
        Verb::Agent(Daemon { config }) => {
            daemon::run(daemon::agent::run(daemon::Config::load(config)?))
        }
        Verb::Init {
            config,
            passwords,
            machines,
        } => {
            let machines: Result<Vec<_>, _> = machines.iter().map(|id| id.parse()).collect();
            let machines = machines.map_err(|e| format!("{e}"))?;
            let config = daemon::Config::load(config)?;
            daemon::run(init(&config.etcd, passwords, &machines))
        }
        Verb::Verify { files } => {
            let wrong: Vec<String> = files
                .iter()
                .filter_map(|file| files::verify(file).err())
                .collect();
            if wrong.is_empty() {
                Ok(())
            } else {
                Err(wrong.join("\n"))
            }
        }
        Verb::Ssh { words } => Err(refused(
            "ssh",
            words,
            "use ssh itself, with an address of list-machines",
        )),
        Verb::FdForward { words } => Err(refused(
            "fd-forward",
            words,
            "it tunnelled fleetctl over SSH: use --endpoint with TLS and a token",
        )),
        Verb::Journal { words } => Err(refused(
            "journal",
            words,
            "read it on the machine that `status` names, with `skeg logs` or journalctl",
        )),
        _ => daemon::run(ask(&arguments)),
    }
}

fn refused(verb: &str, words: &[String], instead: &str) -> String {
    format!(
        "{verb} {}is not here: {instead}",
        words.first().map_or(String::new(), |w| format!("{w} "))
    )
}

async fn ask(arguments: &Arguments) -> Done {
    let api = Api {
        client: Client::new(arguments)?,
        output: arguments.output,
        legend: !arguments.no_legend,
    };
    match &arguments.verb {
        Verb::Submit(units) => api.wish(units, "inactive", true).await,
        Verb::Load(units) | Verb::Stop(units) => api.wish(units, "loaded", false).await,
        Verb::Start(units) => api.wish(units, "launched", false).await,
        Verb::Unload(units) => api.wish(units, "inactive", false).await,
        Verb::Destroy(units) => api.destroy(units).await,
        Verb::Cat { unit } => {
            let unit = api.client.get(&path(unit)?).await?;
            print!("{}", unit["text"].as_str().unwrap_or_default());
            Ok(())
        }
        Verb::ListUnits => api.list_units().await,
        Verb::ListUnitFiles => api.list_unit_files().await,
        Verb::ListMachines => api.list_machines().await,
        Verb::Status { units } => api.status(units).await,
        Verb::Why { unit } => {
            let why = api.client.get(&format!("{}/why", path(unit)?)).await?;
            api.show(&why, || println!("{}", cell(&why["why"])));
            Ok(())
        }
        Verb::Apply { from } => api.apply(from).await,
        Verb::Cordon { machine } => api.duty(machine, "cordoned").await,
        Verb::Drain { machine } => api.duty(machine, "drains").await,
        Verb::Uncordon { machine } => api.duty(machine, "serves").await,
        Verb::Forget { machine } => {
            let path = format!("/fleet/v2/machines/{}", plain(machine)?);
            api.client.ask(Method::DELETE, &path, None).await.map(drop)
        }
        Verb::LiftBrake => api
            .client
            .ask(Method::POST, "/fleet/v2/brake/lift", None)
            .await
            .map(drop),
        Verb::Rollout { template, no_block } => api.rollout(template, *no_block).await,
        Verb::Reboots => api.reboots().await,
        Verb::RebootSlots { group, slots } => {
            let path = format!("/fleet/v2/reboots/{}", simple(group)?);
            let body = json!({ "slots": slots });
            api.client
                .ask(Method::PUT, &path, Some(body))
                .await
                .map(drop)
        }
        Verb::RebootRelease { group, id } => {
            let path = format!("/fleet/v2/reboots/{}/{}", simple(group)?, simple(id)?);
            api.client.ask(Method::DELETE, &path, None).await.map(drop)
        }
        Verb::Health => {
            let health = api.client.get("/fleet/v2/health").await?;
            println!("{health:#}");
            Ok(())
        }
        _ => Err("it is done without the API".to_owned()),
    }
}

/// A name as part of a path: it has nothing that would have to be escaped.
pub(super) fn path(unit: &str) -> Result<String, String> {
    let name: UnitName = unit.parse().map_err(|e| format!("{e}"))?;
    Ok(format!("/fleet/v2/units/{name}").replace('\\', "%5C"))
}

/// A word as part of a path: it has nothing that would have to be escaped.
fn simple(word: &str) -> Result<&str, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (word.bytes().all(allowed) && !word.is_empty())
        .then_some(word)
        .ok_or_else(|| format!("expected letters, digits and -._, found {word:?}"))
}

fn plain(machine: &str) -> Result<&str, String> {
    let digits = machine.bytes().all(|b| b.is_ascii_hexdigit());
    (digits && !machine.is_empty())
        .then_some(machine)
        .ok_or_else(|| format!("expected a machine's id or how it begins, found {machine:?}"))
}

pub(super) struct Api {
    pub(super) client: Client,
    output: Output,
    pub(super) legend: bool,
}

impl Api {
    pub(super) fn show(&self, value: &Value, table: impl FnOnce()) {
        match self.output {
            Output::Json => println!("{value:#}"),
            Output::Table => table(),
        }
    }

    /// Sends texts and a desired state, then waits for it.
    async fn wish(&self, units: &Units, desired: &str, only_new: bool) -> Done {
        let mut names = Vec::new();
        for word in &units.units {
            let (name, text) = files::named(word)?;
            self.one(&name, text, desired, units.replace, only_new)
                .await?;
            names.push(name);
        }
        if !units.no_block && !only_new {
            self.wait(&names, desired, Duration::from_secs(units.wait))
                .await?;
        }
        Ok(())
    }

    async fn one(
        &self,
        name: &UnitName,
        text: Option<String>,
        desired: &str,
        replace: bool,
        only_new: bool,
    ) -> Done {
        let path = path(name.as_str())?;
        let there = self.client.get(&path).await;
        let mut body = json!({ "desiredState": desired });
        match (&there, text) {
            (Ok(unit), Some(text)) if unit["text"] != text.as_str() => {
                if replace {
                    body["text"] = text.into();
                } else {
                    eprintln!(
                        "skeg fleet: {name} differs from the cluster's, which is kept: take it with --replace"
                    );
                }
            }
            (Ok(_), _) => {}
            (Err(_), Some(text)) => body["text"] = text.into(),
            (Err(error), None) => body["text"] = self.of_template(name, error).await?.into(),
        }
        if only_new && there.is_ok() && body.get("text").is_none() {
            return Ok(());
        }
        if only_new && let Ok(unit) = &there {
            body["desiredState"] = unit["desiredState"].clone();
        }
        self.client
            .ask(Method::PUT, &path, Some(body))
            .await
            .map(drop)
            .map_err(|e| format!("{name}: {e}"))
    }

    /// An instance without a file gets its template's text.
    async fn of_template(&self, name: &UnitName, error: &str) -> Result<String, String> {
        let Some(template) = name.template() else {
            return Err(format!("{name}: {error}"));
        };
        let unit = self.client.get(&path(template.as_str())?).await;
        let unit = unit.map_err(|e| format!("{name}: {error}, nor does {template}: {e}"))?;
        Ok(cell(&unit["text"]))
    }

    async fn wait(&self, names: &[UnitName], desired: &str, time: Duration) -> Done {
        let until = Instant::now() + time;
        for name in names {
            loop {
                let unit = self.client.get(&path(name.as_str())?).await?;
                if reached(&unit, desired) {
                    let machine = unit["on"][0]["machine"].clone();
                    println!("Unit {name} {desired} on {}", short(&machine));
                    break;
                }
                if Instant::now() > until {
                    let why = self
                        .client
                        .get(&format!("{}/why", path(name.as_str())?))
                        .await?;
                    return Err(format!(
                        "{name} is not {desired} after {} s: {}",
                        time.as_secs(),
                        cell(&why["why"])
                    ));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    async fn destroy(&self, units: &Units) -> Done {
        for word in &units.units {
            let (name, _) = files::named(word)?;
            let path = path(name.as_str())?.replace("/v2/", "/v1/");
            self.client
                .ask(Method::DELETE, &path, None)
                .await
                .map_err(|e| format!("{name}: {e}"))?;
            println!("Destroyed {name}");
        }
        Ok(())
    }

    async fn list_units(&self) -> Done {
        let all = self.client.get("/fleet/v2/units").await?;
        self.show(&all, || {
            let mut rows = Vec::new();
            for unit in all["units"].as_array().into_iter().flatten() {
                let on = unit["on"].as_array().into_iter().flatten();
                for on in on.filter(|on| on["unit"] == unit["name"]) {
                    rows.push(vec![
                        cell(&unit["name"]),
                        short(&on["machine"]),
                        cell(&on["active"]),
                        cell(&on["sub"]),
                    ]);
                }
            }
            print(&["UNIT", "MACHINE", "ACTIVE", "SUB"], &rows, self.legend);
        });
        Ok(())
    }

    async fn list_unit_files(&self) -> Done {
        let all = self.client.get("/fleet/v2/units").await?;
        self.show(&all, || {
            let units = all["units"].as_array().into_iter().flatten();
            let units = units.filter(|unit| unit["of"].is_null());
            let row = |unit: &Value| {
                let target = if unit["global"] == true {
                    "global".to_owned()
                } else if let Some(count) = unit["count"].as_u64() {
                    format!("{count} instances")
                } else {
                    short(&unit["machine"])
                };
                vec![
                    cell(&unit["name"]),
                    cell(&unit["desiredState"]),
                    cell(&unit["currentState"]),
                    target,
                ]
            };
            let rows: Vec<_> = units.map(row).collect();
            print(&["UNIT", "DSTATE", "STATE", "TARGET"], &rows, self.legend);
        });
        Ok(())
    }

    async fn list_machines(&self) -> Done {
        let all = self.client.get("/fleet/v2/machines").await?;
        self.show(&all, || {
            let machines = all["machines"].as_array().into_iter().flatten();
            let row = |machine: &Value| {
                let state = if machine["alive"] == false {
                    "lost".to_owned()
                } else {
                    cell(&machine["duty"])
                };
                let state = if state == "-" {
                    "serves".to_owned()
                } else {
                    state
                };
                vec![
                    short(&machine["id"]),
                    state,
                    cell(&machine["units"]),
                    pairs(&machine["metadata"]),
                ]
            };
            let rows: Vec<_> = machines.map(row).collect();
            print(
                &["MACHINE", "STATE", "UNITS", "METADATA"],
                &rows,
                self.legend,
            );
        });
        Ok(())
    }

    async fn status(&self, units: &[String]) -> Done {
        for unit in units {
            let found = self
                .client
                .get(&path(unit)?)
                .await
                .map_err(|e| format!("{unit}: {e}"))?;
            self.show(&found, || {
                println!(
                    "{unit}: wanted {}, is {}",
                    cell(&found["desiredState"]),
                    cell(&found["currentState"])
                );
                for on in found["on"].as_array().into_iter().flatten() {
                    println!(
                        "  {} {} ({})",
                        short(&on["machine"]),
                        cell(&on["active"]),
                        cell(&on["sub"])
                    );
                }
            });
        }
        Ok(())
    }

    /// Templates without `Count=` are told, all else is started.
    async fn apply(&self, from: &std::path::Path) -> Done {
        for file in files::below(from)? {
            let (name, text) = files::named(&file.display().to_string())?;
            let counted = text.as_deref().is_some_and(|t| files::is_counted(&name, t));
            let desired = if name.is_template() && !counted {
                "inactive"
            } else {
                "launched"
            };
            self.one(&name, text, desired, true, false).await?;
            println!("{name} {desired}");
        }
        Ok(())
    }

    async fn duty(&self, machine: &str, duty: &str) -> Done {
        let path = format!("/fleet/v2/machines/{}/duty", plain(machine)?);
        self.client
            .ask(Method::PUT, &path, Some(json!({ "duty": duty })))
            .await
            .map(drop)
    }
}

/// Whether the cluster has done what was asked.
fn reached(unit: &Value, desired: &str) -> bool {
    let on = unit["on"].as_array().map_or(&[][..], Vec::as_slice);
    let wanted = unit["count"].as_u64().unwrap_or(1);
    let enough = u64::try_from(on.len()).is_ok_and(|on| on >= wanted);
    match desired {
        "inactive" => on.is_empty(),
        "launched" => enough && on.iter().all(|on| on["active"] == "active"),
        _ if !unit["count"].is_null() => enough && on.iter().all(|on| on["active"] == "inactive"),
        _ => unit["currentState"] == desired && on.iter().all(|on| on["active"] == "inactive"),
    }
}
