//! `image keys`, `release`, `promote`, `rollout`, `freeze`, `thaw`, `renew`, `prune`, and `inspect` of a
//! repository.
//!
//! Looks at the clock here; the rest of publishing is told what time it is.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use formats::channel::{Rollout as Curve, WHOLE};
use formats::name::Name;
use formats::version::Version;

use super::read;
use crate::progress;
use crate::publish::keys::Signers;
use crate::publish::{self, Change, Clock, Publisher};
use crate::uki::Uki;

#[derive(Debug, Args)]
struct Place {
    /// The repository's folder, which a server serves as plain files
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// What is released, e.g. skeg-vm
    #[arg(long, value_name = "NAME")]
    product: Name,
    /// How long what is signed is good, in hours
    #[arg(long, value_name = "HOURS")]
    valid: Option<u64>,
    /// Time to sign with, seconds since the epoch [default: this machine's clock]
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,
}

impl Place {
    fn open(&self, valid_hours: u64) -> Result<Publisher> {
        let clock = Clock {
            now: self.now()?,
            valid: self.valid.unwrap_or(valid_hours).saturating_mul(3600),
        };
        Ok(Publisher::open(
            &self.repository,
            self.product.clone(),
            clock,
        )?)
    }

    fn now(&self) -> Result<u64> {
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok(match self.now {
            Some(now) => now,
            None => clock()
                .context("this machine's clock is before 1970")?
                .as_secs(),
        })
    }
}

const YEAR: u64 = 24 * 365;

#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make keys for all roles, and the first root
    Init(Init),
    /// Make the next root, with the keys of another folder, signed by the old ones
    Rotate(Rotate),
}

#[derive(Debug, Args)]
struct Counts {
    /// Keys that sign roots, and how many of them must: THRESHOLD/KEYS
    #[arg(long, value_name = "K/N", default_value = "2/3", value_parser = threshold)]
    root: (u32, usize),
    /// Keys that sign releases
    #[arg(long, value_name = "K/N", default_value = "2/3", value_parser = threshold)]
    release: (u32, usize),
    /// Keys that sign channels
    #[arg(long, value_name = "K/N", default_value = "1/1", value_parser = threshold)]
    channel: (u32, usize),
}

