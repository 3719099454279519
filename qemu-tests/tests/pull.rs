//! Pulls from registries that lie or break off: a clear error, and nothing half-made is left.
//!
//! One machine pulls from all of them: each has its own port.

use anyhow::{Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::faulty::{Fault, Faulty};
use qemu_tests::fixtures::web;
use qemu_tests::scene::READY;
use qemu_tests::{Disk, Image, Running};

/// A configuration that allows plain HTTP to all of these.
fn config(registries: &[&Faulty]) -> Config {
    let allow = |registry: &&Faulty| {
        let port = registry.port();
        format!("[[registry]]\nlocation = \"10.0.2.2:{port}\"\ninsecure = true\n\n")
    };
    let text: String = registries.iter().map(allow).collect();
    Config::new().file("containers/registries.conf", &text)
}

/// The files of the store whose names belong to a layer.
fn traces(machine: &Running, digest: &str) -> Result<Vec<String>> {
    let digits = digest.trim_start_matches("sha256:");
    let mut tree = machine.tree("/var/lib/skeg")?;
    tree.retain(|path| path.contains(digits));
    Ok(tree)
}

#[test]
fn a_layer_that_is_not_what_the_manifest_says_is_refused_and_leaves_nothing() -> Result<()> {
    let test = Test::named("faulty-registries")?;
    let layout = web::image()?;
    let layers = layout.layers()?;
    let last = layers.last().map(String::as_str).unwrap_or_default();
    let serve = |fault| Faulty::serve(&layout, fault);
    let faulty = [
        ("digest", serve(Fault::WrongDigest)?),
        ("bytes", serve(Fault::TooLong)?),
        ("bytes", serve(Fault::TooShort)?),
        ("bytes", serve(Fault::Cut)?),
    ];
    let (once, honest) = (serve(Fault::CutOnce)?, serve(Fault::None)?);
    let mut all: Vec<&Faulty> = faulty.iter().map(|(_, registry)| registry).collect();
    all.extend([&once, &honest]);

    let image = Image::built("test")?;
    let disk = Disk::fresh(&test, &image, &config(&all))?;
    let machine = test.boot(&image).with_disk(&disk).start()?;
    machine.console().wait("service:engine", READY)?;
    for (word, registry) in &faulty {
        let name = registry.name("web");
        let pull = machine.run(["/usr/bin/skeg", "pull", &name])?;
        let error = pull.stderr.text();
        ensure!(pull.code != 0, "{name}: pulled");
        ensure!(error.contains(last), "{name}: which layer? {error}");
        ensure!(error.contains(word), "{name}: what is wrong? {error}");
        let images = machine.skeg(&["images"])?;
        ensure!(
            !images.contains("web"),
            "{name}: half-made image:\n{images}"
        );
        let traces = traces(&machine, last)?;
        ensure!(traces.is_empty(), "{name}: half-made layer: {traces:?}");
    }

    for registry in [&once, &honest] {
        let name = registry.name("web");
        machine.skeg(&["pull", &name])?;
        ensure!(
            machine.skeg(&["images"])?.contains("web"),
            "{name}: no image"
        );
    }
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

#[test]
fn plain_http_is_refused_where_it_is_not_configured() -> Result<()> {
    let test = Test::named("plain-http")?;
    let registry = Faulty::serve(&web::image()?, Fault::None)?;
    let image = Image::built("test")?;
    let disk = Disk::fresh(&test, &image, &Config::new())?;
    let machine = test.boot(&image).with_disk(&disk).start()?;
    machine.console().wait("service:engine", READY)?;
    let pull = machine.run(["/usr/bin/skeg", "pull", &registry.name("web")])?;
    ensure!(pull.code != 0, "pulled over plain HTTP");
    ensure!(registry.asked().is_empty(), "asked over plain HTTP");
    test.passed();
    Ok(())
}
