//! Values that people and files write as text: names, sizes, addresses, ids, states.
//!
//! What is accepted must come back the same from its own text, plain and as JSON.

use crate::bytes::text;
use serde::{Serialize, de::DeserializeOwned};
use stampo_core::guest::GuestState;
use stampo_core::ids::{GuestId, ImageId, VersionId};
use stampo_core::lifecycle::State;
use stampo_core::names::{ChannelName, GuestName, NamePattern, TemplateName, VersionRef};
use stampo_core::network::{AddressRange, Cidr, Mac};
use stampo_core::size::ByteSize;
use stampo_image::checksum::Sha256Sum;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// The value, after its own text and its JSON have given it again.
fn survives<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let value: T = text.parse().ok()?;
    let shown = value.to_string();
    assert!(
        shown.parse().ok().as_ref() == Some(&value),
        "{text:?} is {value:?}, but {shown:?} is not"
    );
    survives_json(&value);
    Some(value)
}

pub fn survives_json<T>(value: &T)
where
    T: Debug + PartialEq + Serialize + DeserializeOwned,
{
    let json = serde_json::to_string(value).expect("values can be written");
    let again: T = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
    assert_eq!(&again, value);
}

/// Every kind of value.
pub fn all(bytes: &[u8]) {
    let text = text(bytes);
    survives::<TemplateName>(&text);
    survives::<ChannelName>(&text);
    survives::<VersionRef>(&text);
    survives::<Mac>(&text);
    survives::<Cidr>(&text);
    survives::<GuestId>(&text);
    survives::<VersionId>(&text);
    survives::<ImageId>(&text);
    survives::<State>(&text);
    survives::<GuestState>(&text);
    if let Some(name) = survives::<GuestName>(&text) {
        assert!(name.as_str().len() <= 63, "{name} is a host name too");
    }
    if let Ok(sum) = text.parse::<Sha256Sum>() {
        assert_eq!(sum.to_string().parse::<Sha256Sum>(), Ok(sum));
    }
    if let Ok(range) = text.parse::<AddressRange>() {
        survives_json(&range);
    }
    size(&text);
    pattern(&text);
}

/// A size's text for people is rounded; the one in files is exact.
fn size(text: &str) {
    if let Ok(size) = text.parse::<ByteSize>() {
        survives_json(&size);
        let shown = size.to_string();
        let again: ByteSize = shown
            .parse()
            .unwrap_or_else(|_| panic!("{shown} is a size"));
        let difference = again.0.abs_diff(size.0);
        assert!(difference <= size.0 / 10, "{text:?}: {size:?} and {shown}");
    }
}

/// Names out of a pattern are different and not taken.
fn pattern(text: &str) {
    let pattern = NamePattern::new(text);
    survives_json(&pattern);
    let in_use: Vec<GuestName> = ["1", "3", "4"]
        .iter()
        .filter_map(|number| text.replace("{n}", number).parse().ok())
        .collect();
    if let Ok(names) = pattern.expand(12, |name| in_use.contains(name)) {
        let mut different: Vec<_> = names.iter().map(GuestName::as_str).collect();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 12, "{names:?}");
        assert!(!names.iter().any(|name| in_use.contains(name)), "{names:?}");
    }
}
