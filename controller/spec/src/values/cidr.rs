//! An address or a network.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::ValueError;

const ALLOWED: &str =
    "an IPv4 or IPv6 address or network, such as 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32";

/// An IPv4 or IPv6 network; a single address is a network of one. Bits below the prefix are always 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Makes a network; bits of the address below the prefix are dropped. `None` where the prefix is too long.
    ///
    /// IPv4 written as IPv6 (`::ffff:10.0.0.1`) becomes IPv4: that is what the packets are.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix.into())?);
                let network = Ipv4Addr::from_bits(v4.to_bits() & mask.unwrap_or(0));
                Some(Self {
                    network: network.into(),
                    prefix,
                })
            }
            IpAddr::V6(v6) => {
                let host_bits = 128_u32.checked_sub(prefix.into())?;
                if let (Some(v4), Some(prefix)) = (v6.to_ipv4_mapped(), prefix.checked_sub(96)) {
                    return Self::new(v4.into(), prefix);
                }
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Some(Self {
                    network: Ipv6Addr::from_bits(v6.to_bits() & mask).into(),
                    prefix,
                })
            }
        }
    }

    /// The network's first address.
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// How many leading bits are the network's: 0 to 32, or 0 to 128.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    fn is_one_address(self) -> bool {
        self.prefix == if self.network.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Cidr {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::new(text, ALLOWED);
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let prefix = match prefix {
            None if address.is_ipv4() => 32,
            None => 128,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| refused())?
            }
            Some(_) => return Err(refused()),
        };
        Self::new(address, prefix).ok_or_else(refused)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one_address() {
            write!(out, "{}", self.network)
        } else {
            write!(out, "{}/{}", self.network, self.prefix)
        }
    }
}

text_in_json!(Cidr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read_and_host_bits_dropped() {
        for (text, shown) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("::1/0", "::/0"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_examples() {
        for text in [
            "",
            "10",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "host",
            "10.0.0.0/8/8",
        ] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert!(error.allowed.contains("10.0.0.0/8"), "{text}");
        }
    }
}
