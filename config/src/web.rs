//! Fetching for documents: HTTP with the settings that the documents themselves make.
//!
//! Never sends a header of one document's resource to another server.

use crate::http::{Proxies, Settings, ask};
use crate::ignition::gather::{Fetch, fetched};
use crate::ignition::version::NEWEST;
use crate::json::Node;
use crate::problem::{Findings, Problem};
use crate::resource::{Address, Resource};
use hyper::Method;
use std::time::Duration;

/// Fetches over the network.
#[derive(Debug, Clone)]
pub struct Web {
    /// How it asks; documents add to it.
    pub settings: Settings,
}

impl Fetch for Web {
    fn fetch(&mut self, resource: &Resource) -> Result<Vec<u8>, String> {
        let Address::Http(url) = &resource.address else {
            return Ok(Vec::new());
        };
        let answer = ask(&Method::GET, url, &resource.headers, &self.settings)?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("the server answered {status}")),
        }
    }

    fn settings(&mut self, ignition: &Node) -> Result<(), Problem> {
        if let Some(timeouts) = ignition.get("timeouts") {
            let seconds = |name: &str| {
                let number = u64::try_from(timeouts.number(name)?).ok()?;
                Some(Duration::from_secs(number))
            };
            if let Some(headers) = seconds("httpResponseHeaders") {
                self.settings.headers = Some(headers).filter(|time| !time.is_zero());
            }
            if let Some(total) = seconds("httpTotal").filter(|time| !time.is_zero()) {
                // Whoever waits has a bound of its own, which a document does not lengthen.
                let bound = self.settings.total.unwrap_or(total);
                self.settings.total = Some(total.min(bound));
            }
        }
        if let Some(proxy) = ignition.get("proxy") {
            let text = |name: &str| proxy.text(name).map(str::to_owned);
            let none_for = proxy.list("noProxy").filter_map(Node::as_text);
            self.settings.proxies = Proxies {
                http: text("httpProxy"),
                https: text("httpsProxy"),
                none_for: none_for.map(str::to_owned).collect(),
            };
        }
        self.authorities(ignition)
    }
}

impl Web {
    fn authorities(&mut self, ignition: &Node) -> Result<(), Problem> {
        let Some(tls) = ignition.get("security").and_then(|node| node.get("tls")) else {
            return Ok(());
        };
        let nodes: Vec<&Node> = tls.list("certificateAuthorities").collect();
        for (index, node) in nodes.into_iter().enumerate() {
            let field = format!("ignition.security.tls.certificateAuthorities[{index}]");
            let mut findings = Findings::default();
            let Some(resource) = Resource::read(node, &field, NEWEST, &mut findings) else {
                continue;
            };
            let pem = fetched(self, &resource)
                .map_err(|text| Problem::new(resource.at, &format!("{field}.source"), text))?;
            self.settings.more_authorities.push(pem);
        }
        Ok(())
    }
}
