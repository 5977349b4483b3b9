//! Network addresses: `inet`, `cidr`, `macaddr`, `macaddr8`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `192.168.1.5`, `192.168.1.5/24`, `2001:db8::1`: without the mask where it covers one host.
pub(super) fn inet(text: &str) -> Option<String> {
    let (address, bits) = address(text)?;
    Some(if bits == width(address) { address.to_string() } else { format!("{address}/{bits}") })
}

/// `192.168.0.0/24`, always with its mask; what is below the mask must be zero.
pub(super) fn cidr(text: &str) -> Option<String> {
    let (address, bits) = address(text)?;
    let below = match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) & low_bits(32 - bits),
        IpAddr::V6(address) => u128::from(address) & low_bits(128 - bits),
    };
    (below == 0).then(|| format!("{address}/{bits}"))
}

/// The network that an address is in: what is below the mask goes.
pub(super) fn network(text: &str) -> Option<String> {
    let (address, bits) = address(text)?;
    let network: IpAddr = match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & !u32::try_from(low_bits(32 - bits)).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !low_bits(128 - bits)).into(),
    };
    Some(format!("{network}/{bits}"))
}

/// A canonical address with its mask, also where it covers one host.
pub(super) fn with_mask(text: &str) -> String {
    match address(text) {
        Some((address, bits)) => format!("{address}/{bits}"),
        None => text.to_owned(),
    }
}

fn low_bits(count: u32) -> u128 {
    1_u128.checked_shl(count).map_or(u128::MAX, |bit| bit - 1)
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn address(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let bits = match bits {
        Some(bits) => bits.bytes().all(|byte| byte.is_ascii_digit()).then(|| bits.parse().ok()).flatten()?,
        None => width(address),
    };
    (bits <= width(address)).then_some((address, bits))
}

/// Six or eight bytes in the spellings that PostgreSQL reads, written `08:00:2b:01:02:03`.
pub(super) fn mac(text: &str, bytes: usize) -> Option<String> {
    let text = text.trim();
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit() || b":-.".contains(&byte)) || text.starts_with([':', '-', '.']) {
        return None;
    }
    let mut digits: String = text.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase()).collect();
    if bytes == 8 && digits.len() == 12 {
        // A macaddr8 of six bytes is an EUI-48: PostgreSQL puts ff:fe in its middle.
        digits.insert_str(6, "fffe");
    }
    if digits.len() != bytes * 2 {
        return None;
    }
    let pairs: Vec<&str> = (0..bytes).map(|at| &digits[at * 2..at * 2 + 2]).collect();
    Some(pairs.join(":"))
}

/// Eight bytes as six, where ff:fe is in their middle.
pub(super) fn short(text: &str) -> Option<String> {
    let (front, back) = (text.get(..9)?, text.get(14..)?);
    (text.get(9..14)? == "ff:fe").then(|| format!("{front}{}", back.trim_start_matches(':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_an_address_are_the_same_address() {
        assert_eq!(inet("192.168.1.5/32").as_deref(), Some("192.168.1.5"));
        assert_eq!(inet("192.168.1.5/24").as_deref(), Some("192.168.1.5/24"));
        assert_eq!(inet("2001:DB8:0:0:0:0:0:1/128").as_deref(), Some("2001:db8::1"));
        assert_eq!(inet("::ffff:10.0.0.1").as_deref(), Some("::ffff:10.0.0.1"));
        assert_eq!(inet("10.0.0.256"), None);
        assert_eq!(inet("10.0.0.1/33"), None);
        assert_eq!(cidr("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(cidr("10.0.0.1").as_deref(), Some("10.0.0.1/32"));
        assert_eq!(cidr("10.0.0.1/8"), None);
        assert_eq!(cidr("::/0").as_deref(), Some("::/0"));
        assert_eq!(mac("0800.2B01.0203", 6).as_deref(), Some("08:00:2b:01:02:03"));
        assert_eq!(mac("08002b010203", 8).as_deref(), Some("08:00:2b:ff:fe:01:02:03"));
        assert_eq!(mac("08:00:2b:01:02", 6), None);
    }
}
