//! Pulls from a registry that breaks every promise, one at a time.

mod fake;
mod real;
mod sample;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::registry::{Retry, Trust};
use super::*;
use fake::{Fake, Fault};
use sample::{INDEX, Layer, Sample, noise, tar};

struct Bench {
    folder: tempfile::TempDir,
    fake: Fake,
    store: Store,
    registries: Registries,
}

fn options(folder: &Path) -> Options {
    let trust = Trust {
        bundle: folder.join("absent.crt"),
        folder: folder.join("certs.d"),
    };
    let retry = Retry {
        tries: 4,
        first: Duration::from_millis(2),
        longest: Duration::from_secs(2),
    };
    let client = Settings {
        auth_file: folder.join("auth.json"),
        login: None,
        trust,
        connect: Duration::from_secs(2),
        stall: Duration::from_millis(400),
        retry,
    };
    Options {
        client,
        ..Options::default()
    }
}

fn insecure(host: &str) -> Registries {
    let text = format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n");
    Registries::parse(Path::new("test.conf"), &text).unwrap()
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::start().await;
        let mut options = options(folder.path());
        edit(&mut options);
        let store = Store::open_with(&folder.path().join("store"), options).unwrap();
        let registries = insecure(&fake.address.to_string());
        Self {
            folder,
            fake,
            store,
            registries,
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn name(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.fake.address).parse().unwrap()
    }

    async fn pull(&self, rest: &str) -> Result<Image, PullError> {
        self.store
            .pull(&self.name(rest), &self.registries, |_| {})
            .await
    }

    /// Pulls, expects a failure, and that the store is exactly as before.
    async fn refuse(&self, rest: &str) -> String {
        let before = self.everything();
        let error = self.pull(rest).await.unwrap_err();
        assert_eq!(self.everything(), before, "left behind after: {error}");
        assert!(self.store.check().unwrap().is_empty());
        error
            .to_string()
            .replace(&self.fake.address.to_string(), "HOST")
    }

    /// Every path in the store.
    fn everything(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    }

    fn content(&self, image: &Image, path: &str) -> Option<Vec<u8>> {
        let folders = self.store.lower_dirs(image);
        folders
            .iter()
            .find_map(|folder| fs::read(folder.join(path)).ok())
    }
}

fn three_layers() -> Sample {
    Sample::of(vec![
        Layer::gzip(&tar(&[("a", b"lowest"), ("b", b"lowest")])),
        Layer::zstd(&tar(&[("b", b"middle"), ("c", b"middle")])),
        Layer::plain(&tar(&[("c", b"topmost")])),
    ])
}

