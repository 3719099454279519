//! Pulls from registries that lie or break off: a clear error, and nothing half-made is left.
//!
//! One machine pulls from all of them: each has its own port.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::faulty::{Fault, Faulty};
use qemu_tests::fixtures::layout::Layout;
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

/// What the store has of a layer, packed or unpacked. The part that a broken connection left is
/// kept for the next try, under `ingest`, where nothing reads an image from.
fn traces(machine: &Running, layer: &Layer, fault: Fault) -> Result<Vec<String>> {
    let mut tree = machine.tree("/var/lib/skeg")?;
    let digits = [&layer.packed, &layer.plain].map(|d| d.trim_start_matches("sha256:"));
    tree.retain(|path| digits.iter().any(|digits| path.contains(digits)));
    if fault == Fault::Cut {
        tree.retain(|path| !path.contains("/ingest/"));
    }
    Ok(tree)
}

struct Layer {
    packed: String,
    plain: String,
}

fn last_layer(layout: &Layout) -> Result<Layer> {
    let (packed, plain) = (layout.layers()?.pop(), layout.plain_layers()?.pop());
    Ok(Layer {
        packed: packed.context("no layer")?,
        plain: plain.context("no layer")?,
    })
}

#[test]
fn a_layer_that_is_not_what_the_manifest_says_is_refused_and_leaves_nothing() -> Result<()> {
    let test = Test::named("faulty-registries")?;
    let layout = web::image()?;
    let last = last_layer(&layout)?;
    let serve = |fault| Faulty::serve(&layout, fault);
    let faulty = [
        (
            Fault::WrongDigest,
            "expected sha256:",
            serve(Fault::WrongDigest)?,
        ),
        (Fault::TooLong, "bytes", serve(Fault::TooLong)?),
        (Fault::TooShort, "bytes", serve(Fault::TooShort)?),
        (Fault::Cut, "end of file", serve(Fault::Cut)?),
    ];
    let (once, honest) = (serve(Fault::CutOnce)?, serve(Fault::None)?);
    let mut all: Vec<&Faulty> = faulty.iter().map(|(_, _, registry)| registry).collect();
    all.extend([&once, &honest]);

    let image = Image::built("test")?;
    let disk = Disk::fresh(&test, &image, &config(&all))?;
    let machine = test.boot(&image).with_disk(&disk).start()?;
    machine.console().wait("service:engine", READY)?;
    for (fault, word, registry) in &faulty {
        let name = registry.name("web");
        let pull = machine.run(["/usr/bin/skeg", "pull", &name])?;
        let error = pull.stderr.text();
        ensure!(pull.code != 0, "{name}: pulled");
        ensure!(error.contains(&last.packed), "{name}: which layer? {error}");
        ensure!(error.contains(word), "{name}: what is wrong? {error}");
        let images = machine.skeg(&["images"])?;
        ensure!(
            !images.contains("web"),
            "{name}: half-made image:\n{images}"
        );
        let traces = traces(&machine, &last, *fault)?;
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
