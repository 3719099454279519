use hickory_resolver::proto::op::Message;
use proptest::prelude::*;

use super::super::names::Seat;
use super::*;

const WEB: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 2);
const DB: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 3);
const HIDDEN: Ipv4Addr = Ipv4Addr::new(10, 89, 1, 2);

fn seat(network: &str, ip: Ipv4Addr, names: &[&str]) -> Seat {
    Seat {
        network: format!("id of {network}"),
        network_name: network.to_owned(),
        internal: network == "back",
        ip,
        names: names.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// web and db share `front`, db and hidden share `back`, which is internal.
fn names() -> Names {
    let mut names = Names::default();
    let known = |seats| Known {
        seats,
        upstreams: Vec::new(),
    };
    let back = Ipv4Addr::new(10, 89, 1, 3);
    names.set("1", known(vec![seat("front", WEB, &["Web", "www"])]));
    names.set(
        "2",
        known(vec![
            seat("front", DB, &["db"]),
            seat("back", back, &["db", "store"]),
        ]),
    );
    names.set("3", known(vec![seat("back", HIDDEN, &["hidden"])]));
    names
}

fn ask(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn told(name: &str, kind: RecordType, from: Ipv4Addr) -> Option<Message> {
    match answer(&ask(name, kind), from, &names(), OVER_UDP) {
        Answer::Reply(bytes) => Some(Message::from_vec(&bytes).unwrap()),
        _ => None,
    }
}

fn addresses(name: &str, from: Ipv4Addr) -> Vec<String> {
    let message = told(name, RecordType::A, from).expect("a reply");
    message.answers.iter().map(|r| r.data.to_string()).collect()
}

#[test]
fn names_and_aliases_are_known_to_those_in_the_same_network_only() {
    assert_eq!(addresses("db.", WEB), ["10.89.0.3"]);
    assert_eq!(addresses("DB.front.", WEB), ["10.89.0.3"]);
    assert_eq!(addresses("web.", DB), ["10.89.0.2"]);
    assert_eq!(addresses("www.", WEB), ["10.89.0.2"]);
    assert_eq!(addresses("db.", HIDDEN), ["10.89.1.3"]);
    for unknown in ["hidden.", "store.", "db.back.", "example.org."] {
        let asked = answer(&ask(unknown, RecordType::A), WEB, &names(), OVER_UDP);
        assert_eq!(asked, Answer::Ask(Vec::new()), "{unknown}");
    }
}

#[test]
fn golden_bytes_of_an_answer() {
    let Answer::Reply(bytes) = answer(&ask("db.", RecordType::A), WEB, &names(), OVER_UDP) else {
        panic!("no reply");
    };
    let golden = b"\0\x07\x81\x80\0\x01\0\x01\0\0\0\0\x02db\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\x59\0\x03";
    assert_eq!(bytes, golden);
}

#[test]
fn a_known_name_has_no_other_records_and_nobody_else_is_asked() {
    for kind in [RecordType::AAAA, RecordType::MX, RecordType::HTTPS] {
        let message = told("db.", kind, WEB).expect("a reply");
        assert_eq!(message.metadata.response_code, ResponseCode::NoError);
        assert!(message.answers.is_empty(), "{kind}");
    }
}

#[test]
fn an_address_is_named_back() {
    let message = told("3.0.89.10.in-addr.arpa.", RecordType::PTR, WEB).expect("a reply");
    assert_eq!(message.answers[0].data.to_string(), "db.front.");
    assert!(told("2.1.89.10.in-addr.arpa.", RecordType::PTR, WEB).is_none());
}

#[test]
fn questions_do_not_leave_an_internal_network_and_strangers_hear_nothing() {
    let message = told("example.org.", RecordType::A, HIDDEN).expect("a reply");
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    let stranger = Ipv4Addr::new(192, 0, 2, 9);
    let asked = answer(&ask("db.", RecordType::A), stranger, &names(), OVER_UDP);
    assert_eq!(asked, Answer::Silence);
}

#[test]
fn many_replicas_are_cut_over_udp_and_whole_over_tcp() {
    let mut names = names();
    for number in 0..100 {
        let ip = Ipv4Addr::new(10, 89, 0, 100 + number);
        let seats = vec![seat("front", ip, &["worker"])];
        names.set(
            &format!("w{number}"),
            Known {
                seats,
                upstreams: Vec::new(),
            },
        );
    }
    for (most, count, cut) in [(OVER_UDP, 0, true), (OVER_TCP, 100, false)] {
        let Answer::Reply(bytes) = answer(&ask("worker.", RecordType::A), WEB, &names, most) else {
            panic!("no reply");
        };
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.answers.len(), count);
        assert_eq!(message.metadata.truncation, cut);
    }
}

#[test]
fn what_is_no_question_is_refused_or_passed_over() {
    let code = |packet: &[u8]| match answer(packet, WEB, &names(), OVER_UDP) {
        Answer::Reply(bytes) => Some(Message::from_vec(&bytes).unwrap().metadata.response_code),
        _ => None,
    };
    let good = ask("db.", RecordType::A);
    assert_eq!(code(&good[..11]), None);
    assert_eq!(code(&good[..14]), Some(ResponseCode::FormErr));
    let mut response = good.clone();
    response[2] |= 0x80;
    assert_eq!(code(&response), None);
    let mut notify = good.clone();
    notify[2] = 4 << 3;
    assert_eq!(code(&notify), Some(ResponseCode::NotImp));
    let mut none = good[..12].to_vec();
    none[5] = 0;
    assert_eq!(code(&none), Some(ResponseCode::FormErr));
}

proptest! {
    #[test]
    fn no_packet_makes_it_panic(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = answer(&packet, WEB, &names(), OVER_UDP);
    }

    #[test]
    fn no_damaged_question_makes_it_panic(
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut packet = ask("3.0.89.10.in-addr.arpa.", RecordType::PTR);
        for (index, byte) in at {
            let index = index.index(packet.len());
            packet[index] = byte;
        }
        packet.truncate(cut.index(packet.len() + 1));
        if let Answer::Reply(bytes) = answer(&packet, WEB, &names(), OVER_UDP) {
            prop_assert!(bytes.len() >= HEAD && bytes[..2] == packet[..2]);
        }
    }
}
