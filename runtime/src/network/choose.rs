//! Which addresses a new network gets when its creator names none.
//!
//! Pure: what is in use already is an argument.

use std::net::Ipv4Addr;

use super::subnet::Subnet;

/// The first network of 24 bits from `10.89.0.0` on that meets none of `taken`.
///
/// 10.88 is the default bridge's, and what lies below 10.88 is left to people's own networks.
pub fn subnet(taken: &[Subnet]) -> Option<Subnet> {
    let numbers = (89..=255_u8).flat_map(|b| (0..=255_u8).map(move |c| (b, c)));
    numbers
        .filter_map(|(b, c)| Subnet::containing(Ipv4Addr::new(10, b, c, 0), 24))
        .find(|free| !taken.iter().any(|taken| taken.overlaps(free)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_network_is_chosen_around_what_the_host_has() {
        let taken: Vec<Subnet> = ["10.88.0.0/16", "10.89.0.0/23", "10.89.2.128/25"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(subnet(&[]), "10.89.0.0/24".parse().ok());
        assert_eq!(subnet(&taken), "10.89.3.0/24".parse().ok());
        assert_eq!(subnet(&["10.0.0.0/8".parse().unwrap()]), None);
    }
}
