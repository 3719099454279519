//! Which provider this machine runs at, by what its firmware says of it (SMBIOS).
//!
//! A machine that says nothing is at none: no address is asked on a guess.

use std::path::Path;

/// A provider of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// Nobody.
    None,
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// OpenStack.
    OpenStack,
    /// DigitalOcean.
    DigitalOcean,
    /// Hetzner Cloud.
    Hetzner,
    /// A NoCloud seed at this URL, with a slash at its end.
    NoCloud(String),
    /// VMware, whose guestinfo cannot be read here.
    Vmware,
}

impl Platform {
    /// By the name in `ignition.platform.id=`.
    ///
    /// # Errors
    /// An unknown one.
    pub fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "aws" | "ec2" => Self::Aws,
            "gcp" | "gce" => Self::Gcp,
            "azure" => Self::Azure,
            "openstack" => Self::OpenStack,
            "digitalocean" => Self::DigitalOcean,
            "hetzner" => Self::Hetzner,
            "vmware" => Self::Vmware,
            "metal" | "qemu" | "nocloud" => Self::None,
            _ => {
                return Err(format!(
                    "ignition.platform.id={name}: expected aws, azure, digitalocean, gcp, hetzner, metal, nocloud, openstack or qemu"
                ));
            }
        })
    }

    /// By the files of `/sys/class/dmi/id`.
    #[must_use]
    pub fn of_machine(folder: &Path) -> Self {
        let read = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        let (vendor, product) = (read("sys_vendor"), read("product_name"));
        let tag = read("chassis_asset_tag");
        let serial = read("product_serial");
        match (vendor.as_str(), product.as_str()) {
            _ if serial.starts_with("ds=nocloud") => Self::None.of_seed(serial.strip_prefix("ds=")),
            ("Amazon EC2", _) => Self::Aws,
            ("Google", _) | (_, "Google Compute Engine") => Self::Gcp,
            ("DigitalOcean", _) => Self::DigitalOcean,
            ("Hetzner", _) => Self::Hetzner,
            ("VMware, Inc.", _) => Self::Vmware,
            ("OpenStack Foundation", _) | (_, "OpenStack Nova" | "OpenStack Compute") => {
                Self::OpenStack
            }
            // The tag that the provider gives to every machine.
            _ if tag == "7783-7084-3265-9085-8269-3286-77" => Self::Azure,
            _ if tag == "OpenStack Nova" || tag == "OpenStack Compute" => Self::OpenStack,
            _ => Self::None,
        }
    }

    /// A NoCloud seed on a server has the word: `nocloud;s=URL` or `nocloud-net;seedfrom=URL`.
    #[must_use]
    pub fn of_seed(self, seed: Option<&str>) -> Self {
        let mut parts = seed.unwrap_or_default().split(';');
        if !parts.next().is_some_and(|kind| kind.starts_with("nocloud")) {
            return self;
        }
        let url = parts.find_map(|part| {
            let url = part.strip_prefix("s=").or(part.strip_prefix("seedfrom="))?;
            url.starts_with("http").then_some(url)
        });
        match url {
            Some(url) => Self::NoCloud(format!("{}/", url.trim_end_matches('/'))),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_say_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let machine = |files: &[(&str, &str)]| {
            for (name, _) in [
                ("sys_vendor", ""),
                ("product_name", ""),
                ("chassis_asset_tag", ""),
                ("product_serial", ""),
            ] {
                let text = files
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map_or("", |(_, t)| t);
                std::fs::write(folder.path().join(name), format!("{text}\n")).unwrap();
            }
            Platform::of_machine(folder.path())
        };
        assert_eq!(machine(&[("sys_vendor", "QEMU")]), Platform::None);
        assert_eq!(
            machine(&[("sys_vendor", "Amazon EC2"), ("product_name", "t3.micro")]),
            Platform::Aws
        );
        assert_eq!(
            machine(&[
                ("sys_vendor", "Google"),
                ("product_name", "Google Compute Engine")
            ]),
            Platform::Gcp
        );
        let azure = [
            ("sys_vendor", "Microsoft Corporation"),
            ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77"),
        ];
        assert_eq!(machine(&azure), Platform::Azure);
        assert_eq!(
            machine(&[("sys_vendor", "Microsoft Corporation")]),
            Platform::None
        );
        assert_eq!(
            machine(&[("product_name", "OpenStack Nova")]),
            Platform::OpenStack
        );
        assert_eq!(machine(&[("sys_vendor", "Hetzner")]), Platform::Hetzner);
        assert_eq!(
            machine(&[("sys_vendor", "DigitalOcean")]),
            Platform::DigitalOcean
        );
        let seed = [("product_serial", "ds=nocloud;s=http://10.0.0.1:8000")];
        assert_eq!(
            machine(&seed),
            Platform::NoCloud("http://10.0.0.1:8000/".into())
        );
        assert_eq!(
            Platform::of_machine(Path::new("/nonexistent")),
            Platform::None
        );
    }
}
