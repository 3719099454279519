//! `skeg config …`: look at a configuration before it is one, and at the one that is.
//!
//! Nothing here changes the running host: what is applied is what the next boot is built from.

use crate::boot::resolve_for;
use crate::http::Settings;
use crate::kept::{self, Accepted};
use crate::problem::Problem;
use crate::source::{self, Document};
use crate::translate::Resolved;
use crate::tree::{Kind, Tree};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The host's configuration: Ignition 3.0 to 3.5, as Butane makes it.
#[derive(Debug, Parser)]
#[command(
    name = "skeg config",
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 good, 1 errors in the configuration or a difference, 2 wrong usage, 3 it cannot be read or written."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration and show what it comes to
    Check {
        /// An Ignition document; - for standard input
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Show the accepted configuration
    Show {
        #[command(flatten)]
        output: Output,
    },
    /// Show what would change
    Diff {
        /// An Ignition document; none: what the host's source has now
        file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Accept a configuration: the next boot is built from it
    Apply {
        /// An Ignition document; none: what the host's source has now
        file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, Args)]
struct Output {
    /// How to print
    #[arg(long = "output", value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What a verb comes to: what is printed, and the exit code.
type Outcome = Result<(String, u8), String>;

/// Runs `skeg config` with its arguments, the program's name first.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // A service is started without the parser.
    if arguments.len() == 2 && arguments[1] == "boot" {
        return crate::boot::main();
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    match run(&cli.verb) {
        Ok((text, code)) => {
            // Whoever reads may have seen enough.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            ExitCode::from(code)
        }
        Err(text) => {
            eprintln!("skeg config: error: {text}");
            ExitCode::from(3)
        }
    }
}

fn run(verb: &Verb) -> Outcome {
    match verb {
        Verb::Check { file, output } => check(file, *output),
        Verb::Show { output } => show(*output),
        Verb::Diff { file, output } => diff(file.as_deref(), *output),
        Verb::Apply { file, output } => apply(file.as_deref(), *output),
    }
}

fn settings() -> Settings {
    Settings {
        total: Some(Duration::from_secs(30)),
        ..Settings::default()
    }
}

fn read(file: Option<&Path>) -> Result<Document, String> {
    let Some(path) = file else {
        let given = source::given(&source::Places::default(), &settings())?;
        return given.ok_or_else(|| "no source has a configuration for this host".to_owned());
    };
    let bytes = match path.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
        }
        false => std::fs::read(path),
    };
    Ok(Document {
        name: path.display().to_string(),
        bytes: bytes.map_err(|e| format!("read {}: {e}", path.display()))?,
    })
}

fn current() -> Result<Option<Accepted>, String> {
    kept::accepted(&kept::Places::default())
}

fn resolved(file: Option<&Path>) -> Result<(Document, Resolved, Option<Accepted>), String> {
    let document = read(file)?;
    let accepted = current()?;
    let resolved = resolve_for(&document, accepted.as_ref(), settings());
    Ok((document, resolved, accepted))
}

fn check(file: &Path, output: Output) -> Outcome {
    let (_, resolved, _) = resolved(Some(file))?;
    Ok(report(&resolved, output, ToString::to_string))
}

/// Errors, or what `good` says of the tree; then the notes.
fn report(resolved: &Resolved, output: Output, good: impl FnOnce(&Tree) -> String) -> (String, u8) {
    let code = u8::from(resolved.tree.is_none());
    if output.format == Format::Json {
        return (format!("{}\n", as_json(resolved)), code);
    }
    let lines = |kind: &str, all: Vec<String>| -> String {
        all.iter().map(|line| format!("{kind}: {line}\n")).collect()
    };
    let mut text = lines("error", resolved.errors());
    if let Some(tree) = &resolved.tree {
        text += &good(tree);
    }
    (text + &lines("note", resolved.notes()), code)
}

fn as_json(resolved: &Resolved) -> Value {
    let problems = |all: &[Problem]| -> Vec<Value> {
        let one = |p: &Problem| {
            json!({
                "document": resolved.documents.get(p.at.document),
                "line": p.at.line,
                "column": p.at.column,
                "field": p.field,
                "text": p.text,
            })
        };
        all.iter().map(one).collect()
    };
    json!({
        "good": resolved.tree.is_some(),
        "errors": problems(&resolved.findings.errors),
        "notes": problems(&resolved.findings.notes),
        "tree": resolved.tree.as_ref().map(entries),
    })
}

fn entries(tree: &Tree) -> Vec<Value> {
    let one = |(path, entry): (&String, &crate::tree::Entry)| {
        let (kind, size, target) = match &entry.kind {
            Kind::File(bytes) => ("file", Some(bytes.len()), None),
            Kind::Appended(bytes) => ("appended", Some(bytes.len()), None),
            Kind::Folder => ("folder", None, None),
            Kind::Link(target) => ("link", None, Some(target)),
            Kind::HardLink(target) => ("hard-link", None, Some(target)),
        };
        let mode = format!("{:04o}", entry.mode);
        json!({"path": path, "kind": kind, "mode": mode, "uid": entry.uid, "gid": entry.gid, "size": size, "target": target})
    };
    tree.entries.iter().map(one).collect()
}

fn show(output: Output) -> Outcome {
    let Some(accepted) = current()? else {
        return Err("this host has no configuration".to_owned());
    };
    let config = &accepted.config;
    if output.format == Format::Json {
        let mut value = serde_json::to_value(config).map_err(|e| e.to_string())?;
        value["tree"] = accepted.shown.lines().collect();
        return Ok((format!("{value}\n"), 0));
    }
    let head = format!("generation {} from {}\n", config.generation, config.source);
    // A generation of the image's builder says nothing of itself.
    let shown = match accepted.shown.is_empty() {
        true => accepted
            .paths
            .iter()
            .map(|path| format!("{path}\n"))
            .collect(),
        false => accepted.shown,
    };
    Ok((head + &shown, 0))
}

fn diff(file: Option<&Path>, output: Output) -> Outcome {
    let (_, resolved, accepted) = resolved(file)?;
    let Some(tree) = &resolved.tree else {
        return Ok(report(&resolved, output, |_| String::new()));
    };
    let (old, new) = (
        accepted.map(|a| a.shown).unwrap_or_default(),
        tree.to_string(),
    );
    let gone: Vec<&str> = old
        .lines()
        .filter(|line| !new.lines().any(|l| l == *line))
        .collect();
    let come: Vec<&str> = new
        .lines()
        .filter(|line| !old.lines().any(|l| l == *line))
        .collect();
    let code = u8::from(!gone.is_empty() || !come.is_empty());
    if output.format == Format::Json {
        return Ok((
            format!("{}\n", json!({"removed": gone, "added": come})),
            code,
        ));
    }
    let lines = |sign: &str, all: &[&str]| -> String {
        all.iter().map(|line| format!("{sign} {line}\n")).collect()
    };
    Ok((lines("-", &gone) + &lines("+", &come), code))
}

fn apply(file: Option<&Path>, output: Output) -> Outcome {
    let (document, resolved, _) = resolved(file)?;
    let Some(tree) = &resolved.tree else {
        return Ok(report(&resolved, output, |_| String::new()));
    };
    let config = kept::accept(&kept::Places::default(), &document, tree)
        .map_err(|e| format!("keep the configuration: {e}"))?;
    Ok(report(&resolved, output, |_| {
        format!(
            "generation {}: the next boot is built from it\n",
            config.generation
        )
    }))
}
