//! Fetches what a channel is at, onto a file: `fetch URL|FOLDER ROOT CHANNEL RUNNING BASE OUT`.
//!
//! By hand, and to measure: prints what came over the wire and the peak of its own memory.

use std::fs;
use std::io::Write;
use std::path::Path;

use formats::manifest::Role;
use updater::fetch::{
    Assembly, Base, Download, FolderSource, HttpSource, Mirror, Settings, Source, look,
};
use updater::reader::Reader;
use updater::trust::{Clock, Host, Memory, TrustedRoot};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [place, root, channel, running, base, out] = words.as_slice() else {
        return Err("expected URL|FOLDER ROOT CHANNEL RUNNING BASE OUT".into());
    };
    let mut source = if place.starts_with("http") {
        let mut settings = Settings::default();
        if let Ok(authority) = std::env::var("CA") {
            settings.authorities = vec![authority.into()];
        }
        Mirror::Http(Box::new(HttpSource::new(place, settings)?))
    } else {
        Mirror::Folder(FolderSource::new(Path::new(place)))
    };
    let root = TrustedRoot::pinned(&fs::read(root)?)?;
    let channel = channel.parse()?;
    let host = Host {
        channel: &channel,
        running: running.parse()?,
        denied: &|_| None,
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let clock = Clock { now: now.as_secs() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let look = look(&mut source, root, &host, &Memory::default(), clock).await?;
        let release = look.release.ok_or("nothing newer")??;
        let looked = source.asked();
        let base = Some(Base::open(Path::new(base))?);
        let reader = Reader::new(source);
        let mut assembly = Assembly::begin(reader, &release, Role::Uki, base, 0).await?;
        let mut file = fs::File::create(out)?;
        while let Some(bytes) = assembly.next().await? {
            file.write_all(&bytes)?;
        }
        println!("looked: {looked:?}\nfetched: {:?}", assembly.counted());
        Outcome::Ok(())
    })?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("{}", peak.unwrap_or_default());
    Ok(())
}
