//! What `busctl tree` and `busctl introspect` read: the objects and their interfaces.
//!
//! The interfaces' XML is the contract in [`formats::systemd1`]; nothing is said twice.

use super::view::View;
use formats::systemd1::{JOB, MANAGER, SERVICE, TIMER, UNIT, escape};

const HEAD: &str = concat!(
    "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n",
    "\"https://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
);
const COMMON: &str = include_str!("common.xml");

/// An object with these interfaces and children.
pub fn node<'a>(interfaces: &[&str], children: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from(HEAD);
    if !interfaces.is_empty() {
        out.push_str(COMMON);
    }
    for interface in interfaces {
        out.push_str(interface);
    }
    for child in children {
        out.push_str(&format!(" <node name=\"{child}\"/>\n"));
    }
    out.push_str("</node>\n");
    out
}

/// The manager.
pub fn manager() -> String {
    node(&[MANAGER], ["unit", "job"])
}

/// A unit, of the kind that it is.
pub fn unit(view: &View) -> String {
    let mut interfaces = vec![UNIT];
    interfaces.extend(view.service.is_some().then_some(SERVICE));
    interfaces.extend(view.timer.is_some().then_some(TIMER));
    node(&interfaces, [])
}

/// A job.
pub fn job() -> String {
    node(&[JOB], [])
}

/// All units, as children.
pub fn units(views: &[View]) -> String {
    let names: Vec<String> = views.iter().map(|view| escape(&view.name)).collect();
    node(&[], names.iter().map(String::as_str))
}
