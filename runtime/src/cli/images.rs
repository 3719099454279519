//! `pull`, `images`, `rmi` and `volume`.
//!
//! Progress goes to standard error, so that standard output holds the id alone.

use std::io::{IsTerminal, Write};

use hyper::Method;

use super::args::{Images, Names, Pull, Volume};
use super::client::{self, escape};
use super::containers::now;
use super::error::CliError;
use super::table::{age, render, row, short, size};
use crate::engine::api::{ImageSummary, Told, VolumeSummary};

pub async fn pull(options: &Pull) -> Result<u8, CliError> {
    let path = format!("/v1/images/pull?reference={}", escape(&options.image));
    let response = client::send(Method::POST, &path, None::<&()>, false).await?;
    let mut progress = Progress::new(options.quiet);
    let mut id = None;
    client::lines(response, |told: Told| {
        match told {
            Told::Image { id: found, .. } => id = Some(found),
            Told::Error(body) => {
                progress.end();
                return Err(CliError {
                    code: 1,
                    ..body.into()
                });
            }
            other => progress.tell(&other),
        }
        Ok(())
    })
    .await?;
    progress.end();
    let id = id
        .ok_or_else(|| CliError::engine("the engine broke off while pulling; see 'skeg status'"))?;
    println!("{id}");
    Ok(0)
}

/// One line for each layer; redrawn on a terminal, told once each elsewhere.
pub struct Progress {
    quiet: bool,
    redraw: bool,
    layers: Vec<(String, String, u64, u64)>,
    drawn: usize,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            redraw: std::io::stderr().is_terminal(),
            layers: Vec::new(),
            drawn: 0,
        }
    }

    pub fn tell(&mut self, told: &Told) {
        let Told::Progress {
            layer,
            phase,
            done,
            total,
        } = told
        else {
            return;
        };
        let new = (layer.clone(), phase.clone(), *done, *total);
        let known = self.layers.iter().position(|l| l.0 == *layer);
        let moved = known.is_none_or(|i| self.layers[i].1 != *phase);
        match known {
            Some(i) => self.layers[i] = new,
            None => self.layers.push(new),
        }
        if self.quiet {
            return;
        }
        if self.redraw {
            self.draw();
        } else if moved && phase == "ready" {
            eprintln!("{layer}: ready, {}", size(*total));
        }
    }

    fn draw(&mut self) {
        let mut out = String::new();
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for (layer, phase, done, total) in &self.layers {
            let figures = format!("{} / {}", size(*done), size(*total));
            out.push_str(&format!("\x1b[2K{layer}  {phase:<11}  {figures}\n"));
        }
        self.drawn = self.layers.len();
        let _ = std::io::stderr().write_all(out.as_bytes());
    }

    pub fn end(&mut self) {
        self.drawn = 0;
    }
}

pub async fn list(options: &Images) -> Result<u8, CliError> {
    let list: Vec<ImageSummary> = client::get("/v1/images").await?;
    if options.quiet {
        list.iter().for_each(|i| println!("{}", short(&i.id)));
    } else if options.format.json() {
        for image in &list {
            println!("{}", super::host::to_json(image)?);
        }
    } else {
        let mut rows = vec![row(["IMAGE", "ID", "PULLED", "SIZE"])];
        for image in &list {
            let names = if image.names.is_empty() {
                &["<none>".to_string()][..]
            } else {
                &image.names[..]
            };
            for name in names {
                let pulled = format!("{} ago", age(now().saturating_sub(image.pulled)));
                rows.push(row([name, &short(&image.id), &pulled, &size(image.size)]));
            }
        }
        print!("{}", render(&rows));
    }
    Ok(0)
}

pub async fn remove(options: &Names) -> Result<u8, CliError> {
    delete(&options.names, "/v1/images?name=").await
}

pub async fn volume(command: &Volume) -> Result<u8, CliError> {
    match command {
        Volume::Rm(options) => delete(&options.names, "/v1/volumes?name=").await,
        Volume::Ls(options) => volumes(options).await,
    }
}

async fn volumes(options: &Images) -> Result<u8, CliError> {
    let list: Vec<VolumeSummary> = client::get("/v1/volumes").await?;
    if options.quiet {
        list.iter().for_each(|v| println!("{}", v.name));
    } else if options.format.json() {
        for volume in &list {
            println!("{}", super::host::to_json(volume)?);
        }
    } else {
        let mut rows = vec![row(["VOLUME", "USED BY", "PATH"])];
        for volume in &list {
            rows.push(row([
                &volume.name,
                &volume.containers.join(", "),
                &volume.path,
            ]));
        }
        print!("{}", render(&rows));
    }
    Ok(0)
}

async fn delete(names: &[String], path: &str) -> Result<u8, CliError> {
    let mut code = 0;
    for name in names {
        match client::order(Method::DELETE, &format!("{path}{}", escape(name))).await {
            Ok(()) => println!("{name}"),
            Err(e) => {
                eprintln!("skeg: error: {e}");
                code = e.code.max(1);
            }
        }
    }
    Ok(code)
}
