//! The few calls to a bus that clients make before they talk to a peer.
//!
//! There is no bus: one peer has one name, and nobody else is there.

use super::{Answer, Failure, NAME, Value, strings};
use crate::systemd1::asked::Call;

/// The name that a client of the bus-less socket gets.
const CLIENT: &str = ":1.1";
/// Ours.
const SERVER: &str = ":1.0";

/// `org.freedesktop.DBus`.
pub fn answer(call: &Call) -> Answer {
    let known = |name: &str| name == NAME || name == "org.freedesktop.DBus" || name == SERVER;
    let absent = |name: &str| Failure {
        name: "org.freedesktop.DBus.Error.NameHasNoOwner",
        message: format!("The name {name} has no owner: there is no bus here."),
    };
    Ok(match call.member.as_str() {
        "Hello" => vec![CLIENT.into()],
        "AddMatch" | "RemoveMatch" => Vec::new(),
        "ListNames" => vec![strings(["org.freedesktop.DBus", NAME, SERVER, CLIENT])],
        "ListActivatableNames" => vec![strings::<&str>([])],
        "NameHasOwner" => vec![known(call.text(0)?).into()],
        "GetNameOwner" => match call.text(0)? {
            NAME | SERVER => vec![SERVER.into()],
            name => return Err(absent(name)),
        },
        "GetConnectionUnixUser" if known(call.text(0)?) => vec![0u32.into()],
        "GetConnectionUnixProcessID" if known(call.text(0)?) => vec![std::process::id().into()],
        "StartServiceByName" if known(call.text(0)?) => vec![Value::U32(2)],
        "GetId" => vec!["00000000000000000000000000000001".into()],
        member => return Err(Failure::no_method(&call.interface, member)),
    })
}

/// `org.freedesktop.DBus.Peer`.
pub fn peer(call: &Call) -> Answer {
    match call.member.as_str() {
        "Ping" => Ok(Vec::new()),
        "GetMachineId" => {
            let id = std::fs::read_to_string("/etc/machine-id");
            let id = id.map_err(|e| Failure::failed(format!("read /etc/machine-id: {e}")))?;
            Ok(vec![id.trim().into()])
        }
        member => Err(Failure::no_method(&call.interface, member)),
    }
}
