//! A watch: what changes below some prefixes, from a revision on, until it ends.
//!
//! It never goes on by itself: after compaction, a lost member or a cut connection who asked reads again.

use super::Event;
use super::calls::{LARGEST_ANSWER, TIMEOUT, end_of, item};
use super::link::Link;
use super::trouble::Trouble;
use crate::store::{Change, Revision, Watched};
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Watches; the last event is that it ended.
pub(super) async fn watch(
    link: Arc<Link>,
    events: mpsc::UnboundedSender<Event>,
    number: u64,
    prefixes: Vec<String>,
    from: Revision,
) {
    let trouble = run(&link, &events, number, &prefixes, from).await;
    if !matches!(trouble, Trouble::Compacted) {
        tokio::time::sleep(link.pause(&trouble)).await;
    }
    let _ = events.send(Event::Watched(number, Watched::Ended));
}

async fn run(
    link: &Link,
    events: &mpsc::UnboundedSender<Event>,
    number: u64,
    prefixes: &[String],
    from: Revision,
) -> Trouble {
    let opened = tokio::time::timeout(TIMEOUT, link.client()).await;
    let (generation, client) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(trouble)) => return trouble,
        Err(_) => return Trouble::Outage("no member answers".to_owned()),
    };
    let told = tell(link, client, events, number, prefixes, from);
    let trouble = tokio::select! {
        ended = told => match ended { Ok(never) => match never {}, Err(trouble) => trouble },
        () = link.given_up(generation) => return Trouble::Outage("its member was given up".to_owned()),
    };
    if !matches!(trouble, Trouble::Compacted | Trouble::Stop(_)) {
        link.failed(generation, &trouble);
    }
    trouble
}

async fn tell(
    link: &Link,
    client: etcd_client::Client,
    events: &mpsc::UnboundedSender<Event>,
    number: u64,
    prefixes: &[String],
    from: Revision,
) -> Result<std::convert::Infallible, Trouble> {
    link.asked_at();
    let mut stream = open(link, client, prefixes, from).await?;
    loop {
        let answer = stream.message().await.map_err(|e| Trouble::of(&e))?;
        let answer =
            answer.ok_or_else(|| Trouble::Outage("the watch's stream ended".to_owned()))?;
        link.answered(answer.header(), 0)?;
        if answer.compact_revision() > 0 {
            return Err(Trouble::Compacted);
        }
        if answer.canceled() {
            return Err(Trouble::Outage(format!(
                "watch: {}",
                answer.cancel_reason()
            )));
        }
        if let Some(watched) = changes(&link.prefix, &answer) {
            let _ = events.send(Event::Watched(number, watched));
        }
    }
}

/// All prefixes on one stream.
async fn open(
    link: &Link,
    client: etcd_client::Client,
    prefixes: &[String],
    from: Revision,
) -> Result<WatchStream, Trouble> {
    let mut watches = client
        .watch_client()
        .max_decoding_message_size(LARGEST_ANSWER);
    let mut stream: Option<WatchStream> = None;
    for prefix in prefixes {
        let key = format!("{}{prefix}", link.prefix);
        let options = WatchOptions::new()
            .with_range(end_of(&key))
            .with_start_revision(from);
        match &mut stream {
            None => {
                let opened = tokio::time::timeout(TIMEOUT, watches.watch(key, Some(options))).await;
                let opened =
                    opened.map_err(|_| Trouble::Outage("no stream for a watch".to_owned()))?;
                stream = Some(opened.map_err(|e| Trouble::of(&e))?);
            }
            Some(stream) => stream
                .watch(key, Some(options))
                .await
                .map_err(|e| Trouble::of(&e))?,
        }
    }
    stream.ok_or_else(|| Trouble::Refused("a watch of nothing".to_owned()))
}

fn changes(prefix: &str, answer: &WatchResponse) -> Option<Watched> {
    let mut changes = Vec::new();
    let mut last = 0;
    for event in answer.events() {
        let Some(kv) = event.kv() else { continue };
        last = kv.mod_revision();
        let Some(item) = item(prefix, kv) else {
            continue;
        };
        changes.push(match event.event_type() {
            EventType::Put => Change::Put(item),
            EventType::Delete => Change::Deleted {
                key: item.key,
                revision: item.modified,
            },
        });
    }
    (last > 0).then_some(Watched::Changes(last, changes))
}
