//! Keeps a lease alive over one stream, which is opened anew when it or its member fails.
//!
//! One keep-alive at a time: who asks counts from when it asked, so a late answer is worth little.

use super::Event;
use super::link::Link;
use super::trouble::Trouble;
use crate::store::{LeaseId, Reply};
use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A member that takes longer does not answer.
const TIMEOUT: Duration = Duration::from_secs(2);

struct Stream {
    generation: u64,
    lease: LeaseId,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

/// Starts it; it ends when nobody can ask any more.
pub(super) fn start(
    link: Arc<Link>,
    events: mpsc::UnboundedSender<Event>,
) -> mpsc::UnboundedSender<(u64, LeaseId)> {
    let (ask, mut asked) = mpsc::unbounded_channel::<(u64, LeaseId)>();
    tokio::spawn(async move {
        let mut stream = None;
        while let Some((number, lease)) = asked.recv().await {
            let kept = tokio::time::timeout(TIMEOUT, keep(&link, &mut stream, lease)).await;
            let kept = kept.unwrap_or_else(|_| {
                let seconds = TIMEOUT.as_secs();
                Err(Trouble::Outage(format!("no keep-alive within {seconds} s")))
            });
            let reply = kept.unwrap_or_else(|trouble| {
                let of = stream.take().map(|stream: Stream| stream.generation);
                // Without a stream it was the connection that failed, which was told already.
                if let Some(generation) = of {
                    link.failed(generation, &trouble);
                }
                Reply::Unknown
            });
            if events.send(Event::Reply(number, reply)).is_err() {
                return;
            }
        }
    });
    ask
}

async fn keep(link: &Link, slot: &mut Option<Stream>, lease: LeaseId) -> Result<Reply, Trouble> {
    let (generation, client) = link.client().await?;
    let fits = |s: &Stream| s.generation == generation && s.lease == lease;
    let stream = match slot.take().filter(fits) {
        Some(stream) => slot.insert(stream),
        None => slot.insert(open(client, generation, lease, link).await?),
    };
    stream
        .keeper
        .keep_alive()
        .await
        .map_err(|e| Trouble::of(&e))?;
    let answer = stream
        .answers
        .message()
        .await
        .map_err(|e| Trouble::of(&e))?;
    let ended = || Trouble::Outage("the keep-alive's stream ended".to_owned());
    let answer = answer.ok_or_else(ended)?;
    link.answered(answer.header(), 0)?;
    if answer.ttl() > 0 {
        return Ok(Reply::KeptAlive);
    }
    *slot = None;
    Ok(Reply::NoSuchLease)
}

/// Opening asks once itself.
async fn open(
    mut client: etcd_client::Client,
    generation: u64,
    lease: LeaseId,
    link: &Link,
) -> Result<Stream, Trouble> {
    let opened = tokio::time::timeout(TIMEOUT, client.lease_keep_alive(lease.0)).await;
    let opened = opened
        .map_err(|_| Trouble::Outage("no stream for keep-alives".to_owned()))
        .and_then(|opened| opened.map_err(|e| Trouble::of(&e)));
    let (keeper, answers) = opened.inspect_err(|trouble| link.failed(generation, trouble))?;
    Ok(Stream {
        generation,
        lease,
        keeper,
        answers,
    })
}
