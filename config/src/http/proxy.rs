//! `ignition.proxy`: which proxy a URL goes through, and which hosts go without.
//!
//! Pure; names are compared as they are written, none is resolved.

use super::connect::{host, port};
use hyper::Uri;
use std::net::IpAddr;

/// Proxies, as a document names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For http, and for https where there is no other.
    pub http: Option<String>,
    /// For https.
    pub https: Option<String>,
    /// Hosts that are asked without.
    pub none_for: Vec<String>,
}

impl Proxies {
    /// The proxy that this URL goes through.
    ///
    /// # Errors
    /// It is no URL of http.
    pub fn of(&self, url: &Uri) -> Result<Option<Uri>, &'static str> {
        let secure = url.scheme_str() == Some("https");
        let proxy = match secure {
            true => self.https.as_ref().or(self.http.as_ref()),
            false => self.http.as_ref(),
        };
        let Some(proxy) = proxy.filter(|proxy| !proxy.is_empty() && !self.is_exempt(url)) else {
            return Ok(None);
        };
        let proxy: Option<Uri> = proxy.parse().ok();
        let good = |proxy: &Uri| proxy.scheme_str() == Some("http") && proxy.host().is_some();
        match proxy.filter(good) {
            Some(proxy) => Ok(Some(proxy)),
            None => Err("expected a proxy like http://HOST:PORT"),
        }
    }

    fn is_exempt(&self, url: &Uri) -> bool {
        let (host, port) = (host(url).to_ascii_lowercase(), port(url));
        // Never through a proxy: what only this machine, or its hypervisor, can answer.
        let own = host == "localhost" || host.parse().is_ok_and(is_near);
        own || self
            .none_for
            .iter()
            .any(|rule| matches(rule.trim(), &host, port))
    }
}

fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

fn matches(rule: &str, host: &str, port: u16) -> bool {
    let rule = rule.to_ascii_lowercase();
    if rule == "*" {
        return true;
    }
    if let (Some((network, bits)), Ok(address)) = (rule.split_once('/'), host.parse()) {
        return within(network, bits, address);
    }
    let (name, wanted) = match rule.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') => (name, digits.parse().ok()),
        _ => (rule.as_str(), None),
    };
    if wanted.is_some_and(|wanted: u16| wanted != port) || name.is_empty() {
        return false;
    }
    match name.trim_start_matches('*').strip_prefix('.') {
        Some(domain) => host.ends_with(&format!(".{domain}")),
        None => host == name || host.ends_with(&format!(".{name}")),
    }
}

fn within(network: &str, bits: &str, address: IpAddr) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let prefix = |address: u128, width: u32| address.checked_shr(width.saturating_sub(bits));
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) if bits <= 32 => {
            prefix(u32::from(a).into(), 32) == prefix(u32::from(b).into(), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if bits <= 128 => {
            prefix(u128::from(a), 128) == prefix(u128::from(b), 128)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_that_go_without_are_those_that_the_rules_name() {
        let proxies = |rule: &str| Proxies {
            http: Some("http://proxy:3128".into()),
            https: None,
            none_for: vec![rule.into()],
        };
        let direct = |rule: &str, url: &str| {
            let url: Uri = url.parse().unwrap();
            proxies(rule).of(&url).unwrap().is_none()
        };
        assert!(direct("*", "https://a.b/"));
        assert!(direct("foo.com", "http://bar.foo.com/") && direct("foo.com", "http://foo.com/"));
        assert!(!direct("foo.com", "http://xfoo.com/"));
        assert!(direct(".y.com", "http://x.y.com/") && !direct(".y.com", "http://y.com/"));
        assert!(
            direct("1.2.3.0/24", "http://1.2.3.9/") && !direct("1.2.3.0/24", "http://1.2.4.9/")
        );
        assert!(direct("a.b:80", "http://a.b/") && !direct("a.b:81", "http://a.b/"));
        assert!(direct("", "http://169.254.169.254/") && direct("", "http://127.0.0.1/"));
        assert!(!direct("", "http://a.b/") && !direct("0.0.0.0/99", "http://1.1.1.1/"));
    }

    #[test]
    fn https_goes_through_the_proxy_of_http_where_it_has_none_of_its_own() {
        let mut proxies = Proxies {
            http: Some("http://one:1".into()),
            ..Proxies::default()
        };
        let url: Uri = "https://a.b/".parse().unwrap();
        assert_eq!(proxies.of(&url).unwrap().unwrap().host(), Some("one"));
        proxies.https = Some("http://two:2".into());
        assert_eq!(proxies.of(&url).unwrap().unwrap().host(), Some("two"));
        proxies.https = Some("ftp://two".into());
        assert!(proxies.of(&url).is_err());
    }
}
