//! A look at a channel: changes of keys, the channel's document, and the release it is at.
//!
//! Gives only what was verified; remembers nothing itself.

use formats::channel::Channel;
use formats::manifest::Manifest;
use formats::repository;
use formats::root::Root;
use formats::signed::limit;

use super::{Source, SourceError};
use crate::trust::{
    Clock, Host, Memory, TrustError, TrustedRoot, VerifiedChannel, VerifiedRelease,
};

/// Changes of keys that one look follows: a repository cannot keep a host busy for ever.
const MAX_ROOTS: usize = 64;

/// What a look found.
#[derive(Debug)]
pub struct Look {
    /// The root that the rest was verified by.
    pub root: TrustedRoot,
    /// Files of the roots that came after the one that was trusted, oldest first: to be kept, so that
    /// the next look begins there.
    pub roots: Vec<Vec<u8>>,
    /// The channel; its memory is to be kept before anything else is done.
    pub channel: VerifiedChannel,
    /// The release, or why this host does not take it; `None` if it runs already.
    pub release: Option<Result<VerifiedRelease, LookError>>,
}

/// Why a look found nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Nobody to ask.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Not believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The repository does not have it.
    #[error("{0}: not in the repository")]
    Missing(String),
}

/// Looks at a channel.
///
/// # Errors
/// When root or channel cannot be had or are not believed. What is wrong with the release is in
/// [`Look::release`], since the channel was good.
pub async fn look<S: Source>(
    source: &mut S,
    mut root: TrustedRoot,
    host: &Host<'_>,
    memory: &Memory,
    clock: Clock,
) -> Result<Look, LookError> {
    let mut roots = Vec::new();
    while roots.len() < MAX_ROOTS {
        let path = repository::root(root.product(), root.version().saturating_add(1));
        let Some(file) = source.get(&path, limit::<Root>() as u64).await? else {
            break;
        };
        root = root.rotate(&file)?;
        roots.push(file);
    }
    let path = repository::channel(root.product(), host.channel);
    let file = have(source, path, limit::<Channel>()).await?;
    let channel = VerifiedChannel::verify(&root, &file, host.channel, memory, clock)?;
    let release = if channel.version() == host.running {
        None
    } else {
        Some(release(source, &root, &channel, host, clock).await)
    };
    Ok(Look {
        root,
        roots,
        channel,
        release,
    })
}

async fn release<S: Source>(
    source: &mut S,
    root: &TrustedRoot,
    channel: &VerifiedChannel,
    host: &Host<'_>,
    clock: Clock,
) -> Result<VerifiedRelease, LookError> {
    let path = repository::release(root.product(), channel.version());
    let file = have(source, path, limit::<Manifest>()).await?;
    Ok(VerifiedRelease::verify(root, channel, &file, host, clock)?)
}

async fn have<S: Source>(source: &mut S, path: String, limit: usize) -> Result<Vec<u8>, LookError> {
    let file = source.get(&path, limit as u64).await?;
    file.ok_or(LookError::Missing(path))
}
