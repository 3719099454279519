//! From a packet to what is to be done with it.
//!
//! Pure, and safe with any bytes: what cannot be read is answered with an error or not at all.

use std::net::{IpAddr, Ipv4Addr};

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, PTR};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::names::{Known, Names};

/// Seconds that an answer may be kept: a container that comes again may have another address.
const TTL: u32 = 5;
/// Bytes of a header.
const HEAD: usize = 12;
/// What we take and say that we take; no fragments on links of 1280 bytes and more.
const PAYLOAD: u16 = 1232;

/// What is to be done with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: it is no question, or not from a container.
    Silence,
    /// These bytes go back.
    Reply(Vec<u8>),
    /// It goes to other servers: these, or the host's when there are none.
    Ask(Vec<IpAddr>),
}

/// What is to be done with `packet` from the address `from`. A reply has at most `most` bytes, or
/// what the asker takes if that is less.
pub fn answer(packet: &[u8], from: Ipv4Addr, names: &Names, most: usize) -> Answer {
    let Some(asker) = names.at(from) else {
        return Answer::Silence;
    };
    if packet.len() < HEAD || packet[2] & 0x80 != 0 {
        return Answer::Silence;
    }
    let Ok(question) = Message::from_vec(packet) else {
        return Answer::Reply(refusal(packet, ResponseCode::FormErr));
    };
    if question.metadata.op_code != OpCode::Query {
        return Answer::Reply(refusal(packet, ResponseCode::NotImp));
    }
    let [query] = question.queries.as_slice() else {
        return Answer::Reply(refusal(packet, ResponseCode::FormErr));
    };
    let Some(found) = known(query, asker, names, question.metadata.id) else {
        return if asker.may_ask_others() {
            Answer::Ask(asker.upstreams.clone())
        } else {
            Answer::Reply(refusal(packet, ResponseCode::ServFail))
        };
    };
    reply(&question, found, most).map_or_else(
        || Answer::Reply(refusal(packet, ResponseCode::ServFail)),
        Answer::Reply,
    )
}

/// The header of `packet` as an answer that says only `code`.
pub fn refusal(packet: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut bytes = packet.get(..HEAD).unwrap_or(&[0; HEAD]).to_vec();
    bytes[2] = bytes[2] & 0x79 | 0x80;
    bytes[3] = 0x80 | code.low();
    bytes[4..].fill(0);
    // With its question, where that can be read: most clients look at it.
    let Ok(question) = Message::from_vec(packet) else {
        return bytes;
    };
    let mut message = Message::error_msg(question.metadata.id, question.metadata.op_code, code);
    message.metadata.recursion_desired = question.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.queries = question.queries;
    message.to_vec().unwrap_or(bytes)
}

/// The records of a name that is a container's; `None` when it is not.
fn known(query: &Query, asker: &Known, names: &Names, id: u16) -> Option<Vec<Record>> {
    if query.query_class() != DNSClass::IN {
        return None;
    }
    let record = |data| Record::from_rdata(query.name().clone(), TTL, data);
    if query.query_type() == RecordType::PTR {
        let name = names.name_of(asker, reversed(query.name())?)?;
        let name = Name::from_ascii(format!("{name}.")).ok()?;
        return Some(vec![record(RData::PTR(PTR(name)))]);
    }
    let mut addresses = names.addresses(asker, &plain(query.name()));
    if addresses.is_empty() {
        return None;
    }
    // Whoever takes the first one spreads over all of them.
    let shift = usize::from(id) % addresses.len();
    addresses.rotate_left(shift);
    // Other kinds of records of a container's name there are none, and nobody else is to be asked.
    let wanted = matches!(query.query_type(), RecordType::A | RecordType::ANY);
    let addresses = addresses.into_iter().filter(|_| wanted);
    Some(addresses.map(|ip| record(RData::A(A(ip)))).collect())
}

fn reply(question: &Message, found: Vec<Record>, most: usize) -> Option<Vec<u8>> {
    let mut message = Message::new(
        question.metadata.id,
        MessageType::Response,
        question.metadata.op_code,
    );
    message.metadata.recursion_desired = question.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.queries = question.queries.clone();
    message.answers = found;
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.edns = Some(edns);
    }
    let bytes = message.to_vec().ok()?;
    if bytes.len() <= most.min(limit(question, most)) {
        return Some(bytes);
    }
    message.truncate().to_vec().ok()
}

/// Over TCP there is none but the length's own.
fn limit(question: &Message, most: usize) -> usize {
    if most > usize::from(PAYLOAD) {
        most
    } else {
        usize::from(question.max_payload())
    }
}

/// Bytes of a reply over UDP.
pub const OVER_UDP: usize = PAYLOAD as usize;
/// Bytes of a reply over TCP.
pub const OVER_TCP: usize = u16::MAX as usize;

/// Lower case, without the last dot.
fn plain(name: &Name) -> String {
    let mut text = String::new();
    for label in name {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&String::from_utf8_lossy(label));
    }
    text.make_ascii_lowercase();
    text
}

/// The address that an `in-addr.arpa` name is of.
fn reversed(name: &Name) -> Option<Ipv4Addr> {
    let text = plain(name);
    let digits = text.strip_suffix(".in-addr.arpa")?;
    let mut octets = [0; 4];
    let mut labels = digits.split('.');
    for octet in octets.iter_mut().rev() {
        *octet = labels.next()?.parse().ok()?;
    }
    labels.next().is_none().then_some(Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests;
