//! Addresses: MACs that belong to stampo's guests, static addresses and ranges of them.

use crate::text_form::text_form;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The first octets of every MAC that stampo gives out: locally administered and unicast
/// (IEEE 802, bit 1 set and bit 0 clear of the first octet).
pub const MAC_PREFIX: [u8; 2] = [0x52, 0x53];

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The MAC with stampo's prefix and these four bytes, which should be random.
    pub fn from_random(bytes: [u8; 4]) -> Self {
        Mac([
            MAC_PREFIX[0],
            MAC_PREFIX[1],
            bytes[0],
            bytes[1],
            bytes[2],
            bytes[3],
        ])
    }
}

/// Why a text is not an address, a range or a MAC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not six hex octets.
    #[error("read {0:?} as a MAC: write six octets, as in 52:53:00:12:34:56")]
    Mac(String),
    /// Not `address/prefix`.
    #[error("read {0:?} as an address: write ADDRESS/PREFIX, as in 192.0.2.10/24")]
    Address(String),
    /// Not `first-last/prefix`, or the last is before the first.
    #[error("read {0:?} as a range: write FIRST-LAST/PREFIX, as in 192.0.2.10-192.0.2.50/24")]
    Range(String),
    /// Not enough addresses for the guests.
    #[error("take {wanted} free addresses from {range}: only {free} are free")]
    Exhausted {
        /// The range as written.
        range: String,
        /// How many guests need one.
        wanted: usize,
        /// How many are left.
        free: usize,
    },
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl FromStr for Mac {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError::Mac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() {
            Err(error())
        } else {
            Ok(Mac(octets))
        }
    }
}

text_form!(Mac, AddressError);

/// An address with the length of its network's prefix, as in `192.0.2.10/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The guest's own address.
    pub address: IpAddr,
    /// Bits of the network part: 1–32 for IPv4, 1–128 for IPv6.
    pub prefix: u8,
}

impl FromStr for Cidr {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError::Address(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .parse()
            .ok()
            .filter(|p| (1..=most).contains(p))
            .ok_or_else(error)?;
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return Err(error());
        }
        Ok(Cidr { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

text_form!(Cidr, AddressError);

/// QEMU's user-mode network around a guest with a static address: what stands beside the guest.
///
/// The gateway is the network's first address, as most plans have it, and the name server its
/// third, each the next one when the guest has that itself. The plan tells the guest, the driver
/// tells QEMU, and both ask here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserNetwork {
    /// The network's own address.
    pub network: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
    /// Where QEMU answers as the gateway.
    pub gateway: Ipv4Addr,
    /// Where QEMU answers as the name server.
    pub dns: Ipv4Addr,
}

impl UserNetwork {
    /// The longest prefix that leaves room for the guest, a gateway and a name server.
    pub const LONGEST_PREFIX: u8 = 29;

    /// The network around `address`; `None` when its prefix leaves no room.
    pub fn around(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        if !(1..=Self::LONGEST_PREFIX).contains(&prefix) {
            return None;
        }
        let address = u32::from(address);
        let first = address & (u32::MAX << (32 - u32::from(prefix)));
        let beside = |wanted: u32| Ipv4Addr::from(wanted + u32::from(wanted == address));
        Some(UserNetwork {
            network: first.into(),
            prefix,
            gateway: beside(first + 1),
            dns: beside(first + 3),
        })
    }
}

/// Static addresses for bulk clones: one address, or `first-last/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
    prefix: u8,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl AddressRange {
    /// The first `count` addresses of the range that are not in `taken`.
    pub fn take(
        &self,
        count: usize,
        taken: impl Fn(&IpAddr) -> bool,
    ) -> Result<Vec<Cidr>, AddressError> {
        let (first, last) = (number(self.first), number(self.last));
        let mut found = Vec::new();
        for n in first..=last {
            if found.len() == count {
                break;
            }
            let address = match self.first {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(n as u32)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(n)),
            };
            if !taken(&address) && !self.is_reserved(&address) {
                found.push(Cidr {
                    address,
                    prefix: self.prefix,
                });
            }
        }
        if found.len() < count {
            let range = self.to_string();
            return Err(AddressError::Exhausted {
                range,
                wanted: count,
                free: found.len(),
            });
        }
        Ok(found)
    }
}

impl AddressRange {
    /// Whether this is the network's own address or its broadcast address, which no guest can have.
    fn is_reserved(&self, address: &IpAddr) -> bool {
        let (IpAddr::V4(v4), 1..=30) = (address, self.prefix) else {
            return false;
        };
        let host = u32::from(*v4) & (u32::MAX >> self.prefix);
        host == 0 || host == u32::MAX >> self.prefix
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError::Range(text.to_owned());
        let (ends, prefix) = text.split_once('/').ok_or_else(error)?;
        let (first, last) = ends.split_once('-').unwrap_or((ends, ends));
        let first: Cidr = format!("{first}/{prefix}").parse().map_err(|_| error())?;
        let last: Cidr = format!("{last}/{prefix}").parse().map_err(|_| error())?;
        let (from, to) = (number(first.address), number(last.address));
        let bounded = from <= to && to - from < 65_536;
        if first.address.is_ipv4() != last.address.is_ipv4() || !bounded {
            return Err(error());
        }
        Ok(AddressRange {
            first: first.address,
            last: last.address,
            prefix: first.prefix,
        })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}/{}", self.first, self.prefix)
        } else {
            write!(f, "{}-{}/{}", self.first, self.last, self.prefix)
        }
    }
}

text_form!(AddressRange, AddressError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_skips_what_is_taken_and_says_when_it_is_empty() {
        let range: AddressRange = "192.0.2.10-192.0.2.12/24".parse().expect("valid");
        let taken: IpAddr = "192.0.2.11".parse().expect("valid");
        let got = range.take(2, |a| *a == taken).expect("two are free");
        assert_eq!(
            got.iter().map(Cidr::to_string).collect::<Vec<_>>(),
            ["192.0.2.10/24", "192.0.2.12/24"]
        );
        assert!(matches!(
            range.take(3, |a| *a == taken),
            Err(AddressError::Exhausted { free: 2, .. })
        ));
    }

    #[test]
    fn the_ends_of_a_network_are_nobodys() {
        let range: AddressRange = "192.0.2.254-192.0.3.2/24".parse().expect("valid");
        let got = range.take(3, |_| false).expect("three are possible");
        let got: Vec<String> = got.iter().map(Cidr::to_string).collect();
        assert_eq!(got, ["192.0.2.254/24", "192.0.3.1/24", "192.0.3.2/24"]);
        let own: AddressRange = "10.0.0.0/24".parse().expect("valid");
        assert!(own.take(1, |_| false).is_err());
    }

    #[test]
    fn odd_addresses_are_refused() {
        for bad in [
            "",
            "1.2.3.4",
            "1.2.3.4/0",
            "1.2.3.4/33",
            "0.0.0.0/8",
            "224.0.0.1/8",
            "127.0.0.1/8",
            "x/24",
            "::/64",
            "fe80::1/129",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad:?} must be refused");
        }
        for bad in [
            "192.0.2.9-192.0.2.1/24",
            "192.0.2.1-fe80::1/24",
            "::1-ffff::/64",
        ] {
            assert!(
                bad.parse::<AddressRange>().is_err(),
                "{bad:?} must be refused"
            );
        }
        assert!("52:53:00:00:00".parse::<Mac>().is_err());
        assert_eq!(
            "52:53:00:aa:00:01".parse::<Mac>().map(|m| m.to_string()),
            Ok("52:53:00:aa:00:01".into())
        );
    }
}
