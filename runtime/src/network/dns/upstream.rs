//! Questions about other names, handed on to other servers as they are.
//!
//! Each has a port and a number of its own, a time limit, and no more than a few servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use formats::paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// For one server.
const PATIENCE: Duration = Duration::from_secs(2);
/// Servers that are asked one after the other.
const SERVERS: usize = 3;
/// Bytes of an answer over UDP.
const LONGEST: usize = 4096;
/// The port of all servers.
const PORT: u16 = 53;

/// How a question came, and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A datagram.
    Udp,
    /// A connection.
    Tcp,
}

/// The answer of the first of `servers` (the host's if there are none) that gives one; one that
/// says that it failed or refuses is the answer only when the others say nothing better.
pub async fn ask(question: &[u8], servers: &[IpAddr], over: Over) -> Option<Vec<u8>> {
    let servers = if servers.is_empty() {
        hosts_servers().await
    } else {
        servers.to_vec()
    };
    let mut worse = None;
    for server in servers.into_iter().take(SERVERS) {
        let to = SocketAddr::new(server, PORT);
        let asked = timeout(PATIENCE, async {
            match over {
                Over::Udp => by_datagram(question, to).await,
                Over::Tcp => by_connection(question, to).await,
            }
        });
        match asked.await {
            Ok(Ok(answer)) if !is_failure(&answer) => return Some(answer),
            Ok(Ok(answer)) => worse = worse.or(Some(answer)),
            Ok(Err(e)) => tracing::debug!("ask {to}: {e}"),
            Err(_) => tracing::debug!("ask {to}: no answer"),
        }
    }
    worse
}

async fn hosts_servers() -> Vec<IpAddr> {
    let text = tokio::fs::read_to_string(paths::RESOLV_CONF).await;
    let text = text.unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"));
    let servers: Vec<IpAddr> = lines.filter_map(|rest| rest.trim().parse().ok()).collect();
    if servers.is_empty() {
        crate::network::resolver::FALLBACK.to_vec()
    } else {
        servers
    }
}

/// SERVFAIL, NOTIMP or REFUSED.
fn is_failure(answer: &[u8]) -> bool {
    matches!(answer.get(3).map(|flags| flags & 15), Some(2 | 4 | 5))
}

async fn by_datagram(question: &[u8], to: SocketAddr) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    let (sent, id) = numbered(question);
    socket.send(&sent).await?;
    let mut buffer = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if belongs(&buffer[..length], &sent) {
            buffer.truncate(length);
            buffer[..2].copy_from_slice(&id);
            return Ok(buffer);
        }
    }
}

async fn by_connection(question: &[u8], to: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    let framed = [&length.to_be_bytes()[..], question].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if belongs(&answer, question) {
        Ok(answer)
    } else {
        Err(std::io::Error::other("an answer to another question"))
    }
}

/// The question under a number that nobody can guess, and its own number.
fn numbered(question: &[u8]) -> (Vec<u8>, [u8; 2]) {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(question.as_ptr() as usize);
    let mut sent = question.to_vec();
    let id = [sent[0], sent[1]];
    sent[..2].copy_from_slice(&random.to_be_bytes()[..2]);
    (sent, id)
}

/// Whether `answer` is one, to `question`: number and first question are equal.
fn belongs(answer: &[u8], question: &[u8]) -> bool {
    let end = question_end(question);
    answer.len() >= end
        && answer[..2] == question[..2]
        && answer[2] & 0x80 != 0
        && answer[12..end].eq_ignore_ascii_case(&question[12..end])
}

/// Where the only question of a packet that has been read before ends.
fn question_end(packet: &[u8]) -> usize {
    let mut at = 12;
    while let Some(&length) = packet.get(at).filter(|&&length| length != 0) {
        at += 1 + usize::from(length);
    }
    (at + 5).min(packet.len()).max(12)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x02db\0\0\x01\0\x01";

    fn answer(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut answer = QUESTION.to_vec();
        answer[2] |= 0x80;
        change(&mut answer);
        answer
    }

    #[test]
    fn only_an_answer_to_the_very_question_is_taken() {
        assert!(belongs(&answer(|_| {}), QUESTION));
        assert!(belongs(&answer(|a| a[13] = b'D'), QUESTION));
        assert!(!belongs(&answer(|a| a[1] = 8), QUESTION), "number");
        assert!(!belongs(&answer(|a| a[13] = b'x'), QUESTION), "name");
        assert!(!belongs(&answer(|a| a[17] = 28), QUESTION), "kind");
        assert!(!belongs(QUESTION, QUESTION), "a question");
        for cut in 0..QUESTION.len() {
            assert!(!belongs(&answer(|a| a.truncate(cut)), QUESTION), "{cut}");
        }
    }

    #[test]
    fn a_question_goes_out_under_another_number() {
        let numbers: std::collections::BTreeSet<_> = (0..20)
            .map(|_| numbered(QUESTION).0[..2].to_vec())
            .collect();
        assert!(numbers.len() > 15);
        assert_eq!(numbered(QUESTION).1, [0, 7]);
    }
}