#[derive(Debug, Args)]
struct Init {
    /// New folder for the keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    #[command(flatten)]
    counts: Counts,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Rotate {
    /// Folder of the old keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Folder of the new keys; roles that it lacks are made
    #[arg(long, value_name = "DIR")]
    new: PathBuf,
    #[command(flatten)]
    counts: Counts,
    #[command(flatten)]
    place: Place,
}

fn threshold(text: &str) -> Result<(u32, usize), String> {
    let parts = text.split_once('/');
    let numbers = parts.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    let (k, n): (u32, usize) = numbers.ok_or("expected THRESHOLD/KEYS, e.g. 2/3")?;
    if k == 0 || k as usize > n {
        return Err("expected a threshold of 1 to the number of keys".to_owned());
    }
    Ok((k, n))
}

pub(super) fn keys(arguments: &Keys) -> Result<()> {
    let path = match &arguments.command {
        KeysCommand::Init(init) => {
            let publisher = init.place.open(YEAR)?;
            let (root, release, channel) = roles(&init.keys, &init.counts)?;
            let threshold = init.counts.root.0;
            publisher.first_root((&root, threshold), release, channel)?
        }
        KeysCommand::Rotate(rotate) => {
            let publisher = rotate.place.open(YEAR)?;
            let old = Signers::read(&rotate.keys.join("root"))?;
            let (root, release, channel) = roles(&rotate.new, &rotate.counts)?;
            let threshold = rotate.counts.root.0;
            publisher.rotate(&old, (&root, threshold), release, channel)?
        }
    };
    println!("{}", path.display());
    Ok(())
}

type Roles = (Signers, formats::root::Keys, formats::root::Keys);

/// The roles' keys; those that are not there are made.
fn roles(folder: &Path, counts: &Counts) -> Result<Roles> {
    let role = |name: &str, count| {
        let folder = folder.join(name);
        if folder.is_dir() {
            Signers::read(&folder)
        } else {
            Signers::make(&folder, count)
        }
    };
    let root = role("root", counts.root.1)?;
    let release = role("release", counts.release.1)?.keys(counts.release.0);
    let channel = role("channel", counts.channel.1)?.keys(counts.channel.0);
    Ok((root, release, channel))
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// The UKI
    file: PathBuf,
    /// Boot loader that travels along
    #[arg(long, value_name = "FILE")]
    loader: Option<PathBuf>,
    /// Folder of the keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// A channel that may ever be at it; may be given more than once
    #[arg(long = "channel", value_name = "NAME", required = true)]
    channels: Vec<Name>,
    /// Oldest version that may go to it in one step
    #[arg(long, value_name = "VERSION", default_value = "0.0.0")]
    minimum: Version,
    /// From how many of the releases before to make patches
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    patches: usize,
    #[command(flatten)]
    place: Place,
}

pub(super) fn release(arguments: &Release) -> Result<()> {
    let uki = read(&arguments.file)?;
    let loader = arguments.loader.as_deref().map(read).transpose()?;
    let version = Uki::read(&uki)
        .with_context(|| arguments.file.display().to_string())?
        .version
        .to_string();
    let publisher = arguments.place.open(YEAR)?;
    let signers = Signers::read(&arguments.keys.join("release"))?;
    let release = publish::Release {
        version: version.parse()?,
        uki: &uki,
        loader: loader.as_deref(),
        channels: arguments.channels.clone(),
        minimum: arguments.minimum,
        patches: arguments.patches,
    };
    let path = progress::timed(&format!("release {version}"), || {
        publish::release(&publisher, &release, &signers)
    })?;
    println!("{}", path.display());
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct Channel {
    /// The channel
    #[arg(long, value_name = "NAME")]
    channel: Name,
    /// Folder of the keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The release
    version: Version,
    #[command(flatten)]
    channel: Channel,
    #[command(flatten)]
    pace: Pace,
}

#[derive(Debug, Args)]
pub(super) struct Rollout {
    #[command(flatten)]
    channel: Channel,
    #[command(flatten)]
    pace: Pace,
}

#[derive(Debug, Args)]
struct Pace {
    /// When hosts begin to take it, seconds since the epoch [default: now]
    #[arg(long, value_name = "SECONDS")]
    start: Option<u64>,
    /// Share of hosts after a time, e.g. 1h:1%,6h:10%,2d:100%; none: all at once
    #[arg(long, value_name = "CURVE", default_value = "", value_parser = curve)]
    curve: Points,
}

#[derive(Debug, Clone)]
struct Points(Vec<(u64, u32)>);

/// `1h:1%,2d:100%` as seconds and millionths.
fn curve(text: &str) -> Result<Points, String> {
    let point = |point: &str| {
        let (time, share) = point.split_once(':')?;
        let unit = match time.chars().next_back()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            _ => return None,
        };
        let time: u64 = time[..time.len() - 1].parse().ok()?;
        let share: f64 = share.strip_suffix('%')?.parse().ok()?;
        let share = (0.0..=100.0).contains(&share).then_some(share)?;
        Some((
            time.checked_mul(unit)?,
            (share / 100.0 * f64::from(WHOLE)).round() as u32,
        ))
    };
    let points = text.split(',').filter(|point| !point.is_empty());
    let bad = |text: &str| format!("{text:?}: expected TIME:SHARE, e.g. 6h:10% (s, m, h, d)");
    let points = points.map(|text| point(text).ok_or_else(|| bad(text)));
    Ok(Points(points.collect::<Result<_, _>>()?))
}

impl Channel {
    fn change(&self, change: impl FnOnce(u64) -> Change) -> Result<()> {
        // A week: long enough for a holiday, short enough that a freeze cannot be kept from hosts.
        let publisher = self.place.open(24 * 7)?;
        let signers = Signers::read(&self.keys.join("channel"))?;
        let change = change(self.place.now()?);
        let path = publisher.change(&self.channel, change, &signers)?;
        println!("{}", path.display());
        Ok(())
    }
}

impl Pace {
    fn rollout(&self, now: u64) -> Curve {
        Curve {
            start: self.start.unwrap_or(now),
            curve: self.curve.0.clone(),
        }
    }
}

pub(super) fn promote(arguments: &Promote) -> Result<()> {
    let Promote {
        version,
        channel,
        pace,
    } = arguments;
    channel.change(|now| Change::Promote(*version, pace.rollout(now)))
}

pub(super) fn rollout(arguments: &Rollout) -> Result<()> {
    let change = |now| Change::Rollout(arguments.pace.rollout(now));
    arguments.channel.change(change)
}

pub(super) fn freeze(arguments: &Channel, frozen: bool) -> Result<()> {
    arguments.change(|_| Change::Freeze(frozen))
}

pub(super) fn renew(arguments: &Channel) -> Result<()> {
    arguments.change(|_| Change::Renew)
}

#[derive(Debug, Args)]
pub(super) struct Prune {
    /// How many of the newest releases stay, whether a channel is at them or not
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    keep: usize,
    #[command(flatten)]
    place: Place,
}

pub(super) fn prune(arguments: &Prune) -> Result<()> {
    let publisher = arguments.place.open(YEAR)?;
    let gone = publish::prune(&publisher, arguments.keep)?;
    println!("{gone} objects removed");
    Ok(())
}

/// All products, channels and releases of a repository.
pub(super) fn inspect(folder: &Path) -> Result<()> {
    let products = folder.join("skeg");
    let entries = std::fs::read_dir(&products);
    let entries = entries.with_context(|| format!("read {}", products.display()))?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<Name> = names.filter_map(|name| name.parse().ok()).collect();
    names.sort();
    if names.is_empty() {
        bail!("{}: no product: make keys first", folder.display());
    }
    for product in names {
        let clock = Clock { now: 0, valid: 1 };
        let publisher = Publisher::open(folder, product.clone(), clock)?;
        println!("{product}");
        for channel in publisher.channels()? {
            println!(
                "  channel {}: {}, document {} until {}{}",
                channel.channel,
                channel.release.version,
                channel.counter,
                channel.expires,
                if channel.frozen { ", frozen" } else { "" },
            );
        }
        for version in publisher.versions() {
            let (manifest, _) = publisher.manifest(version)?;
            let length: u64 = manifest.files.iter().map(|file| file.length).sum();
            println!(
                "  release {version}: {length} bytes, commit {}",
                manifest.commit
            );
        }
    }
    Ok(())
}
