//! Requests with one answer: leases granted, readings, transactions.
//!
//! A reading of many keys goes page by page at one revision; it is never half of two revisions.

use super::link::Link;
use super::trouble::Trouble;
use crate::store::{Compare, Item, LeaseId, Reply, Request, Revision, Txn, Write};
use etcd_client::{CompareOp, GetOptions, KeyValue, PutOptions, TxnOp};
use std::time::Duration;

/// An answer is waited for this long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Keys in one page: with the largest values, 50 MiB.
const PAGE: i64 = 200;
/// A page, or what a watch has to tell at once.
pub(super) const LARGEST_ANSWER: usize = 64 << 20;

/// Asks; what is not known to be done is unknown, after a pause.
pub(super) async fn call(link: &Link, request: Request) -> Reply {
    match once(link, request).await {
        Ok(reply) => reply,
        Err(trouble) => {
            tokio::time::sleep(link.pause(&trouble)).await;
            Reply::Unknown
        }
    }
}

/// Asks once.
pub(super) async fn once(link: &Link, request: Request) -> Result<Reply, Trouble> {
    let (generation, client) = tokio::time::timeout(TIMEOUT, link.client())
        .await
        .map_err(|_| Trouble::Outage("no member answers".to_owned()))??;
    let asked = tokio::time::timeout(TIMEOUT, asked(link, client, request)).await;
    let asked = asked.unwrap_or_else(|_| {
        let seconds = TIMEOUT.as_secs();
        Err(Trouble::Outage(format!("no answer within {seconds} s")))
    });
    match asked {
        // Nothing was written: that is known, and no trouble.
        Err(Trouble::NoLease) => Ok(Reply::Txn {
            revision: link.revision(),
            done: false,
        }),
        Err(trouble) => {
            link.failed(generation, &trouble);
            Err(trouble)
        }
        Ok(reply) => Ok(reply),
    }
}

async fn asked(
    link: &Link,
    mut client: etcd_client::Client,
    request: Request,
) -> Result<Reply, Trouble> {
    let at = link.asked_at();
    let of = |e: etcd_client::Error| Trouble::of(&e);
    match request {
        Request::Grant(ttl) => {
            let seconds = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
            let granted = client.lease_grant(seconds, None).await.map_err(of)?;
            link.answered(granted.header(), 0)?;
            link.well();
            Ok(Reply::Granted(LeaseId(granted.id())))
        }
        Request::Read(prefixes) => {
            let reply = read(link, &client, &prefixes, at).await?;
            Ok(reply)
        }
        Request::Txn(txn) => {
            let writes = !txn.then.is_empty();
            let sent = client.txn(wire(&link.prefix, &txn)).await.map_err(of)?;
            link.answered(sent.header(), at)?;
            if sent.succeeded() && writes {
                link.well();
            }
            Ok(Reply::Txn {
                revision: sent
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::revision),
                done: sent.succeeded(),
            })
        }
        Request::KeepAlive(_) | Request::Watch(..) => {
            Err(Trouble::Refused("it has no single answer".to_owned()))
        }
    }
}

async fn read(
    link: &Link,
    client: &etcd_client::Client,
    prefixes: &[String],
    at: Revision,
) -> Result<Reply, Trouble> {
    let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
    let mut revision = 0;
    let mut items = Vec::new();
    for prefix in prefixes {
        let whole = format!("{}{prefix}", link.prefix);
        let end = end_of(&whole);
        let mut from = whole.into_bytes();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE)
                .with_revision(revision);
            let page = kv.get(from.clone(), Some(options)).await;
            let page = page.map_err(|e| Trouble::of(&e))?;
            link.answered(page.header(), at)?;
            if revision == 0 {
                revision = page
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::revision);
            }
            items.extend(page.kvs().iter().filter_map(|kv| item(&link.prefix, kv)));
            match page.kvs().last().filter(|_| page.more()) {
                Some(last) => from = [last.key(), b"\0"].concat(),
                None => break,
            }
        }
    }
    Ok(Reply::Read { revision, items })
}

/// The key after all that begin with this text.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// A key and value as the middle takes them. A key that is no text cannot be one of ours.
pub(super) fn item(prefix: &str, kv: &KeyValue) -> Option<Item> {
    Some(Item {
        key: kv.key_str().ok()?.strip_prefix(prefix)?.to_owned(),
        value: kv.value().to_vec(),
        created: kv.create_revision(),
        modified: kv.mod_revision(),
    })
}

fn wire(prefix: &str, txn: &Txn) -> etcd_client::Txn {
    let when: Vec<_> = txn
        .when
        .iter()
        .map(|compare| condition(prefix, compare))
        .collect();
    let then: Vec<_> = txn
        .then
        .iter()
        .map(|write| operation(prefix, write))
        .collect();
    etcd_client::Txn::new().when(when).and_then(then)
}

fn condition(prefix: &str, compare: &Compare) -> etcd_client::Compare {
    let key = |key: &formats::fleet::Key| format!("{prefix}{key}");
    let equal = CompareOp::Equal;
    match compare {
        Compare::Created(k, at) => etcd_client::Compare::create_revision(key(k), equal, *at),
        Compare::Modified(k, at) => etcd_client::Compare::mod_revision(key(k), equal, *at),
    }
}

fn operation(prefix: &str, write: &Write) -> TxnOp {
    match write {
        Write::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(format!("{prefix}{key}"), value.clone(), options)
        }
        Write::Delete(key) => TxnOp::delete(format!("{prefix}{key}"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one_of_its_length() {
        assert_eq!(end_of("/a/"), b"/a0");
        assert_eq!(end_of("a\u{7f}"), b"a\x80");
        assert_eq!(end_of(""), b"");
    }
}
