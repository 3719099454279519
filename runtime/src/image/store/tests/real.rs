//! The real registry and the real skopeo, where both are installed.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::sample::{self, INDEX, Layer, Sample, noise, tar};
use super::*;

struct Registry {
    process: Child,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

impl Registry {
    /// Starts it, with TLS if there is a certificate in the folder.
    fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = folder.join("registry.yml");
        let data = folder.join("data");
        let tls = match folder.join("tls.crt") {
            certificate if certificate.exists() => format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                certificate.display(),
                folder.join("tls.key").display()
            ),
            _ => String::new(),
        };
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  \
             addr: 127.0.0.1:{port}\n{tls}",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let log = File::create(folder.join("registry.log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let registry = Self { process, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "the registry does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    fn push(&self, layout: &Path, name: &str, extra: &[&str]) {
        let to = format!("docker://127.0.0.1:{}/{name}", self.port);
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .args(extra)
            .arg(format!("oci:{}:latest", layout.display()))
            .arg(to)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// An OCI layout on disk, as skopeo reads it.
fn write_layout(sample: &Sample, layout: &Path) {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
    put(&sample.config_bytes());
    put(&sample.manifest_bytes());
    sample.layers.iter().for_each(|l| put(&l.blob));
    let manifest = json!({
        "mediaType": sample::IMAGE, "digest": sample.digest().to_string(),
        "size": sample.manifest_bytes().len(),
        "annotations": {"org.opencontainers.image.ref.name": "latest"},
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}

#[tokio::test]
async fn images_pushed_by_skopeo_are_pulled_from_the_real_registry() {
    if !is_installed("docker-registry") || !is_installed("skopeo") {
        eprintln!("docker-registry or skopeo is not installed: not tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path());
    let sample = Sample::of(vec![
        Layer::gzip(&tar(&[("noise", &noise(3 << 20, 1)), ("old", b"1")])),
        Layer::gzip(&tar(&[("new", b"2")])),
    ]);
    let layout = folder.path().join("layout");
    write_layout(&sample, &layout);
    registry.push(&layout, "team/app:oci", &[]);
    registry.push(&layout, "team/app:docker", &["--format", "v2s2"]);
    registry.push(
        &layout,
        "team/app:zstd",
        &["--dest-compress", "--dest-compress-format", "zstd"],
    );

    let store = Store::open_with(&folder.path().join("store"), options(folder.path())).unwrap();
    let host = format!("127.0.0.1:{}", registry.port);
    let registries = insecure(&host);
    let pull = async |rest: &str| {
        let name: Reference = format!("{host}/team/app{rest}").parse().unwrap();
        store.pull(&name, &registries, |_| {}).await
    };
    let oci = pull(":oci").await.unwrap();
    assert_eq!(
        (&oci.id, &oci.manifest_digest),
        (&sample.id(), &sample.digest())
    );
    let docker = pull(":docker").await.unwrap();
    assert_eq!(
        docker.layers, oci.layers,
        "layers are shared whatever the manifest"
    );
    let zstd = pull(":zstd").await.unwrap();
    assert_eq!(zstd.layers, oci.layers);
    let pinned = pull(&format!("@{}", sample.digest())).await.unwrap();
    assert_eq!(pinned.id, oci.id);
    let folders = store.lower_dirs(&oci);
    assert_eq!(
        fs::read(folders[1].join("noise")).unwrap(),
        noise(3 << 20, 1)
    );
    let absent = pull(":absent").await.unwrap_err();
    assert!(absent.is_not_found(), "{absent}");
    assert!(store.check().unwrap().is_empty());
}

/// A certificate for 127.0.0.1 that signs itself.
fn write_certificate(folder: &Path) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("tls.key"))
        .arg("-out")
        .arg(folder.join("tls.crt"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn a_private_certificate_is_trusted_for_its_registry_and_no_other() {
    if !["docker-registry", "skopeo", "openssl"]
        .iter()
        .all(|p| is_installed(p))
    {
        eprintln!("docker-registry, skopeo or openssl is not installed: not tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let registry = Registry::start(folder.path());
    let sample = Sample::of(vec![Layer::gzip(&tar(&[("noise", &noise(1 << 20, 1))]))]);
    let layout = folder.path().join("layout");
    write_layout(&sample, &layout);
    registry.push(&layout, "app:1", &[]);
    let host = format!("127.0.0.1:{}", registry.port);
    let name: Reference = format!("{host}/app:1").parse().unwrap();
    let store = Store::open_with(&folder.path().join("store"), options(folder.path())).unwrap();
    let pull = async || store.pull(&name, &Registries::default(), |_| {}).await;

    let error = pull().await.unwrap_err().to_string();
    assert!(error.contains("certificates: none found"), "{error}");
    let other = folder.path().join("certs.d/other.example");
    fs::create_dir_all(&other).unwrap();
    fs::copy(folder.path().join("tls.crt"), other.join("ca.crt")).unwrap();
    assert!(
        pull().await.is_err(),
        "a certificate counts only for the registry it lies under"
    );
    let own = folder.path().join("certs.d").join(&host);
    fs::create_dir_all(&own).unwrap();
    fs::copy(folder.path().join("tls.crt"), own.join("ca.crt")).unwrap();
    let image = pull().await.unwrap();
    assert_eq!(image.id, sample.id());

    // Another authority in the same place: the connection is refused, once.
    let strange = tempfile::tempdir().unwrap();
    write_certificate(strange.path());
    fs::copy(strange.path().join("tls.crt"), own.join("ca.crt")).unwrap();
    let error = pull().await.unwrap_err();
    assert!(
        !error.is_transient() && error.to_string().contains("certificate"),
        "{error}"
    );
}
