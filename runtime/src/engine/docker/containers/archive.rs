//! Files of containers in and out as tar archives, and what a container has changed of its image.
//!
//! Every path is opened inside the container's root, by descriptors: a link never leads out of it.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use futures_util::StreamExt;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, readlinkat, statat};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::Arced;
use super::super::asked::Asked;
use super::super::pack::{Channel, pack};
use super::super::refusal::Refusal;
use super::super::{changes as diff, time};
use super::{Id, find};
use crate::engine::Engine;
use crate::engine::container::layers::Held;
use crate::engine::container::{Container, lock, open_pidfd};
use crate::engine::error::Error;
use crate::engine::volumes;
use crate::image::unpack;

/// The root of a container: of its process while it runs, else its layers put together, which nobody else
/// does before this is dropped.
struct Root {
    // Closed first.
    fd: OwnedFd,
    _layers: Option<Held>,
}

async fn root_of(engine: &Engine, container: &Container) -> Result<Root, Refusal> {
    // A start that is on its way has them.
    let layers = container.layers.look().await;
    let state = container.state();
    let process = state.process.filter(|_| state.phase.is_up());
    if let Some(pidfd) = process.and_then(open_pidfd) {
        drop(layers);
        let root = engine.zygote.root(&container.config.name, pidfd).await;
        return Ok(Root {
            fd: root.map_err(Error::from)?,
            _layers: None,
        });
    }
    let image = engine.store.find(&container.config.image_id);
    let image = image.ok_or_else(|| Refusal::new(500, "its image is not in the store any more"))?;
    let folder = engine.shelf.container(&container.config.id);
    let lower = engine.store.lower_dirs(&image);
    Ok(Root {
        fd: volumes::whole(&lower, &folder.join("upper"), &folder.join("work"))?,
        _layers: Some(layers),
    })
}

/// Opens a path of the container, links followed inside it.
fn inside(root: &OwnedFd, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let relative = path.trim_start_matches('/');
    let relative = if relative.is_empty() { "." } else { relative };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(
        root.as_fd(),
        relative,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
}

fn not_there(container: &Container, path: &str) -> Refusal {
    let name = &container.config.name;
    Refusal::not_found(format!(
        "Could not find the file {path} in container {name}"
    ))
}

/// A file by its folder and its own name; the last part is not followed.
struct Place {
    folder: OwnedFd,
    name: String,
    is_root: bool,
}

fn place(root: &OwnedFd, container: &Container, path: &str) -> Result<Place, Refusal> {
    let trimmed = path.trim_end_matches('/').trim_end_matches("/.");
    let (folder, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    let is_root = name.is_empty() || name == "." || name == "..";
    // A path that ends in a slash or a dot means what a link leads to.
    let through = is_root || trimmed != path;
    let opened = inside(
        root,
        if through { path } else { folder },
        OFlags::PATH | OFlags::DIRECTORY,
    );
    let folder = opened.map_err(|_| not_there(container, path))?;
    let name = if through { "." } else { name };
    Ok(Place {
        folder,
        name: name.to_owned(),
        is_root: through,
    })
}

/// What clients want to know of a path before they copy, in a header.
fn stat_header(at: &Place, path: &str) -> Result<String, Refusal> {
    let gone = |_| Refusal::not_found(format!("Could not find the file {path}"));
    let stat = statat(&at.folder, &at.name, AtFlags::SYMLINK_NOFOLLOW).map_err(gone)?;
    let kind = stat.st_mode & 0o170_000;
    let link = match kind {
        0o120_000 => {
            let target = readlinkat(&at.folder, &at.name, Vec::new()).map_err(gone)?;
            let target = target.to_string_lossy().into_owned();
            let folder = FilePath::new(path).parent().unwrap_or(FilePath::new("/"));
            folder.join(target).display().to_string()
        }
        _ => String::new(),
    };
    let nanos = u64::try_from(stat.st_mtime)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000);
    let name = match base(path) {
        "" => "/",
        name => name,
    };
    let told = json!({
        "name": name,
        "size": stat.st_size,
        "mode": go_mode(stat.st_mode),
        "mtime": time::rfc3339(nanos.max(1)),
        "linkTarget": link,
    });
    Ok(BASE64.encode(told.to_string().as_bytes()))
}

fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/').trim_end_matches("/.");
    trimmed.rsplit('/').next().unwrap_or_default()
}

/// A mode as Go's `os.FileMode` has it.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        0o020_000 => (1 << 26) | (1 << 21),
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let bits = special.iter().filter(|(bit, _)| mode & bit != 0);
    kind | bits.map(|(_, go)| go).sum::<u32>() | mode & 0o777
}

fn path_of(asked: &Asked) -> Result<String, Refusal> {
    let path = asked.text("path");
    let path = path.ok_or_else(|| Refusal::invalid("bad parameter: path cannot be empty"))?;
    match path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Ok(format!("/{path}")),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Refusal::new(500, e.to_string())))
}

pub async fn head(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    let path = path_of(&asked)?;
    let root = root_of(&engine, &container).await?;
    let told = blocking(move || stat_header(&place(&root.fd, &container, &path)?, &path));
    Ok([("x-docker-container-path-stat", told.await?)].into_response())
}

