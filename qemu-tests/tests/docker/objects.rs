//! What is not a container, by docker's own command line: networks, volumes, images, logins.
//!
//! Each line stands on those before it; the images are gone at the end.

use anyhow::{Result, ensure};
use qemu_tests::fixtures::docker::Docker;

/// A command line, its exit status, and what it says; in `words` and `said`, `@` is the image.
struct Case(&'static str, i32, &'static str);

const CASES: &[Case] = &[
    Case("version --format {{.Server.APIVersion}}", 0, "1.47"),
    Case("info --format {{.OSType}}", 0, "linux"),
    // Networks.
    Case("network ls", 0, "bridge"),
    Case(
        "network ls -q --no-trunc --filter name=bridge",
        0,
        "33df8d075dd94dc6c691e61899f0db521570ad69ca9b193f7156a9c9869ca659",
    ),
    Case(
        "network ls --filter type=builtin --format {{.Name}}",
        0,
        "bridge\nhost\nnone\n",
    ),
    Case("network create front", 0, ""),
    Case(
        "network create front",
        1,
        "network with name front already exists",
    ),
    Case(
        "network create --subnet 10.90.0.0/24 --gateway 10.90.0.254 --ip-range 10.90.0.128/25 --internal --label tier=back -o com.docker.network.driver.mtu=1400 back",
        0,
        "",
    ),
    Case(
        "network create --subnet 10.90.0.0/25 again",
        1,
        "Pool overlaps",
    ),
    Case("network create --ipv6 six", 1, "IPv6"),
    Case("network create -d overlay far", 1, "overlay"),
    Case(
        "network create -o com.docker.network.bridge.enable_icc=false x",
        1,
        "enable_icc",
    ),
    Case("network create host", 1, "already exists"),
    Case("network inspect back", 0, "\"Subnet\": \"10.90.0.0/24\""),
    Case("network inspect back", 0, "\"Internal\": true"),
    Case("network inspect back --format {{.Driver}}", 0, "bridge\n"),
    Case("network inspect front", 0, "10.89.0.0/24"),
    Case("network inspect none", 0, "\"Driver\": \"null\""),
    Case("network inspect gone", 1, "network gone not found"),
    Case(
        "network ls --filter label=tier=back --format {{.Name}}",
        0,
        "back\n",
    ),
    Case(
        "network ls --filter driver=host --format {{.Name}}",
        0,
        "host\n",
    ),
    Case(
        "network ls --filter colour=red",
        1,
        "invalid filter 'colour'",
    ),
    Case("network connect front nobody", 1, "nobody"),
    Case("network rm bridge", 1, "pre-defined"),
    Case("network rm gone", 1, "not found"),
    Case("network rm front", 0, "front"),
    Case("network prune -f", 0, "back"),
    // Volumes.
    Case("volume create --label keep=yes data", 0, "data\n"),
    Case("volume create data", 0, "data\n"),
    Case("volume create", 0, ""),
    Case("volume create -d flocker x", 1, "flocker"),
    Case(
        "volume create -o type=nfs -o device=:/x x",
        1,
        "is not supported by Skeg",
    ),
    Case("volume ls --format {{.Name}}", 0, "data\n"),
    Case("volume ls -q --filter label=keep", 0, "data\n"),
    Case(
        "volume ls -q --filter dangling=true --filter name=dat",
        0,
        "data\n",
    ),
    Case("volume inspect data --format {{.Labels.keep}}", 0, "yes\n"),
    Case(
        "volume inspect data --format {{.Mountpoint}}",
        0,
        "/var/lib/skeg",
    ),
    Case("volume inspect gone", 1, "no such volume"),
    Case("volume prune -f", 0, "Total reclaimed space"),
    Case("volume ls -q", 0, "data\n"),
    Case("volume rm data", 0, "data\n"),
    Case("volume rm data", 1, "no such volume"),
    Case("volume rm -f data", 0, "data\n"),
    // Images.
    Case("images", 0, "REPOSITORY"),
    Case("pull @none:1", 1, "not found"),
    Case("pull @web:1", 0, "Downloaded newer image"),
    Case("pull @web:1", 0, "Image is up to date"),
    Case("pull -q @tools:1", 0, "tools:1"),
    Case(
        "images --format {{.Repository}}:{{.Tag}} --filter reference=*/web",
        0,
        "@web:1\n",
    ),
    Case(
        "image inspect @web:1 --format {{.Architecture}}",
        0,
        "amd64\n",
    ),
    Case(
        "image inspect @web:1 --format {{.RootFS.Type}}",
        0,
        "layers\n",
    ),
    Case("image inspect gone", 1, "No such image"),
    Case("history @web:1", 0, "CREATED BY"),
    Case("tag @web:1 mine:2", 0, ""),
    Case("tag @web:1 Mine:2", 1, "must be lowercase"),
    Case("images mine --format {{.Tag}}", 0, "2\n"),
    Case("images --digests", 0, "sha256:"),
    Case("rmi mine:2", 0, "Untagged: mine:2\n"),
    Case("image ls -q --filter dangling=true", 0, ""),
    Case("rmi gone", 1, "No such image"),
    Case("image prune -f", 0, "Total reclaimed space: 0B"),
    Case("system df", 0, "Local Volumes"),
    Case("system df -v", 0, "Images space usage"),
    Case("rmi @web:1", 0, "Deleted: sha256:"),
    Case("image prune -a -f", 0, "untagged: @tools:1"),
    // What is not done.
    Case("push @web:1", 1, "docker push is not supported by Skeg"),
    Case("search nginx", 1, "image search is not supported by Skeg"),
    Case("save web", 1, "docker save is not supported by Skeg"),
    Case(
        "import http://example.org/x.tar",
        1,
        "docker import is not supported by Skeg",
    ),
    Case("login -u me -p secret 10.0.2.2:1", 1, "10.0.2.2:1"),
];

/// Runs all; what was not as it shall be. `registry` is the prefix of its images' names.
pub fn run(docker: &Docker, registry: &str) -> Vec<String> {
    let wrong = CASES
        .iter()
        .filter_map(|case| check(docker, case, registry).err());
    wrong.map(|error| format!("{error:#}")).collect()
}

fn check(docker: &Docker, case: &Case, registry: &str) -> Result<()> {
    let Case(words, code, said) = case;
    let (words, wanted) = (words.replace('@', registry), said.replace('@', registry));
    let ended = docker.say(&words.split(' ').collect::<Vec<_>>())?;
    let text = format!("{}{}", ended.out, ended.err);
    ensure!(
        ended.code == *code && text.contains(&wanted),
        "docker {words}: expected status {code} and {wanted:?}, got {} and:\n{text}",
        ended.code
    );
    Ok(())
}