#[tokio::test]
async fn a_pulled_image_is_found_whole_and_survives_a_restart() {
    let bench = Bench::new().await;
    let sample = three_layers();
    sample.publish(&bench.fake, "1");
    let told = Mutex::new(Vec::new());
    let name = bench.name("app/web:1");
    let progress = |p: Progress| {
        told.lock()
            .unwrap()
            .push((p.layer, p.phase, p.done, p.total));
    };
    let image = bench
        .store
        .pull(&name, &bench.registries, progress)
        .await
        .unwrap();

    assert_eq!(
        (&image.id, &image.manifest_digest),
        (&sample.id(), &sample.digest())
    );
    assert_eq!((image.size, &image.names), (31, &vec![name.clone()]));
    assert_eq!(
        image.config.config().as_ref().unwrap().cmd(),
        &Some(vec!["/hello".to_owned()])
    );
    let ids: Vec<_> = sample.layers.iter().map(|l| l.diff_id.clone()).collect();
    assert_eq!(image.layers, ids);
    for (path, expected) in [("a", "lowest"), ("b", "middle"), ("c", "topmost")] {
        assert_eq!(bench.content(&image, path).unwrap(), expected.as_bytes());
    }
    let health = bench.store.config_json(&image).unwrap();
    assert_eq!(health["config"]["Healthcheck"]["Test"][0], "NONE");
    let told = told.into_inner().unwrap();
    for layer in &sample.layers {
        let (digest, total) = (layer.digest(), layer.blob.len() as u64);
        assert!(told.contains(&(digest.clone(), Phase::Downloading, total, total)));
        assert!(told.contains(&(digest, Phase::Ready, total, total)));
    }
    assert_eq!(
        fs::read_dir(bench.root().join("ingest")).unwrap().count(),
        0
    );
    assert_eq!(fs::read_dir(bench.root().join("tmp")).unwrap().count(), 0);

    let Bench { folder, store, .. } = bench;
    let root = folder.path().join("store");
    assert!(matches!(Store::open(&root), Err(StoreError::Locked(_))));
    drop(store);
    let store = Store::open(&root).unwrap();
    let again = store.find(&name.to_string()).unwrap();
    assert_eq!((again.id, again.size), (image.id.clone(), image.size));
    assert_eq!(store.find(image.id.short()).unwrap().names, [name]);
    assert_eq!(store.list().len(), 1);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_index_gives_this_machines_image_or_says_what_there_is() {
    let bench = Bench::new().await;
    let sample = three_layers();
    sample.publish(&bench.fake, "plain");
    let host = Platform::host();
    let entry = |architecture: &str| {
        let size = sample.manifest_bytes().len();
        json!({"mediaType": sample::IMAGE, "digest": sample.digest().to_string(), "size": size,
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let publish = |tag: &str, entries: Vec<serde_json::Value>| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        let bytes = serde_json::to_vec(&index).unwrap();
        let mut world = bench.fake.world.lock().unwrap();
        world
            .manifests
            .insert(tag.to_owned(), (INDEX.to_owned(), bytes.clone()));
        let digest = Digest::of(&bytes);
        world
            .manifests
            .insert(digest.to_string(), (INDEX.to_owned(), bytes));
        digest
    };
    publish("foreign", vec![entry("riscv64"), entry("s390x")]);
    let error = bench.refuse("x:foreign").await;
    let there = format!("no image for {host}; there is: linux/riscv64, linux/s390x");
    assert_eq!(error, format!("pull HOST/x:foreign: {there}"));

    let digest = publish("both", vec![entry("riscv64"), entry(&host.architecture)]);
    let image = bench.pull("x:both").await.unwrap();
    assert_eq!(image.manifest_digest, sample.digest());
    let pinned = bench.pull(&format!("x@{digest}")).await.unwrap();
    assert_eq!((pinned.id, pinned.names.len()), (image.id, 2));
    assert!(
        bench
            .store
            .find(&bench.name(&format!("x@{digest}")).to_string())
            .is_some()
    );

    let asked = bench.fake.seen("").len();
    bench.pull(&format!("x@{digest}")).await.unwrap();
    assert_eq!(
        bench.fake.seen("").len(),
        asked,
        "what a digest names is not asked for again"
    );

    let mut lying = entry(&host.architecture);
    lying["size"] = json!(sample.manifest_bytes().len() + 1);
    publish("lying", vec![lying]);
    assert!(bench.refuse("y:lying").await.contains(" bytes, got "));

    let mut foreign = Sample::noise(10, 9);
    foreign.config["architecture"] = json!("mips64le");
    foreign.seal();
    foreign.publish(&bench.fake, "mips");
    let error = bench.refuse("x:mips").await;
    let wanted = Platform {
        variant: None,
        ..host
    };
    assert!(
        error.contains("the image is for linux/mips64le"),
        "{error} {wanted}"
    );
}

#[tokio::test]
async fn a_layer_that_is_not_as_promised_is_refused_and_nothing_stays() {
    let bench = Bench::new().await;
    let sample = Sample::noise(3000, 1);
    sample.publish(&bench.fake, "1");
    let layer = &sample.layers[0];
    let (digest, size) = (layer.digest(), layer.blob.len());
    let path = digest.to_string();
    let start = format!("pull HOST/x:1: layer {digest}: expected");

    let other = noise(size, 2);
    let got = Digest::of(&other);
    for fault in [Fault::Body(other.clone()), Fault::Chunked(other)] {
        bench.fake.fault(&path, 1, fault);
        assert_eq!(
            bench.refuse("x:1").await,
            format!("{start} {digest}, got {got}")
        );
    }
    let short = layer.blob[..900].to_vec();
    for fault in [Fault::Body(short.clone()), Fault::Chunked(short)] {
        bench.fake.fault(&path, 1, fault);
        assert_eq!(
            bench.refuse("x:1").await,
            format!("{start} {size} bytes, got 900")
        );
    }
    let long = [layer.blob.as_slice(), b"more"].concat();
    bench.fake.fault(&path, 1, Fault::Body(long.clone()));
    assert_eq!(
        bench.refuse("x:1").await,
        format!("{start} {size} bytes, got {}", size + 4)
    );
    bench.fake.fault(&path, 1, Fault::Chunked(long));
    assert!(
        bench
            .refuse("x:1")
            .await
            .starts_with(&format!("{start} {size} bytes, got "))
    );
    bench.fake.fault(&path, 1, Fault::Endless);
    assert!(bench.refuse("x:1").await.ends_with(" or more"));

    bench.pull("x:1").await.unwrap();
}

#[tokio::test]
async fn manifests_and_configurations_are_checked_alike() {
    let bench = Bench::new().await;
    let sample = Sample::noise(100, 1);
    sample.publish(&bench.fake, "1");
    let (manifest, config) = (sample.digest(), sample.id());
    let pinned = format!("x@{manifest}");

    let other = Sample::noise(100, 2).manifest_bytes();
    bench
        .fake
        .fault("/manifests/", 1, Fault::Body(other.clone()));
    let error = bench.refuse(&pinned).await;
    let got = Digest::of(&other);
    assert!(
        error.ends_with(&format!(
            "manifest {manifest}: expected {manifest}, got {got}"
        )),
        "{error}"
    );

    bench
        .fake
        .fault("/manifests/", 1, Fault::Body(vec![b' '; 5 << 20]));
    assert!(
        bench
            .refuse("x:1")
            .await
            .contains("longer than 4194304 bytes")
    );
    bench.fake.fault("/manifests/", 1, Fault::Endless);
    assert!(
        bench
            .refuse("x:1")
            .await
            .contains("longer than 4194304 bytes")
    );
    bench
        .fake
        .fault("/manifests/", 1, Fault::Body(b"<html>".to_vec()));
    assert!(bench.refuse("x:1").await.contains("manifest is malformed"));

    let path = config.to_string();
    bench.fake.fault(&path, 1, Fault::Body(b"{}".to_vec()));
    assert!(bench.refuse("x:1").await.contains(" bytes, got 2"));
    bench.fake.fault(&path, 1, Fault::Endless);
    assert!(
        bench
            .refuse("x:1")
            .await
            .contains(&format!("config {config}: expected"))
    );

    let mut fewer = Sample::noise(100, 3);
    fewer.config["rootfs"]["diff_ids"] = json!([]);
    fewer.seal();
    fewer.publish(&bench.fake, "fewer");
    assert!(
        bench
            .refuse("x:fewer")
            .await
            .contains("0 diff_ids, the manifest has 1 layers")
    );
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_broke() {
    let bench = Bench::new().await;
    let sample = Sample::noise(200_000, 1);
    sample.publish(&bench.fake, "1");
    let path = sample.layers[0].digest().to_string();
    bench.fake.fault(&path, 1, Fault::CutAfter(50_000));
    bench.fake.fault(&path, 1, Fault::CutAfter(30_000));
    bench.fake.fault(&path, 1, Fault::Status(502, "", ""));
    let image = bench.pull("x:1").await.unwrap();
    assert_eq!(bench.content(&image, "noise").unwrap(), noise(200_000, 1));
    let ranges: Vec<_> = bench
        .fake
        .seen(&path)
        .iter()
        .map(|s| s.headers.get("range").cloned())
        .collect();
    let at = |n: usize| Some(format!("bytes={n}-"));
    assert_eq!(ranges, [None, at(50_000), at(80_000), at(80_000)]);
}

#[tokio::test]
async fn a_registry_without_ranges_is_asked_for_the_whole_again() {
    let bench = Bench::new().await;
    let sample = Sample::noise(100_000, 1);
    sample.publish(&bench.fake, "1");
    bench.fake.world.lock().unwrap().without_ranges = true;
    let path = sample.layers[0].digest().to_string();
    bench.fake.fault(&path, 1, Fault::CutAfter(50_000));
    bench.fake.fault(&path, 1, Fault::Unannounced(60_000));
    bench.fake.fault(&path, 1, Fault::NoRange);
    let error = bench.refuse("x:1").await;
    assert!(error.contains("206 without a Content-Range"), "{error}");
    bench.fake.fault(&path, 1, Fault::CutAfter(50_000));
    bench.pull("x:1").await.unwrap();
}

#[tokio::test]
async fn a_pull_that_gave_up_is_taken_up_by_the_next_even_after_a_power_cut() {
    let bench = Bench::new().await;
    let sample = Sample::noise(200_000, 1);
    sample.publish(&bench.fake, "1");
    let digest = sample.layers[0].digest();
    let path = digest.to_string();
    bench.fake.fault(&path, 4, Fault::CutAfter(10_000));
    let error = bench.pull("x:1").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let part = bench.root().join("ingest").join(digest.hex());
    assert_eq!(fs::metadata(&part).unwrap().len(), 40_000);
    assert!(bench.store.find("x:1").is_none() && bench.store.list().is_empty());
    assert_eq!(
        fs::read_dir(bench.root().join("layers")).unwrap().count(),
        0
    );
    // The cut left zeros where data should be.
    fs::write(&part, vec![0; 40_000]).unwrap();
    let image = bench.pull("x:1").await.unwrap();
    assert_eq!(bench.content(&image, "noise").unwrap(), noise(200_000, 1));
    let last = bench
        .fake
        .seen(&path)
        .last()
        .unwrap()
        .headers
        .get("range")
        .cloned();
    assert_eq!(last, None, "damaged parts are not gone on with");
    assert!(!part.exists());
}

#[tokio::test]
async fn what_the_registry_does_not_have_or_give_is_said_in_its_words() {
    let bench = Bench::new().await;
    let error = bench.refuse("x:absent").await;
    assert_eq!(
        error,
        "pull HOST/x:absent: manifest: not found: manifest unknown"
    );
    let sample = Sample::noise(100, 1);
    sample.publish(&bench.fake, "1");
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#;
    bench
        .fake
        .fault("/manifests/", 1, Fault::Status(403, "", denied));
    assert!(
        bench
            .refuse("x:1")
            .await
            .ends_with("access denied: requested access is denied")
    );
    bench
        .fake
        .fault("/manifests/", 4, Fault::Status(500, "", "oops"));
    assert_eq!(
        bench.refuse("x:1").await,
        "pull HOST/x:1: manifest: HOST answers 500"
    );
    assert_eq!(
        bench.fake.seen("/manifests/1").len(),
        5,
        "four tries, no more"
    );
    bench.fake.fault(
        &sample.layers[0].digest().to_string(),
        1,
        Fault::Status(404, "", ""),
    );
    assert!(bench.refuse("x:1").await.contains("layer sha256:"));
    bench.pull("x:1").await.unwrap();
}

#[tokio::test]
async fn a_registry_in_trouble_is_given_time() {
    let bench = Bench::new().await;
    let sample = Sample::noise(100, 1);
    sample.publish(&bench.fake, "1");
    bench
        .fake
        .fault("/manifests/", 2, Fault::Status(503, "", ""));
    bench
        .fake
        .fault("/blobs/", 1, Fault::Status(429, "Retry-After: 1\r\n", ""));
    let begin = Instant::now();
    bench.pull("x:1").await.unwrap();
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "Retry-After is kept"
    );
    bench.fake.fault(
        "/manifests/",
        1,
        Fault::Status(429, "Retry-After: 3600\r\n", ""),
    );
    let begin = Instant::now();
    assert!(bench.pull("x:1").await.is_err());
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "nobody waits for an hour"
    );
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_left_after_a_while() {
    let bench = Bench::with(|o| o.client.retry.tries = 2).await;
    let sample = Sample::noise(100, 1);
    sample.publish(&bench.fake, "1");
    bench.fake.fault("/manifests/", 2, Fault::Stall);
    let begin = Instant::now();
    assert!(
        bench
            .refuse("x:1")
            .await
            .contains("HOST: no answer for 0 s")
    );
    assert!(begin.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn tokens_are_fetched_with_the_login_and_used_for_all_requests() {
    let bench = Bench::new().await;
    let sample = three_layers();
    sample.publish(&bench.fake, "1");
    bench.fake.world.lock().unwrap().token = Some(("t0ken".into(), None));
    bench.pull("team/x:1").await.unwrap();
    let tokens = bench.fake.seen("/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].path,
        "/token?service=fake&scope=repository:team/x:pull"
    );

    bench.fake.world.lock().unwrap().token = Some(("t2".into(), Some("Basic dTpw".into())));
    let error = bench.refuse("team/x:1").await;
    assert!(error.contains("access denied: 401"), "{error}");
    let auth = format!(
        r#"{{"auths":{{"{}/team":{{"auth":"dTpw"}}}}}}"#,
        bench.fake.address
    );
    fs::write(bench.folder.path().join("auth.json"), auth).unwrap();
    bench.pull("team/x:1").await.unwrap();
    fs::write(bench.folder.path().join("auth.json"), "{").unwrap();
    assert!(bench.refuse("team/x:1").await.contains("auth.json: line 1"));
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_secret() {
    let bench = Bench::new().await;
    let cdn = Fake::start().await;
    let sample = three_layers();
    sample.publish(&bench.fake, "1");
    sample.publish(&cdn, "1");
    {
        let mut world = bench.fake.world.lock().unwrap();
        world.token = Some(("t0ken".into(), None));
        world.redirect = Some(format!("http://{}", cdn.address));
    }
    bench.pull("x:1").await.unwrap();
    let elsewhere = cdn.seen("/blobs/");
    assert_eq!(elsewhere.len(), 4);
    assert!(
        elsewhere
            .iter()
            .all(|s| !s.headers.contains_key("authorization"))
    );

    let around = format!("http://{}", bench.fake.address);
    bench.fake.world.lock().unwrap().redirect = Some(around);
    three_layers_with_more().publish(&bench.fake, "2");
    assert!(bench.refuse("x:2").await.contains("more than 5 redirects"));
}

fn three_layers_with_more() -> Sample {
    let mut sample = three_layers();
    sample.config["config"]["Cmd"] = json!(["/other"]);
    sample.seal();
    sample
}

#[tokio::test]
async fn plain_http_is_only_for_registries_that_are_configured_so() {
    let bench = Bench::new().await;
    Sample::noise(100, 1).publish(&bench.fake, "1");
    let error = bench
        .store
        .pull(&bench.name("x:1"), &Registries::default(), |_| {})
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("certificates: none found"), "{error}");
    assert!(
        bench.fake.seen("").is_empty(),
        "not a byte went out in the clear"
    );
}

#[tokio::test]
async fn hostile_layers_are_refused_and_nothing_stays() {
    let bench = Bench::with(|o| o.limits.uncompressed = 1 << 20).await;
    let bomb = Layer::gzip(&vec![0; 64 << 20]);
    assert!(bomb.blob.len() < 1 << 20);
    let header_bomb = {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 30);
        header.set_cksum();
        Layer::gzip(&[header.as_bytes().as_slice(), &[b'x'; 4096]].concat())
    };
    let file_bomb = Layer::zstd(&tar(&[("big", &vec![0; 8 << 20])]));
    let mut wrong_id = Layer::gzip(&tar(&[("a", b"1")]));
    wrong_id.diff_id = Digest::of(b"other");
    let mut cut = Layer::gzip(&tar(&[("a", &noise(5000, 1))]));
    cut.blob.truncate(3000);
    let garbage = Layer::plain(&noise(2000, 3));
    for (tag, layer, part) in [
        ("bomb", bomb, "refused as a decompression bomb"),
        (
            "header",
            header_bomb,
            "extension header of 1073741824 bytes",
        ),
        ("file", file_bomb, "refused as a decompression bomb"),
        ("id", wrong_id, "unpacked content: expected sha256:"),
        ("cut", cut, "cannot decompress"),
        ("garbage", garbage, "not a tar archive"),
    ] {
        // A sound layer below: it must not stay either.
        Sample::of(vec![Layer::gzip(&tar(&[("ok", b"1")])), layer]).publish(&bench.fake, tag);
        let error = bench.refuse(&format!("x:{tag}")).await;
        assert!(
            error.contains(part) && error.contains("layer sha256:"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn many_pulls_of_one_image_download_each_layer_once() {
    let bench = Bench::new().await;
    let sample = three_layers();
    sample.publish(&bench.fake, "1");
    three_layers_with_more().publish(&bench.fake, "2");
    bench.fake.world.lock().unwrap().slow = Some(Duration::from_millis(20));
    let pulls = (0..8).map(|n| {
        let tag = if n % 2 == 0 { "x:1" } else { "x:2" };
        bench.pull(tag)
    });
    for result in futures_util::future::join_all(pulls).await {
        result.unwrap();
    }
    for layer in &sample.layers {
        assert_eq!(bench.fake.seen(&layer.digest().to_string()).len(), 1);
    }
    assert_eq!(bench.store.list().len(), 2);
    assert_eq!(
        fs::read_dir(bench.root().join("layers")).unwrap().count(),
        3
    );
}

#[tokio::test]
async fn an_image_may_have_the_same_layer_twice() {
    let bench = Bench::new().await;
    let layer = Layer::gzip(&tar(&[("a", b"1")]));
    let other = Layer::gzip(&tar(&[("b", b"1")]));
    Sample::of(vec![layer.clone(), other, layer]).publish(&bench.fake, "1");
    let image = bench.pull("x:1").await.unwrap();
    assert_eq!(image.layers.len(), 3);
    let folders = bench.store.lower_dirs(&image);
    assert_eq!(folders.len(), 2, "overlay refuses a folder given twice");
    assert!(folders[0].join("a").exists());
}

#[tokio::test]
async fn a_layer_that_hides_all_below_ends_the_list() {
    let bench = Bench::new().await;
    let sample = Sample::of(vec![
        Layer::gzip(&tar(&[("below", b"1")])),
        Layer::gzip(&tar(&[(".wh..wh..opq", b""), ("above", b"1")])),
    ]);
    sample.publish(&bench.fake, "1");
    let image = bench.pull("x:1").await.unwrap();
    assert_eq!(bench.store.lower_dirs(&image).len(), 1);
    assert_eq!(bench.content(&image, "below"), None);
}

#[tokio::test]
async fn removing_takes_what_no_other_image_and_no_container_needs() {
    let bench = Bench::new().await;
    let (first, second) = (three_layers(), three_layers_with_more());
    first.publish(&bench.fake, "1");
    first.publish(&bench.fake, "one");
    second.publish(&bench.fake, "2");
    let image = bench.pull("x:1").await.unwrap();
    bench.pull("x:one").await.unwrap();
    bench.pull("x:2").await.unwrap();
    let layers = || fs::read_dir(bench.root().join("layers")).unwrap().count();
    let name = |rest| bench.name(rest).to_string();

    let missing = bench.store.remove(&name("x:9"), |_| false).unwrap_err();
    assert!(matches!(missing, StoreError::NotFound(_)));
    let refused = |in_use: bool| {
        let refused = bench.store.remove(&name("x:1"), |_| in_use).unwrap_err();
        assert!(matches!(refused, StoreError::InUse(_)), "{refused}");
    };
    bench.store.remove(&name("x:one"), |_| true).unwrap();
    // Whoever is about to create a container has the image, and no container yet.
    refused(false);
    let id = image.id.clone();
    drop(image);
    refused(true);
    assert!(bench.store.find(&id.to_string()).is_some());
    assert!(bench.store.find(&name("x:1")).is_some());
    bench.store.remove(&name("x:1"), |_| false).unwrap();
    assert_eq!((bench.store.list().len(), layers()), (1, 3));
    bench.store.remove(second.id().short(), |_| false).unwrap();
    assert_eq!((bench.store.list().len(), layers()), (0, 0));
    assert_eq!(
        fs::read_dir(bench.root().join("blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn pruning_keeps_what_has_a_name_or_a_container() {
    let bench = Bench::new().await;
    let (old, older) = (Sample::noise(10, 1), Sample::noise(10, 2));
    for sample in [&older, &old, &Sample::noise(10, 3)] {
        sample.publish(&bench.fake, "latest");
        bench.pull("x").await.unwrap();
    }
    assert_eq!(bench.store.list().len(), 3);
    fs::write(
        bench.root().join("ingest").join(Digest::of(b"x").hex()),
        "part",
    )
    .unwrap();
    assert_eq!(bench.store.prune(&[old.id()]).unwrap(), [older.id()]);
    assert_eq!(bench.store.list().len(), 2);
    assert!(bench.store.find(old.id().short()).unwrap().names.is_empty());
    assert_eq!(
        fs::read_dir(bench.root().join("layers")).unwrap().count(),
        2
    );
    assert_eq!(
        fs::read_dir(bench.root().join("ingest")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_pull_begins_only_after_the_collection_that_may_take_its_layers() {
    let bench = Bench::new().await;
    three_layers().publish(&bench.fake, "1");
    let image = bench.pull("app/web:1").await.unwrap();
    let store = bench.store.clone();
    let (ready, begun) = tokio::sync::oneshot::channel();
    let (go, on) = std::sync::mpsc::channel::<()>();
    let collecting = std::thread::spawn(move || {
        let _changing = guard(&store.inner.changes);
        ready.send(()).unwrap();
        on.recv().unwrap();
    });
    begun.await.unwrap();
    let mut pull = std::pin::pin!(bench.pull("app/web:1"));
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut pull).await;
    let is_pinned = bench.store.inner.pins.is_pinned(&image.layers[0]);
    go.send(()).unwrap();
    collecting.join().unwrap();
    assert!(waited.is_err() && !is_pinned);
    pull.await.unwrap();
}

#[tokio::test]
async fn writes_that_a_power_cut_broke_are_cleared() {
    let bench = Bench::new().await;
    three_layers().publish(&bench.fake, "1");
    bench.pull("app/web:1").await.unwrap();
    let (root, before) = (bench.root(), bench.everything());
    let Bench { folder, store, .. } = bench;
    drop(store);
    for left in [".images.json.70.0.new", "blobs/sha256/.abc.70.1.new"] {
        fs::write(root.join(left), b"half").unwrap();
    }
    let store = Store::open_with(&root, options(folder.path())).unwrap();
    assert_eq!(store.list().len(), 1);
    for left in [".images.json.70.0.new", "blobs/sha256/.abc.70.1.new"] {
        assert!(!root.join(left).exists(), "{left}");
    }
    assert!(before.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn leftovers_of_a_crash_are_cleared_and_damage_is_found() {
    let bench = Bench::new().await;
    let sample = three_layers();
    sample.publish(&bench.fake, "1");
    bench.pull("x:1").await.unwrap();
    let root = bench.root();
    fs::create_dir_all(root.join("tmp/layer-1-1/diff/half")).unwrap();
    let Bench { store, folder, .. } = bench;
    drop(store);
    let store = Store::open(&root).unwrap();
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    fs::write(root.join("blobs/sha256").join(sample.digest().hex()), "{}").unwrap();
    fs::remove_dir_all(root.join("layers").join(sample.layers[0].diff_id.hex())).unwrap();
    let wrong = store.check().unwrap();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains(&format!("blob {}: its content is", sample.digest())));
    assert!(wrong[1].contains(&format!("layer {} is missing", sample.layers[0].diff_id)));
    drop(folder);
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_after_it() {
    let bench = Bench::new().await;
    let mirror = Fake::start().await;
    let sample = three_layers();
    sample.publish(&bench.fake, "1");
    let text = format!(
        "[[registry]]\nlocation = \"{}\"\ninsecure = true\n[[registry.mirror]]\n\
         location = \"{}/cache\"\ninsecure = true\n",
        bench.fake.address, mirror.address
    );
    let registries = Registries::parse(Path::new("test.conf"), &text).unwrap();
    let image = bench
        .store
        .pull(&bench.name("x:1"), &registries, |_| {})
        .await
        .unwrap();
    assert_eq!(mirror.seen("/v2/cache/x/manifests/1").len(), 1);
    assert_eq!(image.names, [bench.name("x:1")]);
}

/// The engine spawns pulls on its runtime.
#[test]
fn a_pull_may_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: T) {}
    let check = |store: Store, image: Reference, registries: Registries| {
        is_send(async move { store.pull(&image, &registries, |_| {}).await });
    };
    let _ = check;
}