pub async fn get(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    let path = path_of(&asked)?;
    let root = root_of(&engine, &container).await?;
    let (told, at) = blocking(move || {
        let at = place(&root.fd, &container, &path)?;
        let told = stat_header(&at, &path)?;
        // The name in the archive is the path's last part, whatever it leads to.
        let name = match base(&path) {
            "" | "." | ".." if at.is_root => "./".to_owned(),
            name => name.to_owned(),
        };
        Ok((told, (at, name, root)))
    })
    .await?;
    let body = packed(at.0.folder, at.0.name, at.1, at.2);
    let headers = [("x-docker-container-path-stat", told)];
    Ok((headers, [(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

/// An archive in the making; the root is held until it is done.
fn packed(folder: OwnedFd, name: String, called: String, root: Root) -> Body {
    let (to, received) = mpsc::channel(8);
    tokio::task::spawn_blocking(move || {
        let mut channel = Channel::new(to);
        if let Err(e) = pack(&folder, &name, &called, &mut channel) {
            channel.fail(&e);
        }
        drop((folder, root));
    });
    let pieces = futures_util::stream::unfold(received, |mut received| async move {
        let piece: io::Result<Vec<u8>> = received.recv().await?;
        Some((piece, received))
    });
    Body::from_stream(pieces)
}

pub async fn export(Shared(engine): Arced, Path(id): Id) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    let root = root_of(&engine, &container).await?;
    let folder = root.fd.try_clone().map_err(Error::from)?;
    let body = packed(folder, ".".into(), String::new(), root);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

pub async fn put(
    Shared(engine): Arced,
    Path(id): Id,
    asked: Asked,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let container = find(&engine, &id)?;
    let path = path_of(&asked)?;
    let (to, received) = mpsc::channel(8);
    let mut body = request.into_body().into_data_stream();
    let feeding = tokio::spawn(async move {
        while let Some(piece) = body.next().await {
            let piece = piece.map(|b| b.to_vec()).map_err(io::Error::other);
            if to.send(piece).await.is_err() {
                // Read to its end all the same: the client sends on until it is answered.
            }
        }
    });
    let root = root_of(&engine, &container).await?;
    let done = blocking(move || {
        let input = Pieces::new(received);
        extract(&engine, &container, &root.fd, &path, input)
    });
    let done = done.await;
    let _ = feeding.await;
    done.map(|()| StatusCode::OK)
}

fn extract(
    engine: &Arc<Engine>,
    container: &Container,
    root: &OwnedFd,
    path: &str,
    input: Pieces,
) -> Result<(), Refusal> {
    let _one_at_a_time = lock(&engine.filling);
    let folder = inside(root, path, OFlags::PATH);
    let folder = folder.map_err(|_| not_there(container, path))?;
    let stat = rustix::fs::fstat(&folder).map_err(io::Error::from)?;
    if stat.st_mode & 0o170_000 != 0o040_000 {
        return Err(Refusal::invalid("extraction point is not a directory"));
    }
    // Through the descriptor, and a dot, since links are not followed.
    let at = PathBuf::from(format!("/proc/self/fd/{}/.", folder.as_raw_fd()));
    let unpacked = unpack::unpack(input, &at, &unpack::Limits::default());
    unpacked.map_err(|e| Refusal::new(500, e.to_string()))?;
    Ok(())
}

/// A body as it comes, for a reader that waits.
struct Pieces {
    from: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(from: mpsc::Receiver<io::Result<Vec<u8>>>) -> Self {
        Self {
            from,
            piece: io::Cursor::default(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.from.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = io::Cursor::new(piece?),
            }
        }
    }
}

pub async fn changes(Shared(engine): Arced, Path(id): Id) -> Result<Json<Value>, Refusal> {
    let container = find(&engine, &id)?;
    let found = blocking(move || {
        let image = engine.store.find(&container.config.image_id);
        let lower = image
            .map(|i| engine.store.lower_dirs(&i))
            .unwrap_or_default();
        let upper = engine.shelf.container(&container.config.id).join("upper");
        Ok(diff::of(&upper, &lower)?)
    });
    let found = found.await?;
    let each = found
        .into_iter()
        .map(|(path, kind)| json!({"Path": path, "Kind": kind as u8}));
    // As dockerd: none at all is null.
    let list: Vec<Value> = each.collect();
    Ok(Json(if list.is_empty() {
        Value::Null
    } else {
        list.into()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_told_as_go_has_them() {
        assert_eq!(go_mode(0o040_755), (1 << 31) | 0o755);
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o120_777), (1 << 27) | 0o777);
        assert_eq!(go_mode(0o104_755), (1 << 23) | 0o755);
    }

    #[test]
    fn the_last_part_of_a_path_names_it_in_an_archive() {
        assert_eq!(base("/etc/hosts"), "hosts");
        assert_eq!(base("/etc/"), "etc");
        assert_eq!(base("/etc/."), "etc");
        assert_eq!(base("/"), "");
    }
}
